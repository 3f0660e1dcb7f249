"""A lane calls what it is handed, one call after the other, in a thread of its own.

It keeps the order, holds a bounded number of calls, and counts what it had to drop. Whoever hands something over may
wait for it for a while; once that was in vain, nobody waits for this lane again
until it has caught up. A fork begins
with an empty lane. The thread is there only while there is something to do, and a little longer.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import weakref
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, Final

__all__ = ["Lane"]

logger = logging.getLogger("dispatch_celery.lifecycle")

_LINGER: Final = 5.0
_AT_EXIT: Final = 2.0
"""Seconds that what is handed over is given when the process ends."""

_Handed = tuple[Callable[[], None], Any]
"""A call, and the lock to release at its end, if somebody waits for it."""


_FORK: Final = 0.2
"""Seconds that a fork waits for a lane to be between two calls."""


class Lane:
    """One thread's worth of calls. Safe for threads."""

    def __init__(self, name: str, *, size: int = 10_000) -> None:
        self.name = name
        self._size = size
        self._is_registered = False
        self._reset()
        _lanes.add(self)

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._calls: SimpleQueue[_Handed | None] = SimpleQueue()
        self._starting = threading.Lock()
        self.gate = threading.Lock()
        """Held while a call is made: a fork waits a moment for it, or the child might inherit a lock in mid-call."""
        self._thread: threading.Thread | None = None
        self._is_late = False
        self.dropped = 0

    def hand(self, call: Callable[[], None], *, patience: float = 0.0) -> bool:
        """Let the lane make a call; wait for its end for so many seconds. Return False where that was not enough."""
        if self._pid != os.getpid():
            self._reset()
        if self._calls.qsize() >= self._size:
            self._drop()
            return True
        return self._put(call, 0.0 if self._is_late else patience)

    def _put(self, call: Callable[[], None], patience: float) -> bool:
        ended: Any = None
        if patience > 0:
            ended = threading.Lock()
            ended.acquire()
        with self._starting:
            self._calls.put((call, ended))
            if self._thread is None:
                self._start()
        if ended is None or ended.acquire(timeout=patience):
            return True
        self._is_late = True
        return False

    def flush(self, within: float) -> bool:
        """Wait until all that was handed over is done; return whether it is."""
        if self._pid != os.getpid() or self._thread is None:
            return True
        if threading.current_thread() is self._thread:
            return False  # who is called by it would wait for himself
        return self._put(_nothing, max(within, 0.001))

    def close(self, within: float = _AT_EXIT) -> None:
        """Do what is left, for so many seconds; then end the thread, and tell of what could not be done."""
        thread = self._thread
        if self._pid != os.getpid() or thread is None:
            return
        if not self.flush(within):
            left = self._calls.qsize()
            logger.warning("%s: a hook has not ended, and %d notices after it are left untold", self.name, left)
            self._reset()  # the thread is left to its hook: what is told from now on goes by another
            return
        self._calls.put(None)
        thread.join(_AT_EXIT)

    def _start(self) -> None:
        arguments = (self._calls,)
        self._thread = threading.Thread(target=self._run, args=arguments, name=f"dispatch-{self.name}", daemon=True)
        self._thread.start()
        if not self._is_registered:
            self._is_registered = True
            lane = weakref.ref(self)
            atexit.register(lambda: (found := lane()) is not None and found.flush(_AT_EXIT))

    def _drop(self) -> None:
        self.dropped += 1
        if self.dropped & (self.dropped - 1) == 0:  # the first, and then ever more rarely
            logger.warning("%s is behind by %d notices: %d are dropped so far", self.name, self._size, self.dropped)

    def _run(self, calls: SimpleQueue[_Handed | None]) -> None:
        while True:
            try:
                handed = calls.get(timeout=_LINGER)
            except Empty:
                handed = None
            if handed is None:
                with self._starting:
                    if calls.empty():
                        if calls is self._calls:
                            self._thread = None
                        return
                continue
            call, ended = handed
            try:
                with self.gate:
                    call()
            except BaseException:
                logger.exception("%s goes on after an error it does not know", self.name)
            finally:
                if ended is not None:
                    ended.release()
            if calls.empty():
                self._is_late = False


_lanes: Final[weakref.WeakSet[Lane]] = weakref.WeakSet()
_stopped: Final[list[threading.Lock]] = []


def _stop() -> None:
    _stopped.extend(lane.gate for lane in list(_lanes) if lane.gate.acquire(timeout=_FORK))


def _go_on() -> None:
    while _stopped:
        _stopped.pop().release()


os.register_at_fork(before=_stop, after_in_parent=_go_on, after_in_child=_go_on)


def _nothing() -> None:
    """Be the last in line."""
