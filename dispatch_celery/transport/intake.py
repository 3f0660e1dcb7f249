"""From claimed messages to consumers: the buffer between, the pace, and the ways back.

Promises: a claimed message is delivered, given back, or in the sink's hands; it is never only in memory and forgotten.
Messages nobody has seen go back to the place they were taken from, unchanged and in order.

*Slow start.* A batch is as large as can be delivered in 50 ms. In the solo pool, where delivering is running, a worker
with long tasks therefore takes one message at a time and leaves the others to other workers; elsewhere the batch soon
grows to the window.
"""

from __future__ import annotations

from collections import deque
from time import monotonic
from typing import Any, Final

from dispatch_celery.transport import books
from dispatch_celery.transport.claims import Claimed, Claims
from dispatch_celery.transport.deadletters import LIMIT, Letter, Parking
from dispatch_celery.transport.envelope import Undecodable, decode
from dispatch_celery.transport.scripts import Word, load

__all__ = ["Intake"]

_SLICE: Final = 0.05


class Intake:
    """The consuming side of one channel."""

    def __init__(self, channel: Any) -> None:
        self.claims = Claims(channel)
        self.buffer: deque[Claimed] = deque()
        self.parking = Parking()
        self._channel = channel

    def step(self) -> None:
        """Send what is to be sent. Called before every poll.

        Raises:
            OSError: the broker cannot be reached.
        """
        self.claims.step(len(self.buffer))

    def on_readable(self) -> bool:
        """Read what has come and deliver; return whether a message was delivered.

        Raises:
            OSError: the connection broke and cannot be made again.
        """
        self.buffer.extend(self.claims.read())
        if self.claims.ready and not self.buffer:
            self.step()  # a tick earlier than the loop would: this is the way of a message to an idle worker
        return self.deliver()

    def deliver(self, *, at_most: int | None = None) -> bool:
        """Hand buffered messages to their consumers; return whether there was one."""
        started, count = monotonic(), 0
        limit = at_most if at_most is not None else self._channel.per_event
        while self.buffer and count != limit and not books.stopping():
            count += 1
            self._deliver_one(self.buffer.popleft())
        if count and at_most is None:
            self._pace(count, monotonic() - started)
        return count > 0

    def _pace(self, count: int, took: float) -> None:
        if took < _SLICE:
            self.claims.grow()
        else:
            self.claims.batch = max(1, int(count * _SLICE / took))

    def _deliver_one(self, claimed: Claimed) -> None:
        taker = self._channel.taker(claimed.queue)
        if taker is None:
            self._give_back([claimed])
            return
        try:
            message = decode(self._channel, claimed.raw, claimed.tag, claimed.queue)
        except Undecodable as error:
            self.refuse(claimed.tag, claimed.queue, error)
            return
        consumer, no_ack = taker
        self._channel.enroll(message, claimed.tag, no_ack=no_ack)
        consumer(message)
        books.remember(message)

    def refuse(self, tag: str, queue: str, error: Undecodable) -> None:
        """Hand an undecodable message to the sink, and acknowledge it if it was kept."""
        if self.parking.offer(Letter(tag, queue, error.raw, str(error)), monotonic()):
            self._ack_unseen(tag)
        elif len(self.parking.letters) >= LIMIT:
            self._channel.ledger.forget(tag)

    def _ack_unseen(self, tag: str) -> None:
        if tag:
            self._channel.ledger.ack(tag)
            self._channel.acked()

    def keep(self) -> None:
        """Once a second: offer refused letters again, and notice a broker that does not answer.

        Raises:
            OSError: the connection is dead and cannot be made again.
        """
        now = monotonic()
        for letter in self.parking.retry(now):
            self._ack_unseen(letter.tag)
        self.claims.check(now)

    def pause(self) -> None:
        """Take nothing more: wait for the claim under way, and give back what no consumer has seen."""
        self.buffer.extend(self.claims.finish())
        if self.buffer:
            unseen = list(self.buffer)
            self.buffer.clear()
            self._give_back(unseen)

    def close(self) -> None:
        """End in order: everything unseen goes back."""
        try:
            self.pause()
        finally:
            self.claims.drop()

    def abandon(self) -> None:
        """End without the broker: everything unseen is orphaned, to be given back by a later channel."""
        self.claims.drop()
        ledger = self._channel.ledger
        unseen = [message.tag for message in self.buffer] + [letter.tag for letter in self.parking.letters]
        self.buffer.clear()
        for tag in reversed([tag for tag in unseen if tag]):
            ledger.forget(tag)
            ledger.orphans.append(tag)

    def _give_back(self, messages: list[Claimed]) -> None:
        """Put messages back where they came from, the oldest last, so that it comes out first again."""
        ledger = self._channel.ledger
        keys = [ledger.keys.unacked, ledger.keys.index]
        pairs: list[Word] = []
        for message in reversed(messages):
            keys.append(message.key)
            pairs += [message.tag, message.raw]
            ledger.forget(message.tag)
        try:
            load("giveback").call(self._channel.plain_client, keys, pairs)
        except BaseException:
            ledger.orphans.extend(message.tag for message in reversed(messages) if message.tag)
            raise
