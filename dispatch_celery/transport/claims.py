"""Taking messages from the lists: one claim at a time, and nothing lost in between.

::

              something changed, or 5 s passed,
              and enough of the window is free
    WATCHING ----------------------------------> CLAIMING
       ^                                            |
       +------ answered with fewer than asked ------+------ answered with all: claim again when there is room

A claim moves messages from their lists to ``unacked`` in one script: before it they are in the list, after it in
``unacked``, also when the answer never comes. Such a claim is looked up by its record later (`Ledger.find_lost`),
and its consumer retired, so that a copy of it still on its way takes nothing. Acknowledgements travel with claims.

*Hysteresis.* A claim is sent when no more messages wait for a pool slot than places are free, that is, when half of
the window is used up. Filling each single place as it falls free would make every batch one message long.

*Manners.* A change wakes every idle worker, and one of them gets the message. A worker that came too late three times
running holds back, by up to 10 ms and then up to 100, until it wins again. So a fleet of idle workers costs the server
a bounded number of claims, and a message only waits where all the quick ones are busy. The winner stays the winner, so
one that could not use what it took (a name it does not know) stands aside for longer than the others hold back.
"""

from __future__ import annotations

import logging
import random
import uuid
from collections.abc import Iterator
from time import monotonic
from typing import Any, Final, NamedTuple

from dispatch_celery.transport import books
from dispatch_celery.transport.scripts import Word, load
from dispatch_celery.transport.wire import Line, Push, Refusal

__all__ = ["Claimed", "Claims"]

_LARGEST: Final = 64
_ACK_BATCH: Final = 32
_ACKS_AT_ONCE: Final = 500
# How often a worker that hears of no change asks anyway: the probe for a connection that died without a word.
_PROBE: Final = 5.0
_POLL: Final = 0.1
_BACKOFF: Final = 1.0
_TOO_LATE: Final = 3
_FIRST_PAUSE: Final = 0.01
_LONGEST_PAUSE: Final = 0.1
# How long one that stands aside waits each time it hears of a change, and for how long it does so.
_ASIDE: Final = 0.25
_STAY_ASIDE: Final = 10.0
# Refusals that a new connection may cure; all others (OOM, MISCONF, BUSY, NOPERM ...) mean "not now".
_RECONNECT: Final = ("READONLY", "FENCED", "NOAUTH", "LOADING", "MASTERDOWN")

logger = logging.getLogger("dispatch_celery.transport")


class Claimed(NamedTuple):
    """A message between the broker and its consumer; no tag where no acknowledgement is expected."""

    tag: str
    queue: str
    key: str
    raw: bytes


class Claims:
    """The claiming half of a channel's intake: its connection and what is under way on it."""

    def __init__(self, channel: Any) -> None:
        self.line: Line | None = None
        self.batch = 1
        self._channel = channel
        self._consumer = ""
        self._number = 0
        self._opened_at = 0.0
        self._asked: int | None = None  # by the claim under way
        self._acks: list[str] = []  # told by the claim under way
        self._sent_at = 0.0
        self._queues: tuple[str, ...] = ()
        self._lists: tuple[str, ...] = ()
        self._ready = True
        self._not_before = 0.0
        self._probe_at = 0.0
        self._woken = False  # the claim under way follows a push
        self._vain = 0
        self._polite_until = 0.0
        self._aside_until = 0.0

    @property
    def ready(self) -> bool:
        """Whether a claim sent now could bring something, as far as is known."""
        return self._ready and self._asked is None

    def wake(self) -> None:
        """Look again: the set of queues has changed."""
        self._ready = True

    def stand_aside(self) -> None:
        """Be the last to take what is published in the next seconds."""
        self._aside_until = monotonic() + _STAY_ASIDE

    def waits(self, now: float) -> float:
        """Return how long good manners still hold a claim back."""
        return max(self._polite_until - now, 0.0) if self._ready else 0.0

    def grow(self, largest: int = _LARGEST) -> None:
        """Ask for more at a time."""
        self.batch = min(self.batch * 2, largest)

    def step(self, buffered: int) -> None:
        """Send a claim if it is time for one; ``buffered`` messages are claimed and wait for delivery.

        Raises:
            OSError: the broker cannot be reached.
        """
        now = monotonic()
        if self.line is None or not self.line.is_open:
            self.open()
        if self._asked is not None or now < self._not_before:
            return
        ready = self._ready and now >= self._polite_until
        want = self._appetite(buffered) if ready or now >= self._probe_at else 0
        if want or self._acks_due():
            self._send(want, now)

    def _appetite(self, buffered: int) -> int:
        qos = self._channel.qos
        if not self._channel.serving or books.stopping() or not qos.can_consume():
            return 0
        if "can_consume" in qos.__dict__:  # Celery's worker_disable_prefetch replaces the method: one at a time
            return 0 if buffered else 1
        if not qos.prefetch_count:
            return self.batch
        free: int = qos.prefetch_count - qos.in_flight - buffered
        return 0 if free <= 0 or books.waiting() > free else min(free, self.batch)

    def _acks_due(self) -> bool:
        acks = self._channel.ledger.acks
        return bool(acks) and (len(acks) >= _ACK_BATCH or books.waiting() == 0)

    def _send(self, want: int, now: float) -> None:
        line, ledger = self.line, self._channel.ledger
        assert line is not None  # noqa: S101 - step() opened it
        self._number += 1
        self._acks = ledger.take_acks(_ACKS_AT_ONCE)
        self._asked, self._sent_at = want, now
        keys = [ledger.keys.unacked, ledger.keys.index, ledger.keys.record(self._consumer)]
        arguments: list[Word] = [self._claim_id(), want, 0, "", 0]
        if want:
            self._queues, self._lists, fair, silent = self._channel.order()
            keys += self._lists
            arguments = [self._claim_id(), want, fair, silent, len(self._queues), *self._queues]
            self._ready = False
            self._probe_at = now + (_PROBE if line.tracking else _POLL)
        try:
            line.send(*load("claim").words(keys, [*arguments, *self._acks]))
        except OSError as error:
            self.lost(error)

    def _claim_id(self) -> str:
        return f"{self._consumer}:{self._number}"

    def read(self) -> list[Claimed]:
        """Return what claims have brought. Called when the connection is readable.

        Raises:
            OSError: the connection broke and cannot be made again.
        """
        claimed: list[Claimed] = []
        try:
            for reply in self.line.read() if self.line is not None else ():
                if isinstance(reply, Push):
                    self._heard()
                else:
                    claimed += self._answered(reply)
        except OSError as error:
            self.lost(error)
        return claimed

    def _heard(self) -> None:
        if self._ready:
            return
        self._ready = self._woken = True
        now, pause = monotonic(), 0.0
        if now < self._aside_until:
            pause = _ASIDE
        elif self._vain >= _TOO_LATE:
            pause = random.uniform(0.0, min(_FIRST_PAUSE * 2 ** (self._vain - _TOO_LATE), _LONGEST_PAUSE))
        if pause:
            self._polite_until = now + pause
            self._channel.call_later(pause)

    def finish(self) -> list[Claimed]:
        """Wait for the claim under way, if there is one, and return what it brought."""
        try:
            if self._asked is not None and self.line is not None and self.line.is_open:
                return self._answered(self.line.answer())
        except OSError:
            self.drop()
        return []

    def _answered(self, reply: Any) -> list[Claimed]:
        asked, self._asked = self._asked, None
        if isinstance(reply, Refusal):
            self._refused(reply, asked or 0)
            return []
        self._acks = []
        claimed = list(self._unpack(reply))
        self._channel.ledger.reserve(message.tag for message in claimed if message.tag)
        if asked:
            # What was pushed before the answer is older than the claim, and says nothing any more.
            self._ready = len(claimed) >= asked
            self._vain = 0 if claimed else min(self._vain + self._woken, 10)
            self._woken = False
        return claimed

    def _unpack(self, reply: list[Any]) -> Iterator[Claimed]:
        for place, tag, raw in zip(reply[::3], reply[1::3], reply[2::3], strict=True):
            queue = self._queues[place % len(self._queues)]
            self._channel.served(queue)
            yield Claimed(tag.decode(), queue, self._lists[place], raw)

    def _refused(self, error: Refusal, asked: int) -> None:
        """Act on an error answer: the script has done nothing, or nothing but acknowledge, which may be repeated."""
        self._channel.ledger.return_acks(self._acks)
        self._acks = []
        self._ready = self._ready or bool(asked)
        text = str(error)
        if text.startswith("NOSCRIPT") and self.line is not None:
            self.line.call("SCRIPT", "LOAD", load("claim").text)
        elif text.startswith(_RECONNECT):
            raise ConnectionError(text)
        else:
            logger.error("the broker refuses claims, trying again in %g s: %s", _BACKOFF, text)
            self._not_before = monotonic() + _BACKOFF

    def open(self) -> None:
        """Connect under a new name, and settle what the last connection left.

        Raises:
            OSError: the broker cannot be reached; also redis-py's own errors of connecting.
        """
        self.drop()
        line = Line(self._channel.line_connection())
        try:
            line.open()
        except BaseException:
            line.close()
            raise
        self.line = line
        self._consumer, self._number = uuid.uuid4().hex, 0
        self._ready, self._not_before = True, 0.0
        self._opened_at = monotonic()
        self._channel.watch(line, None)
        self._channel.settle()

    def lost(self, error: Exception) -> None:
        """Drop the connection, and make a new one at once if the broker is there; else raise.

        Celery's own reconnect forgets what it has prefetched and starts its consumer anew. A connection that was cut
        while the broker lives needs none of that. One that is cut again within a second is left to Celery's pacing.
        """
        again = monotonic() - self._opened_at > 1.0
        self.drop()
        if not again:
            raise error
        logger.warning("the claim connection broke (%s); making a new one", error)
        self.open()

    def drop(self) -> None:
        """Close the connection. What was under way on it is noted in the ledger."""
        line, self.line = self.line, None
        if line is None:
            return
        self._channel.watch(None, line)
        self._channel.ledger.return_acks(self._acks)
        if self._asked:
            self._channel.ledger.lost.append((self._consumer, self._claim_id()))
        self._asked, self._acks = None, []
        line.close()

    def check(self, now: float) -> None:
        """Notice a broker that does not answer.

        Raises:
            OSError: it does not, and cannot be reached anew.
        """
        if self._asked is not None and now - self._sent_at > self._channel.reply_timeout:
            self.lost(TimeoutError(f"the broker has not answered a claim for {now - self._sent_at:.0f} s"))

    def after_fork(self) -> None:
        """Close the child's copy of the connection. Not by the poller: an epoll set is shared with the parent."""
        line, self.line = self.line, None
        if line is not None:
            line.close()
