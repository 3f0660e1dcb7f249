"""Which messages a channel has in flight, and what becomes of them.

Promises: an acknowledgement works after the channel's connection is gone. A message given back was neither run nor
acknowledged as far as this process knows. Nothing here raises because an entry of ``unacked`` cannot be read.

Two differences from kombu's. Messages are recorded by the claim, not here, so a claimed message costs no further
round trip. And closing gives messages back only when it is meant: a worker that stops. When a connection *breaks*,
what was in flight is in flight still, and to put it back would run it twice.
"""

from __future__ import annotations

import logging
import time
from typing import Any

from kombu.transport import redis as stock
from kombu.transport import virtual

from dispatch_celery.transport import books
from dispatch_celery.transport.books import Standing
from dispatch_celery.transport.deadletters import current_sink
from dispatch_celery.transport.envelope import decode_entry

__all__ = ["QoS", "Unrecorded"]

logger = logging.getLogger("dispatch_celery.transport")


class QoS(stock.QoS):  # type: ignore[misc]  # kombu is untyped
    """Acknowledgement and prefetch of one channel, by way of the process's ledger."""

    def enroll(self, message: Any, tag: str) -> None:
        """Note a delivered message that the claim has recorded already."""
        virtual.QoS.append(self, message, tag)
        self.channel.ledger.hold(tag, message)

    @property
    def in_flight(self) -> int:
        """How many messages are delivered and not acknowledged."""
        return len(self._delivered) - len(self._dirty)

    def ack(self, delivery_tag: str) -> None:
        """Acknowledge a message: told to the broker with the next claim, within 50 ms, or at once without a loop."""
        self.channel.ledger.ack(delivery_tag)
        virtual.QoS.ack(self, delivery_tag)
        self.channel.acked()

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:  # noqa: FBT001, FBT002 - kombu's signature
        """Drop a message, or put it back into its queue, where it is the last to be taken."""
        ledger = self.channel.ledger
        if not requeue:
            self.ack(delivery_tag)
            return
        ledger.forget(delivery_tag)
        virtual.QoS.ack(self, delivery_tag)
        if self.channel.closed:  # its connection is gone: a living channel does it
            ledger.orphans.append(delivery_tag)
        else:
            self.restore_by_tag(delivery_tag, leftmost=True)

    def restore_by_tag(self, tag: str, client: Any = None, leftmost: bool = False) -> None:  # noqa: FBT001, FBT002 - as in kombu
        """Put an unacknowledged message back into its queue; an unreadable one becomes a dead letter."""
        try:
            super().restore_by_tag(tag, client, leftmost)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            self._bury(tag, f"cannot be restored: {type(error).__name__}")

    def restore_unacked(self, client: Any = None) -> None:
        """Put back everything that is not acknowledged, the oldest last, so that it comes out first."""
        self._flush()
        for tag in reversed(list(self._delivered)):
            self.give_back(tag, client)
        self._delivered.clear()

    def give_back(self, tag: str, client: Any = None) -> None:
        """Put one delivered message back and have nothing to do with it any more."""
        self.channel.ledger.forget(tag)
        self.restore_by_tag(tag, client)
        self._delivered.pop(tag, None)

    def restore_unacked_once(self, stderr: Any = None) -> None:
        """Put back what is not acknowledged, once. If the broker does not answer it stays in ``unacked``."""
        try:
            if self._delivered or self.channel.ledger.acks:
                self.channel.flush_acks()
            super().restore_unacked_once(stderr)
        except self.channel.connection_errors as error:
            logger.warning("cannot give messages back to the broker, they stay in %s: %s", self.unacked_key, error)

    def restore_visible(self, start: int = 0, num: int | None = 10, interval: int = 10) -> None:
        """Put back what has been in flight for longer than the visibility timeout, by the server's clock."""
        self._vrestore_count += 1
        if (self._vrestore_count - 1) % (interval or 1):
            return
        self.channel.ledger.touch(self.channel.plain_client)
        with self.channel.conn_or_acquire() as client:
            seconds, micros = client.time()
            limit = seconds + micros / 1e6 - self.visibility_timeout
            try:
                with stock.Mutex(client, self.unacked_mutex_key, self.unacked_mutex_expire):
                    expired = client.zrange(
                        self.unacked_index_key, limit, 0, desc=True, byscore=True, offset=num and start, num=num
                    )
                    for tag in expired:
                        self.restore_by_tag(tag, client)
            except stock.MutexHeld:
                pass

    def keep_begun(self) -> None:
        """Keep Celery from forgetting the jobs that pool processes may have begun.

        Reconnecting, it drops every job whose process has not said yet that it accepts it. Such a task would run,
        and nobody would acknowledge it.
        """
        self._flush()
        for message in self._delivered.values():
            standing, request = books.standing(message)
            if standing is Standing.SENT:
                books.mark_accepted(request)

    def give_back_unstarted(self) -> None:
        """Put back at once what a stopping worker will not begin; kombu does it when the last task has ended."""
        self._flush()
        for tag, message in reversed(list(self._delivered.items())):
            standing, request = books.standing(message)
            if message.acknowledged or standing not in {Standing.DROPPED, Standing.QUEUED}:
                continue
            if request is not None:
                books.withdraw(request)
            self.give_back(tag)

    def abandon(self) -> None:
        """Forget everything without a word to the broker: the connection is lost, not the messages."""
        self._on_collect.cancel()
        self._flush()
        self._delivered.clear()
        self._delivered.restored = True

    def _bury(self, tag: str, reason: str) -> None:
        with self.channel.conn_or_acquire() as client:
            entry = client.hget(self.unacked_key, tag)
            if entry is None:
                return
            queue, raw = decode_entry(entry)
            try:
                current_sink()(queue=queue, raw=raw, reason=reason)
            except Exception:
                logger.exception("the sink refused a message that cannot be restored; it stays in unacked")
                # Its turn comes again after another visibility timeout; until then it must not hold up the sweep.
                client.zadd(self.unacked_index_key, {tag: time.time()}, xx=True)
                return
            self._remove_from_indices(tag, client.pipeline()).execute()


class Unrecorded(virtual.QoS):  # type: ignore[misc]  # kombu is untyped
    """For ``ack_emulation=False``: nothing is recorded, and what a process holds is lost with it, as in kombu."""

    @property
    def in_flight(self) -> int:
        """How many messages are delivered and not acknowledged."""
        return len(self._delivered) - len(self._dirty)

    def keep_begun(self) -> None:
        """Nothing: nobody acknowledges to a record."""

    def give_back_unstarted(self) -> None:
        """Nothing: closing puts it back."""

    def restore_visible(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: there is no record to restore from."""

    def abandon(self) -> None:
        """Forget everything: the connection is lost."""
        self._on_collect.cancel()
        self._delivered.clear()
        self._delivered.restored = True
