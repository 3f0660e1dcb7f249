"""Runs what blocks off Tornado's loop: few at once, few that wait for their turn, none for longer than a limit.

A thread that the state server keeps waiting comes back by that server's own timeouts. Until then it counts, so that a
server which does not answer fills this pool and nothing else, and the next request is told at once.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final, TypeVar

from dispatch_celery.errors import StoreUnavailable

__all__ = ["Offload"]

T = TypeVar("T")

_THREADS: Final = 6
_ROOM: Final = 48
"""Requests under way or waiting for a thread; a page that is open asks every two seconds."""
_LIMIT: Final = 15.0


class Offload:
    """A bounded pool of threads."""

    def __init__(self, *, threads: int = _THREADS, room: int = _ROOM, limit: float = _LIMIT) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="dispatch-flower")
        self._room = room
        self._limit = limit
        self._inside = 0
        self._lock = threading.Lock()

    async def run(self, function: Callable[..., T], *args: Any) -> T:
        """Return what a function returns.

        Raises:
            StoreUnavailable: too many wait already, or it took too long; what it does may still have its effect.
        """
        with self._lock:
            if self._inside >= self._room:
                raise StoreUnavailable(
                    f"{self._inside} requests wait for the state server already: it answers slowly or not at all"
                )
            self._inside += 1
        future = self._pool.submit(function, *args)
        future.add_done_callback(self._left)
        try:
            return await asyncio.wait_for(asyncio.wrap_future(future), self._limit)
        except TimeoutError:
            raise StoreUnavailable(f"the state server has not answered within {self._limit:g} s") from None

    def _left(self, _: Future[Any]) -> None:
        with self._lock:
            self._inside -= 1

    def close(self) -> None:
        """Start nothing more."""
        self._pool.shutdown(wait=False, cancel_futures=True)
