"""One connection per process that listens for announcements, so that a waiter is told instead of asking.

An announcement may be missed (the connection was down, the process was forked): whoever waits subscribes
first, then looks at the state, then waits, and looks again whenever it is rung. A ring says "look now": the
subscription stands, something was announced, or the connection is a new one. Threads and event loops share
the connection; a waiter says how it wants to be rung. The thread exists only while somebody waits, and a
little longer.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

from redis.exceptions import RedisError

from dispatch_celery.errors import DispatchError
from dispatch_celery.store.client import RedisStore, unavailable_pause

__all__ = ["Listener", "Ring"]

Ring = Callable[[], None]
"""What is called, on the listening thread, when a waiter should look again: quick, and it never raises."""

logger = logging.getLogger(__name__)

_LINGER: Final = 10.0
"""Seconds an unused connection is kept: the next ``result()`` often follows at once."""


class _Watch:
    """One channel and those who wait on it."""

    def __init__(self) -> None:
        self.rings: list[Ring] = []
        self.stands = False


class Listener:
    """Subscriptions of one process, on one connection."""

    def __init__(self, store: RedisStore) -> None:
        self._store = store
        self._reset()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._watches: dict[str, _Watch] = {}
        self._connection: Any = None
        self._thread: threading.Thread | None = None
        self._changed = threading.Event()

    @contextmanager
    def watch(self, channel: str, ring: Ring) -> Iterator[None]:
        """Ring at every announcement on ``channel`` while the block lasts, and first when the subscription stands."""
        if self._pid != os.getpid():
            self._reset()
        with self._lock:
            watch = self._watches.setdefault(channel, _Watch())
            watch.rings.append(ring)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="dispatch-listener", daemon=True)
                self._thread.start()
            elif len(watch.rings) == 1:
                self._send("SUBSCRIBE", channel)
            stands = watch.stands
            self._changed.set()
        if stands:
            ring()
        try:
            yield
        finally:
            with self._lock:
                watch.rings.remove(ring)
                if not watch.rings and self._watches.get(channel) is watch:
                    del self._watches[channel]
                    self._send("UNSUBSCRIBE", channel)

    def close(self) -> None:
        """End the thread; waiters are rung."""
        if self._pid != os.getpid():
            return
        with self._lock:
            rings = [ring for watch in self._watches.values() for ring in watch.rings]
            self._watches.clear()
            thread, connection = self._thread, self._connection
            if connection is not None:
                # Only the thread itself may disconnect it; an ended stream makes it do so.
                with suppress(OSError, AttributeError):
                    connection._sock.shutdown(socket.SHUT_RDWR)  # noqa: SLF001 - redis-py has no other way to it
        self._changed.set()
        for ring in rings:
            ring()
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout=2.0)

    def _send(self, verb: str, channel: str) -> None:
        """Change the subscriptions; a dead connection is the thread's to notice."""
        if self._connection is not None:
            with suppress(RedisError, OSError):
                self._connection.send_command(verb, channel)

    def _run(self) -> None:
        failures = 0
        while True:
            failures = self._listen(failures)
            with self._lock:
                self._connection = None
                if not self._watches:
                    self._thread = None
                    return
                rings = [ring for watch in self._watches.values() for ring in watch.rings]
                for watch in self._watches.values():
                    watch.stands = False
            for ring in rings:
                ring()
            if failures:
                self._changed.clear()
                self._changed.wait(unavailable_pause(failures))

    def _listen(self, failures: int) -> int:
        """Listen on one connection for its life; return how many have failed in a row."""
        connection: Any = None
        try:
            connection = self._store.connection()
            connection.connect()
            with self._lock:
                self._connection = connection
                for channel in self._watches:
                    connection.send_command("SUBSCRIBE", channel)
            failures = 0
            while self._read(connection):
                pass
        except (RedisError, OSError, DispatchError) as error:
            failures += 1
            if failures == 1:
                logger.debug("the listening connection was lost: %s", error)
        finally:
            if connection is not None:
                with suppress(RedisError, OSError):
                    connection.disconnect()
        return failures

    def _read(self, connection: Any) -> bool:
        """Read one announcement; return whether the connection is still of use."""
        if not connection.can_read(timeout=_LINGER):
            with self._lock:
                return bool(self._watches)
        kind, channel, *_ = connection.read_response(timeout=_LINGER)
        name = channel.decode()
        with self._lock:
            watch = self._watches.get(name)
            if watch is not None and kind == b"subscribe":
                watch.stands = True
            rings = list(watch.rings) if watch is not None and kind in (b"subscribe", b"message") else []
        for ring in rings:
            ring()
        return True
