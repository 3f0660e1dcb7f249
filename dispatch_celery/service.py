"""The loop of every background service, written once: a duty does one bounded round and says when it wants the next.

A duty's failure is its own: it is logged once per streak, the others go on, and its next round comes after a
growing, bounded pause.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import Final, Protocol

__all__ = ["Pace", "Service"]

logger = logging.getLogger(__name__)

_FIRST_PAUSE: Final = 250
_LONGEST_PAUSE: Final = 10_000


class Service(Protocol):
    """One duty of the leader."""

    @property
    def name(self) -> str:
        """The name it is called and logged by."""
        ...

    def run_once(self) -> int:
        """Do one bounded round of what is due; return the milliseconds until the next is wanted."""
        ...


class Pace:
    """Runs services when they are due. ``expect`` may be called from any thread."""

    def __init__(self, services: Sequence[Service], *, longest: int) -> None:
        self._services = {service.name: service for service in services}
        self._longest = longest
        self._lock = threading.Lock()
        self._due = dict.fromkeys(self._services, 0)
        self._failures = dict.fromkeys(self._services, 0)

    def expect(self, name: str, moment: int) -> None:
        """Make a service due at a monotonic time, if it is not due earlier."""
        with self._lock:
            if name in self._due:
                self._due[name] = min(self._due[name], moment)

    def run_due(self, monotonic: int) -> int:
        """Run what is due at a monotonic time; return the milliseconds until the next is."""
        for name, service in self._services.items():
            with self._lock:
                if self._due[name] > monotonic:
                    continue
                self._due[name] = monotonic + self._longest
            pause = self._run(name, service)
            self.expect(name, monotonic + pause)
        with self._lock:
            return max(0, min(self._due.values(), default=monotonic + self._longest) - monotonic)

    def _run(self, name: str, service: Service) -> int:
        try:
            pause = min(max(int(service.run_once()), 0), self._longest)
        except Exception as error:  # noqa: BLE001 - a duty must not end the others
            failures = self._failures[name] = self._failures[name] + 1
            if failures == 1:
                logger.warning("%s failed and will be tried again: %s: %s", name, type(error).__name__, error)
            return int(min(_FIRST_PAUSE * 2 ** min(failures - 1, 10), _LONGEST_PAUSE))
        self._failures[name] = 0
        return pause
