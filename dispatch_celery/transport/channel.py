"""kombu's Redis channel with our intake in place of BRPOP.

Same keys, same messages, same options; producing, declaring, fan-out and pub/sub are kombu's own code. Different are
consuming (`intake`), acknowledging (`ledger`, `qos`), and three things kombu does per command or not at all: the
client object is made once, a channel whose connection broke can still acknowledge, and commands have timeouts.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable
from typing import Any, ClassVar, Final

from kombu.transport import redis as stock
from kombu.utils.scheduling import priority_cycle

from dispatch_celery.transport import books
from dispatch_celery.transport.envelope import Undecodable, decode
from dispatch_celery.transport.intake import Intake
from dispatch_celery.transport.ledger import Keys, Ledger, ledger_of
from dispatch_celery.transport.qos import QoS, Unrecorded
from dispatch_celery.transport.scripts import load
from dispatch_celery.transport.wire import Line

__all__ = ["Channel"]

# The longest an acknowledgement waits for company.
_ACK_DELAY: Final = 0.05

logger = logging.getLogger("dispatch_celery.transport")

Consumer = Callable[[Any], Any]


class Channel(stock.Channel):  # type: ignore[misc]  # kombu is untyped
    """A channel that claims in batches and remembers across connections."""

    QoS: ClassVar[type[QoS]] = QoS

    # kombu waits for ever by default. A command that takes this long is answered by a broker that is not there.
    socket_timeout = 10.0
    socket_connect_timeout = 5.0
    socket_keepalive = True

    closed: bool
    _client: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._plain: Any = None
        self._making = threading.RLock()
        self._takers: dict[str, tuple[Consumer, bool]] = {}
        self._serving: list[str] = []
        self._flush_set = False
        super().__init__(*args, **kwargs)
        if not self.ack_emulation:  # kombu has put its own class here
            self.QoS = Unrecorded  # type: ignore[misc]  # as kombu does
        self.ledger: Ledger = ledger_of(self._identity(), self._keys())
        self.intake = Intake(self)

    # -- clients

    def _create_client(self, asynchronous: bool = False) -> Any:  # noqa: FBT001, FBT002 - as in kombu
        """Return the one client of the pool. kombu makes a new object, 60 microseconds of work, for each command."""
        if asynchronous:  # keeps a connection of its own: never shared
            return super()._create_client(asynchronous=True)
        client = self._client
        if client is None or client.connection_pool is not self.pool:
            with self._making:
                client = self._client
                if client is None or client.connection_pool is not self.pool:
                    client = self._client = super()._create_client()
        return client

    @property
    def pool(self) -> Any:
        """The connection pool, made once also where threads ask for it at the same time."""
        pool = self._pool
        if pool is None:
            with self._making:
                pool = super().pool
        return pool

    @property
    def plain_client(self) -> Any:
        """A client that adds no prefix: the keys of scripts are spelled in full."""
        pool = self.pool
        client = self._plain
        if client is None or client.connection_pool is not pool:
            client = self._plain = stock.redis.Redis(connection_pool=pool)
        return client

    def line_connection(self) -> Any:
        """Return a new connection, not yet open, of the kind and to the place of the pool's."""
        pool = self.pool
        return pool.connection_class(**{**pool.connection_kwargs, "protocol": 3})

    def _identity(self) -> tuple[object, ...]:
        client = self.connection.client
        return (client.as_uri(include_password=True), *client.alt, getattr(self, "master_name", None))

    def _keys(self) -> Keys:
        prefix = self.global_keyprefix
        return Keys(f"{prefix}{self.unacked_key}", f"{prefix}{self.unacked_index_key}")

    @property
    def reply_timeout(self) -> float:
        """How long a claim may stay unanswered."""
        return float(self.socket_timeout or stock.DEFAULT_HEALTH_CHECK_INTERVAL)

    # -- consuming

    @property
    def serving(self) -> list[str]:
        """The queues consumed from, without fan-out ones; kombu builds this list anew each time."""
        return self._serving

    @property
    def per_event(self) -> int | None:
        """How many messages one event may deliver: all in the event loop, one in ``drain_events``."""
        return None if self._loop() else 1

    def basic_consume(self, queue: str, no_ack: bool, callback: Consumer, *args: Any, **kwargs: Any) -> Any:  # noqa: FBT001 - as kombu
        """Consume from a queue."""
        self._takers[queue] = callback, bool(no_ack)
        result = super().basic_consume(queue, no_ack, callback, *args, **kwargs)
        self._serving = self.active_queues
        self.intake.claims.wake()
        if self._serving and books.inline_pool():
            self.ledger.touch_by_thread(self.plain_client, self.visibility_timeout / 3)
        return result

    def _basic_cancel(self, consumer_tag: str) -> Any:
        queue = self._tag_to_queue.get(consumer_tag)
        result = super()._basic_cancel(consumer_tag)
        self._serving = self.active_queues
        if queue is not None and queue not in self._active_queues:
            self._takers.pop(queue, None)
            self.intake.pause()
            if not self._serving and books.stopping():
                self.qos.give_back_unstarted()
        return result

    def taker(self, queue: str) -> tuple[Consumer, bool] | None:
        """Return who takes the messages of a queue, and whether without acknowledging."""
        return self._takers.get(queue)

    def order(self) -> tuple[tuple[str, ...], tuple[str, ...], int, str]:
        """Return the queues in serving order, their lists by priority step, whether to share, and who is silent."""
        queues = tuple(self._queue_cycle.consume(len(self._serving)))
        prefix = self.global_keyprefix
        lists = tuple(prefix + self._q_for_pri(queue, step) for step in self.priority_steps for queue in queues)
        silent = "".join("1" if self._takers[queue][1] or not self.ack_emulation else "0" for queue in queues)
        return queues, lists, int(not isinstance(self._queue_cycle, priority_cycle)), silent

    def stand_aside(self) -> None:
        """Let other idle workers take what is published next: this one could not use what it took."""
        self.intake.claims.stand_aside()

    def call_later(self, seconds: float) -> None:
        """Let the event loop look at this channel then; without a loop the poller sees to it."""
        loop = self._loop()
        if loop is not None:
            loop.call_later(seconds, self._nothing)

    def _nothing(self) -> None:
        """What a timer does that only has to end a poll."""

    def served(self, queue: str) -> None:
        """Note that a queue had its turn."""
        self._queue_cycle.rotate(queue)

    def watch(self, new: Line | None, old: Line | None) -> None:
        """Let the poller look at one line instead of another."""
        cycle = self.connection.cycle if self.connection else None
        if cycle is not None:
            if old is not None:
                cycle.unwatch(self, old)
            if new is not None:
                cycle.watch(self, new)

    def basic_get(self, queue: str, no_ack: bool = False, **_kwargs: Any) -> Any:  # noqa: FBT001, FBT002 - as in kombu
        """Take one message at once, or None. It is recorded in the step that takes it."""
        keys, consumer = self.ledger.keys, uuid.uuid4().hex
        lists = [self.global_keyprefix + self._q_for_pri(queue, step) for step in self.priority_steps]
        silent = "1" if no_ack or not self.ack_emulation else "0"
        reply = load("claim").call(
            self.plain_client,
            [keys.unacked, keys.index, keys.record(consumer), *lists],
            [f"{consumer}:1", 1, 0, silent, 1, queue],
        )
        with self.conn_or_acquire() as client:
            self._maybe_update_queues_expire(client, queue)
        if not reply:
            return None
        tag = reply[1].decode()
        try:
            message = decode(self, reply[2], tag, queue)
        except Undecodable as error:
            self.intake.refuse(tag, queue, error)
            return None
        self.enroll(message, tag, no_ack=no_ack)
        return message

    def enroll(self, message: Any, tag: str, *, no_ack: bool) -> None:
        """Note a message that is delivered now, unless nobody will acknowledge it."""
        if tag:
            self.qos.enroll(message, tag)
        elif not no_ack:
            self.qos.append(message, message.delivery_tag)

    # -- acknowledging

    def acked(self) -> None:
        """Note that something was acknowledged; decide when the broker is told."""
        if self.closed:  # a later channel of this process tells it
            return
        loop = self._loop()
        if loop is None:
            self.flush_acks()
        elif not self._flush_set:
            self._flush_set = True
            loop.call_later(_ACK_DELAY, self._flush_late)

    def flush_acks(self) -> None:
        """Tell the broker every acknowledgement of this process."""
        self.ledger.flush(self.plain_client)

    def _flush_late(self) -> None:
        """Flush what no claim has taken along. From a timer, so a broken connection is left to those who use it."""
        self._flush_set = False
        try:
            if not self.closed:
                self.flush_acks()
        except self.connection_errors as error:
            logger.debug("acknowledgements are kept until the broker is back: %s", error)

    def settle(self) -> None:
        """Give back what earlier connections left behind and nobody can run any more."""
        ledger = self.ledger
        if ledger.acks:
            self.flush_acks()
        if ledger.lost:
            ledger.find_lost(self.plain_client)
        while ledger.orphans:
            tag = ledger.orphans[0]
            self.qos.restore_by_tag(tag)
            ledger.orphans.popleft()

    def keep(self) -> None:
        """Once a second: settle, refresh what is in flight, and look after the intake.

        Raises:
            OSError: the claim connection is dead and cannot be made again. Other troubles wait for their turn.
        """
        if self._serving or self.intake.claims.line is not None:
            try:
                self.settle()
                self.ledger.touch_if_due(self.plain_client, self.visibility_timeout / 3)
            except self.connection_errors as error:
                logger.warning("cannot keep the books with the broker: %s", error)
        if self._serving:
            self.intake.keep()

    # -- the end

    def close(self) -> None:
        """Close in order: finish the claim, tell the acknowledgements, give back everything else."""
        if not self.closed:
            self.ledger.stop_touching()
            try:
                self.intake.close()
                if self._qos is not None:
                    self._qos.restore_unacked_once()
            except self.connection_errors as error:
                logger.warning("closing without the broker, messages stay in %s: %s", self.unacked_key, error)
        super().close()

    def abandon(self) -> None:
        """Close a channel whose connection is lost. What it has in flight runs on, and is acknowledged later."""
        if self.closed:
            return
        self.closed = self._closing = True
        if self._qos is not None:
            self._qos.keep_begun()
            self._qos.abandon()
        self.intake.abandon()
        transport = self.connection
        self._disconnect_pools()
        self._close_clients()
        if transport is not None:
            transport.cycle.discard(self)
            transport.close_channel(self)

    def _after_fork(self) -> None:
        self._making = threading.RLock()
        self._client = self._plain = None
        self.intake.claims.after_fork()
        super()._after_fork()

    def _loop(self) -> Any:
        """Return the event loop this channel is driven by, or None."""
        return self.connection.loop if self.connection else None
