"""A clock that stands still until a test moves it: for the scripts of the state, and for the engine in this process.

The scripts are told the time with each call (``ServerTime``). In this process ``dispatch_celery.clock`` reads it where
it would read the machine's wall clock, so ``wf.now()`` is virtual too; what measures, the monotonic clock, stays real.
Ids are minted one millisecond apart, so that what is enqueued first is first in every order. A user's own
``datetime.now()`` is not touched.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from unittest import mock

from dispatch_celery.clock import Duration, from_ms, to_ms
from dispatch_celery.errors import ConfigurationError
from dispatch_celery.store.servertime import ServerTime

__all__ = ["VirtualClock"]


class VirtualClock:
    """The time of one world, in milliseconds since 1970."""

    def __init__(self, start: datetime | None = None) -> None:
        if start is not None and start.tzinfo is None:
            raise ConfigurationError(f"the start of a test's clock needs a time zone: {start!r}")
        self.ms = time.time_ns() // 1_000_000 if start is None else int(start.timestamp() * 1000)
        self._minted = 0
        self._server: ServerTime | None = None

    @property
    def now(self) -> datetime:
        """The time."""
        return from_ms(self.ms)

    def move_to(self, ms: int) -> None:
        """Go forward to a time; never back."""
        self.ms = max(self.ms, ms)
        if self._server is not None:
            self._server.now = self.ms

    def sleep(self, seconds: Duration) -> None:
        """Let time pass."""
        self.move_to(self.ms + to_ms(seconds))

    def mint_ms(self) -> int:
        """Return the time for a new id: later than every one before."""
        self._minted = max(self.ms, self._minted + 1)
        return self._minted

    @contextmanager
    def ruling(self, server: ServerTime) -> Iterator[None]:
        """Be the time of an app's scripts, and of the engine in this process, for a block."""
        before, self._server = server.now, server
        self.move_to(self.ms)
        try:
            with (
                mock.patch("dispatch_celery.clock.time", _Wall(self)),
                mock.patch("dispatch_celery.ids.wall_ms", self.mint_ms),
            ):
                yield
        finally:
            server.now, self._server = before, None


class _Wall:
    """Stands where ``dispatch_celery.clock`` has the module ``time``."""

    def __init__(self, virtual: VirtualClock) -> None:
        self._virtual = virtual

    def time_ns(self) -> int:
        return self._virtual.ms * 1_000_000

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)
