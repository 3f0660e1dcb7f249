"""The directory of one server: locked while the server or its owner lives, and removed if it was a temporary one.

The lock is a file's, held by an open descriptor that the server inherits. An owner that is killed frees it when its
server has ended, and not before: a new server on the same files would read what the old one still writes.
"""

from __future__ import annotations

import fcntl
import shutil
import tempfile
import time
from pathlib import Path
from typing import IO, Final

from dispatch_celery.errors import ConfigurationError

__all__ = ["DataDirectory"]

# How long `take` waits: the watchdog of an owner that was killed takes up to two seconds.
_LIMIT: Final = 3.0


class DataDirectory:
    """A directory that was given, or a temporary one that is made at first use."""

    def __init__(self, given: Path | None) -> None:
        self.temporary = given is None
        self._path = given
        self._lock: IO[str] | None = None

    @property
    def path(self) -> Path:
        """Where it is."""
        if self._path is None:
            self._path = Path(tempfile.mkdtemp(prefix="dispatch-server-"))
        return self._path

    @property
    def made(self) -> bool:
        """Whether there is one yet."""
        return self._path is not None

    @property
    def inherited(self) -> tuple[int, ...]:
        """The descriptors a server must inherit to hold the lock."""
        return () if self._lock is None else (self._lock.fileno(),)

    @property
    def doomed(self) -> str:
        """What is to be removed with the server: the path of a temporary directory, else an empty text."""
        return str(self.path) if self.temporary else ""

    def take(self) -> None:
        """Lock it; wait a little for a server that is about to end.

        Raises:
            ConfigurationError: another server uses it.
        """
        if self._lock is not None:
            return
        self.path.mkdir(parents=True, exist_ok=True)
        # Not "w": that would truncate a file which another process has locked.
        lock = (self.path / "server.lock").open("a")
        limit = time.monotonic() + _LIMIT
        while not _locked(lock):
            if time.monotonic() >= limit:
                lock.close()
                raise ConfigurationError(
                    f"another embedded server uses {self.path}: stop it, or choose another directory"
                )
            time.sleep(0.02)
        self._lock = lock

    def leave(self, *, remove: bool) -> None:
        """Unlock it, and remove it if that is asked and it is a temporary one."""
        self._unlock()
        if remove and self.temporary and self._path is not None:
            shutil.rmtree(self._path, ignore_errors=True)
            self._path = None

    def let_go(self) -> None:
        """Have no part in it any more, in a forked child."""
        self._unlock()
        self.temporary = False

    def _unlock(self) -> None:
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.close()


def _locked(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
