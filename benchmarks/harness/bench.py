"""The run's own server, and the processes of the contenders on it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from redis import Redis
from systems.effects import COUNTER, EFFECTS_DB, PROCESSES

from dispatch_celery.store.embedded import EmbeddedServer
from harness.contenders import SYSTEMS, Contender
from harness.postgres import Postgres

_LIMIT = 120.0
_POLL = 0.01
_STEADY = 4_096


class Failed(Exception):
    """A contender did not do what it was asked to; the text says what its log ends with."""


@dataclass(frozen=True)
class Crew:
    """The workers of one contender: a log, and the processes that were started."""

    log: Path
    pids: tuple[int, ...]

    def cpu(self) -> float:
        """Return the seconds of processor time they and their children have used."""
        spent = 0.0
        for pid in self.pids:
            leader = psutil.Process(pid)
            for process in (leader, *leader.children(recursive=True)):
                times = process.cpu_times()
                spent += times.user + times.system
        return spent


class Bench:
    """One server for the whole run; every measurement starts with an empty one, and with an empty database."""

    def __init__(self, server: EmbeddedServer, folder: Path, postgres: Postgres) -> None:
        self.server = server
        self.folder = folder
        self.client: Any = Redis(port=server.port, db=0)
        self.effects: Any = Redis(port=server.port, db=EFFECTS_DB)
        self.postgres = postgres
        self._logs = 0

    def environment(self, contender: Contender, extra: dict[str, str] | None = None) -> dict[str, str]:
        """Return the environment of one of its processes: the machine's, and nothing of ours but what is chosen."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("DISPATCH_", "BENCH_"))}
        where = {"BENCH_HOST": "127.0.0.1", "BENCH_PORT": str(self.server.port)}
        if contender.postgres:
            where["BENCH_POSTGRES"] = self.postgres.database(contender)
        return {**inherited, **where, **contender.environment, **(extra or {})}

    def flush(self, appendfsync: str = "everysec") -> None:
        """Empty the server, and say how often it is to put on disk what it is told."""
        self.client.config_set("appendfsync", appendfsync)
        self.client.flushall(asynchronous=False)

    def empty(self, contender: Contender) -> None:
        """Empty all that a system stores in."""
        self.flush(contender.appendfsync)
        if contender.postgres and not self.postgres.blank(contender):
            self.ask(contender, "prepare")
            self.postgres.keep(contender)

    def info(self, field: str) -> int:
        """Return one number of INFO."""
        return int(self.client.info()[field])

    def cpu(self) -> float:
        """Return the seconds of processor time the server has used."""
        used = self.client.info("cpu")
        return float(used["used_cpu_user"] + used["used_cpu_sys"])

    def memory(self) -> int:
        """Return the memory in use once nobody else is connected and it stays as it is."""
        own = len({self.client.client_id(), self.effects.client_id()})
        limit, before = time.monotonic() + 5, -1
        while time.monotonic() < limit:
            found = self.client.info()
            if found["connected_clients"] <= own and abs(found["used_memory"] - before) < _STEADY:
                break
            before = found["used_memory"]
            time.sleep(0.25)
        return before

    def count(self) -> int:
        """Return how many effects there are."""
        return int(self.effects.get(COUNTER) or 0)

    def await_count(
        self, contender: Contender, wanted: int, log: Path, *, patience: float = _LIMIT
    ) -> tuple[float, int]:
        """Wait for so many effects; return the moment and how many there were."""
        limit = time.monotonic() + patience
        while (found := self.count()) < wanted:
            if time.monotonic() > limit:
                raise Failed(f"{contender.label}: {found} of {wanted} effects in {patience:.0f} s\n{tail(log)}")
            time.sleep(_POLL)
        return time.perf_counter(), found

    def await_slots(self, contender: Contender, wanted: int, log: Path) -> None:
        """Wait until so many processes have worked a job."""
        what = f"{wanted} processes of {contender.label} are at work"
        eventually(lambda: self.effects.scard(PROCESSES) >= wanted, within=_LIMIT / 4, what=what, logs=(log,))

    def ask(self, contender: Contender, *words: str, extra: dict[str, str] | None = None) -> dict[str, Any]:
        """Run one command of a contender's program; return its answer."""
        done = subprocess.run(
            [contender.python, f"{contender.module}.py", *words],
            cwd=SYSTEMS,
            env=self.environment(contender, extra),
            capture_output=True,
            text=True,
            timeout=_LIMIT,
            check=False,
        )
        if done.returncode:
            raise Failed(f"{contender.label}: {' '.join(words)}\n{done.stderr[-2000:]}")
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return answer

    def start(
        self, contender: Contender, pool: str, *, threads: int = 4, extra: dict[str, str] | None = None
    ) -> tuple[subprocess.Popen[bytes], Path]:
        """Start one worker in a session of its own; return it and its log."""
        self._logs += 1
        path = self.folder / f"{contender.key}-{self._logs}.log"
        with path.open("wb") as log:
            process = subprocess.Popen(
                [contender.python, f"{contender.module}.py", "worker", "--pool", pool, "--threads", str(threads)],
                cwd=SYSTEMS,
                env=self.environment(contender, extra),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return process, path

    @contextmanager
    def workers(
        self,
        contender: Contender,
        pool: str,
        *,
        count: int | None = None,
        threads: int = 4,
        extra: dict[str, str] | None = None,
    ) -> Iterator[Crew]:
        """Have a contender's workers at work: two slots in all. They are ended by force, their work being done."""
        number = count or (2 if pool == "solo" else 1)
        started = [self.start(contender, pool, threads=threads, extra=extra) for _ in range(number)]
        try:
            yield Crew(started[0][1], tuple(process.pid for process, _ in started))
        finally:
            for process, _ in started:
                end(process)

    def warm(self, contender: Contender, log: Path, extra: dict[str, str] | None = None) -> None:
        """Wait until a job is worked."""
        before = self.count()
        self.ask(contender, "enqueue", "noop", "20", extra=extra)
        self.await_count(contender, before + 20, log)


def end(process: subprocess.Popen[bytes]) -> None:
    """End a worker, all its processes, at once."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def tail(log: Path) -> str:
    """Return the end of a log."""
    return log.read_text(errors="replace")[-2000:]


def eventually(check: Callable[[], Any], *, within: float, what: str, logs: Sequence[Path] = ()) -> Any:
    """Wait until something is true; return it."""
    limit = time.monotonic() + within
    while not (found := check()):
        if time.monotonic() > limit:
            raise Failed("\n".join([f"not within {within:.0f} s: {what}", *map(tail, logs)]))
        time.sleep(0.005)
    return found
