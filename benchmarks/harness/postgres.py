"""PostgreSQL for the systems that keep their state there: a database for each measurement, dropped after the run."""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

from harness.contenders import SYSTEMS, Contender

_LIMIT = 60
_NAME = "dispatch_bench"


class Postgres:
    """The server at ``BENCH_POSTGRES``, else the one of this machine; asked with the driver its systems bring."""

    def __init__(self) -> None:
        self.url = os.environ.get("BENCH_POSTGRES", "postgresql://postgres@127.0.0.1:5432").rstrip("/")
        self._made: dict[str, Contender] = {}
        self._ready: set[str] = set()

    def database(self, contender: Contender) -> str:
        """Return the URL of a system's database."""
        return f"{self.url}/{_NAME}_{contender.key}"

    def why_not(self, contender: Contender) -> str | None:
        """Return why no database is to be had for a system, or None."""
        try:
            self._ask(contender, "settings")
        except subprocess.SubprocessError as error:
            told = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
            return f"PostgreSQL does not answer: {told[-1]}"
        return None

    def settings(self, contender: Contender) -> str:
        """Say which server this is, and what it promises of a commit."""
        found = self._ask(contender, "settings")
        version = found.pop("version")
        return f"PostgreSQL {version}, " + ", ".join(f"{name} {value}" for name, value in found.items())

    def blank(self, contender: Contender) -> bool:
        """Have a system's database as it was when it was prepared; return False if it was not yet."""
        self._made[contender.key] = contender
        ready = contender.key in self._ready
        self._ask(contender, "create", self._name(contender), *([f"{self._name(contender)}_blank"] if ready else []))
        return ready

    def keep(self, contender: Contender) -> None:
        """Take a prepared database as what ``blank`` is to give."""
        self._ask(contender, "create", f"{self._name(contender)}_blank", self._name(contender))
        self._ready.add(contender.key)

    def size(self, contender: Contender) -> int:
        """Return the bytes of a system's relations."""
        return int(self._ask(contender, "size", self._name(contender))["bytes"])

    def transactions(self, contender: Contender) -> int:
        """Return how many transactions a system's database has seen."""
        return int(self._ask(contender, "commits", self._name(contender))["transactions"])

    def close(self) -> None:
        """Drop what was made."""
        for contender in self._made.values():
            for name in (self._name(contender), f"{self._name(contender)}_blank"):
                self._ask(contender, "drop", name)

    @staticmethod
    def _name(contender: Contender) -> str:
        return f"{_NAME}_{contender.key}"

    def _ask(self, contender: Contender, *words: str) -> dict[str, Any]:
        done = subprocess.run(
            [contender.python, "postgres.py", *words],
            cwd=SYSTEMS,
            env={**os.environ, "BENCH_POSTGRES": f"{self.url}/postgres"},
            capture_output=True,
            text=True,
            timeout=_LIMIT,
            check=True,
        )
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer
