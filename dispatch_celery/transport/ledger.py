"""What this process holds of one broker: the memory that outlives channels and connections.

Celery closes its channel when the connection breaks, and makes a new one; but the messages it took by the old one
are still running, and will be acknowledged. kombu keeps what it knows of them in the channel, and loses it. Here it
is kept per process and broker, so:

    held      delivered, not acknowledged. Their scores in ``unacked_index`` are refreshed, so no sweep takes them
              from a worker that lives. Held weakly: a message nobody refers to any more cannot run and cannot be
              acknowledged, so it is an orphan
    orphans   to be put back into their queue: prefetched when the connection broke, and dropped by Celery
    acks      done, not yet told to the broker. Kept until the broker has confirmed them
    lost      claims whose answer never came: nobody has seen their messages, if there are any

Failures: the process dies, and everything here is again in ``unacked``, where the visibility timeout finds it. The
broker is away: all lists wait. An ack is told twice: the second does nothing.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import weakref
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final

from dispatch_celery.transport.scripts import load

__all__ = ["Keys", "Ledger", "ledger_of"]

_SLICE: Final = 500

logger = logging.getLogger("dispatch_celery.transport")


@dataclass(frozen=True, slots=True)
class Keys:
    """The broker's keys, in full (with the global prefix)."""

    unacked: str
    index: str

    def record(self, consumer: str) -> str:
        """Return the key that remembers a consumer's last claim."""
        return f"{self.unacked}_claim.{consumer}"


class Ledger:
    """The books of one process about one broker. Safe for threads."""

    def __init__(self, keys: Keys) -> None:
        self.keys = keys
        self.acks: deque[str] = deque()
        self.orphans: deque[str] = deque()
        self.lost: deque[tuple[str, str]] = deque()
        self._held: dict[str, weakref.ref[Any] | None] = {}
        self._flushing = threading.Lock()
        self._touched_at = monotonic()
        self._touching: threading.Event | None = None

    def reserve(self, tags: Iterable[str]) -> None:
        """Note messages that were claimed and not yet delivered."""
        self._held.update(dict.fromkeys(tags))

    def hold(self, tag: str, message: Any) -> None:
        """Note a delivered message."""

        def dropped(reference: weakref.ref[Any]) -> None:
            if self._held.get(tag) is reference:
                del self._held[tag]
                self.orphans.append(tag)

        self._held[tag] = weakref.ref(message, dropped)

    def forget(self, tag: str) -> None:
        """Leave a message to the broker's visibility timeout, or to whoever has put it back."""
        self._held.pop(tag, None)

    def ack(self, tag: str) -> None:
        """Note that a message is done."""
        self._held.pop(tag, None)
        self.acks.append(tag)

    def take_acks(self, limit: int) -> list[str]:
        """Return acknowledgements to send; give them back with `return_acks` unless they are confirmed."""
        taken: list[str] = []
        while len(taken) < limit:
            try:
                taken.append(self.acks.popleft())
            except IndexError:
                break
        return taken

    def return_acks(self, tags: Iterable[str]) -> None:
        """Take back acknowledgements whose confirmation never came."""
        self.acks.extendleft(tags)

    def flush(self, client: Any) -> None:
        """Tell the broker all acknowledgements. Those it does not confirm are kept."""
        keys = (self.keys.unacked, self.keys.index, self.keys.unacked)
        with self._flushing:
            while tags := self.take_acks(_SLICE):
                try:
                    load("claim").call(client, keys, ("", 0, 0, "", 0, *tags))
                except BaseException:
                    self.return_acks(tags)
                    raise

    def touch_if_due(self, client: Any, period: float) -> None:
        """Refresh the scores of all messages in flight, if that was longer ago than ``period``."""
        if monotonic() - self._touched_at >= period:
            self._touched_at = monotonic()
            self.touch(client)

    def touch(self, client: Any) -> None:
        """Refresh the scores of all messages in flight."""
        tags = list(self._held)
        for first in range(0, len(tags), _SLICE):
            load("touch").call(client, (self.keys.index,), tags[first : first + _SLICE])

    def touch_by_thread(self, client: Any, period: float) -> None:
        """Refresh from a thread as well: in the solo pool a task holds up the event loop's timers."""
        if self._touching is None:
            self._touching = threading.Event()
            arguments = (self._touching, client, period)
            threading.Thread(target=self._keep_touching, args=arguments, name="unacked-touch", daemon=True).start()

    def stop_touching(self) -> None:
        """End the thread, if there is one."""
        stop, self._touching = self._touching, None
        if stop is not None:
            stop.set()

    def _keep_touching(self, stop: threading.Event, client: Any, period: float) -> None:
        while not stop.wait(period / 2):
            try:
                self.touch_if_due(client, period / 2)
            except Exception as error:  # noqa: BLE001 - its turn comes again; the loop is who notices a lost broker
                logger.debug("cannot refresh what is in flight: %s", error)

    def find_lost(self, client: Any) -> None:
        """Learn what the unanswered claims took; it becomes orphaned. Their consumers can claim nothing any more."""
        while self.lost:
            consumer, claim = self.lost[0]
            last = load("retire").call(client, (self.keys.record(consumer),))
            self.lost.popleft()
            if last is None or last == b"retired":
                continue
            name, tags = json.loads(last)
            if name == claim:
                logger.warning("giving back %d messages of a claim whose answer was lost", len(tags))
                self.orphans.extend(reversed(tags))  # the oldest is put back last, and comes out first


_books: dict[tuple[object, ...], Ledger] = {}
_owner = os.getpid()


def ledger_of(identity: tuple[object, ...], keys: Keys) -> Ledger:
    """Return this process's books about the broker of that identity; a forked child starts with empty ones."""
    global _owner  # noqa: PLW0603 - the process's own books
    if _owner != os.getpid():
        _books.clear()
        _owner = os.getpid()
    return _books.setdefault((*identity, keys), Ledger(keys))
