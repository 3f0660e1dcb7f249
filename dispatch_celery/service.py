"""The loop of every background service, written once: start, stop, and ``run_once(now)`` for tests.

A service never ends because of an error: it is logged once per kind in a row, and the next round comes after a
growing, bounded pause. ``run_once`` returns the milliseconds it would like to sleep.
"""

from __future__ import annotations

import logging
from typing import Protocol

__all__ = ["Pace", "Service"]

logger = logging.getLogger(__name__)


class Service(Protocol):
    """One duty of the leader or of a worker."""

    @property
    def name(self) -> str:
        """The name it is logged under."""
        ...

    def run_once(self, now: int | None = None) -> int:
        """Do what is due; return the milliseconds until something may be due again.

        ``now`` is for tests: None means the state server's clock.
        """
        ...


class Pace:
    """Runs services when they are due, each for itself, and keeps one's failure from the others."""

    def __init__(self, services: list[Service], *, longest: int) -> None:
        self._services = services
        self._longest = longest
        self._due = dict.fromkeys(range(len(services)), 0)
        self._failures = dict.fromkeys(range(len(services)), 0)

    def run_due(self, monotonic: int) -> int:
        """Run what is due at this monotonic time; return the milliseconds until the next is."""
        for index, service in enumerate(self._services):
            if self._due[index] <= monotonic:
                self._due[index] = monotonic + self._run(index, service)
        return max(0, min(self._due.values(), default=monotonic + self._longest) - monotonic)

    def ring(self) -> None:
        """Make everything due at once."""
        self._due = dict.fromkeys(self._due, 0)

    def _run(self, index: int, service: Service) -> int:
        try:
            pause = service.run_once()
        except Exception as error:
            self._failures[index] += 1
            if self._failures[index] == 1:
                logger.warning("%s failed and will be tried again: %s: %s", service.name, type(error).__name__, error)
            return int(min(250 * 2 ** (self._failures[index] - 1), 10_000))
        self._failures[index] = 0
        return int(min(max(pause, 1), self._longest))
