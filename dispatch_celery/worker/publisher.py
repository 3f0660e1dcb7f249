"""Publishes wake-ups: as a rider in the state's own round trip where that server is the broker, else with confirms.

A message is an ordinary Celery task message (``messages``); on Redis it is what kombu itself would push
(``template``). Priority is 0 to 9, higher first, on every broker: Redis counts the other way round.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import Context, copy_context
from functools import partial
from typing import Any, Final

from celery import Celery, signals
from kombu import Connection
from kombu.exceptions import OperationalError
from kombu.pools import producers

from dispatch_celery.dlq.returning import SendBack
from dispatch_celery.errors import StoreUnavailable
from dispatch_celery.store.client import Store
from dispatch_celery.store.replies import ask_all
from dispatch_celery.store.scripts import Call
from dispatch_celery.work import spans
from dispatch_celery.work.model import WakeUp
from dispatch_celery.worker.messages import celery_id, embed_of, header_of, headers_of
from dispatch_celery.worker.returning import send_back
from dispatch_celery.worker.template import Template, reach

__all__ = ["BrokerPublisher", "RidingPublisher"]

_RETRY: Final = {"max_retries": 2, "interval_start": 0.1, "interval_step": 0.2, "interval_max": 0.5}


class BrokerPublisher:
    """Publishes through kombu, with publisher confirms where the broker has them."""

    def __init__(self, app: Celery, *, redis: bool) -> None:
        self._app = app
        self._is_redis = redis
        self._connection: Connection | None = None
        self._pid = 0
        self._lock = threading.Lock()
        self.origin = f"{os.getpid()}@{socket.gethostname()}"

    def riders(self, wakeups: Sequence[WakeUp]) -> list[Call]:  # noqa: ARG002 - this broker is another server
        """Return nothing: the messages need a trip of their own."""
        return []

    def publish(self, wakeups: Sequence[WakeUp]) -> None:
        """Publish with confirms.

        Raises:
            StoreUnavailable: the broker does not answer.
        """
        if not wakeups:
            return
        with self._producer() as producer:
            for wakeup in wakeups:
                copy_context().run(self.send, producer, wakeup)

    @contextmanager
    def _producer(self) -> Iterator[Any]:
        connection = self._connected()
        unreachable: tuple[type[BaseException], ...] = (
            OperationalError,
            OSError,
            *connection.recoverable_connection_errors,
        )
        try:
            with producers[connection].acquire(block=True, timeout=10) as producer:
                yield producer
        except unreachable as error:
            raise StoreUnavailable(f"the broker does not take messages: {type(error).__name__}: {error}") from error

    @contextmanager
    def reach(self) -> Iterator[SendBack]:
        """Make sure that the broker answers; yield what sends a kept message back.

        By a connection of its own: one that was open before may be so in name only, and the broker closes the channel
        on which it refuses something.

        Raises:
            StoreUnavailable: it does not answer.
        """
        connection = self._app.connection_for_write(transport_options=self._options())
        try:
            reach(connection)
            yield partial(send_back, connection.channel(), redis=self._is_redis)
        except BaseException:
            connection.collect(socket_timeout=1)  # a broker that does not answer is not waited for once more
            raise
        connection.release()

    def announce(self, wakeups: Sequence[WakeUp]) -> None:
        """Do nothing: Celery has told each publication of its own accord."""

    def send(self, producer: Any, wakeup: WakeUp) -> None:
        """Publish one wake-up on a producer, in a context that is thrown away."""
        spans.carried(wakeup.spec)
        message = self._message(wakeup)
        queue = self._app.amqp.queues[wakeup.ref.queue]
        priority = wakeup.ref.priority
        self._app.amqp.send_task_message(
            producer,
            wakeup.ref.name,
            message,
            queue=queue,
            priority=9 - priority if self._is_redis else priority,
            retry=True,
            retry_policy=_RETRY,
        )

    def _message(self, wakeup: WakeUp) -> Any:
        headers = headers_of(wakeup, self.origin)
        task_message = self._app.amqp.as_task_v2(headers["id"], wakeup.ref.name, (), {})
        return task_message._replace(headers={**task_message.headers, **headers}, body=((), {}, embed_of(wakeup)))

    def waiting(self, queue: str) -> int | None:
        """Return how many messages a queue holds; None where the broker does not tell."""
        try:
            with self._connected().channel() as channel:
                # In Redis an empty queue is a list that does not exist: a passive declaration would be refused.
                declared: Any = self._app.amqp.queues[queue](channel).queue_declare(passive=not self._is_redis)
                return int(declared.message_count)
        except Exception:  # noqa: BLE001 - only a hint; every transport fails in its own way
            return None

    def _options(self) -> dict[str, Any]:
        return {
            **(self._app.conf.broker_transport_options or {}),
            **({} if self._is_redis else {"confirm_publish": True}),
        }

    def _connected(self) -> Connection:
        with self._lock:
            if self._connection is None or self._pid != os.getpid():
                self._pid = os.getpid()
                connection = self._app.connection_for_write(transport_options=self._options())
                reach(connection)
                self._connection = connection
            return self._connection

    def close(self) -> None:
        """Close this process's connection."""
        with self._lock:
            connection, self._connection = self._connection, None
        if connection is not None and self._pid == os.getpid():
            connection.release()


class RidingPublisher(BrokerPublisher):
    """Publishes into lists of the state server itself."""

    def __init__(self, app: Celery, store: Callable[[], Store]) -> None:
        super().__init__(app, redis=True)
        self._store = store
        self._announcing = threading.local()
        self._templates: dict[tuple[str, str, int], Template] = {}

    def riders(self, wakeups: Sequence[WakeUp]) -> list[Call]:
        """Return the pushes that kombu itself would make, those into one list as one."""
        lists: dict[str, list[str]] = {}
        # What a receiver attaches to the context before a publication, it takes back after it: each has one of its own.
        contexts = self._announcing.contexts = dict[tuple[str, str], Context]()
        for wakeup in wakeups:
            ref, spec = wakeup.ref, wakeup.spec
            template = self._template(ref.name, ref.queue, ref.priority)
            again = wakeup.wake != "1" and spans.TRACE in spec  # nobody else tells its next worker where it was made
            if again or signals.before_task_publish.receivers or "canvas" in spec or "headers" in spec:
                context = contexts[ref.id, wakeup.wake] = copy_context()
                message = context.run(self._announced, wakeup, template)
            else:
                message = template.fill(
                    task_id=celery_id(wakeup),
                    dispatch=header_of(ref),
                    summary=f"{{{spec.get('summary', '')}}}",
                    retries=wakeup.attempt - 1,
                )
            lists.setdefault(template.key, []).append(message)
        return [Call.command("LPUSH", key, *messages) for key, messages in lists.items()]

    def publish(self, wakeups: Sequence[WakeUp]) -> None:
        """Publish in one trip.

        Raises:
            StoreUnavailable: the server does not answer.
        """
        if not wakeups:
            return
        ask_all(self._store(), self.riders(wakeups))
        self.announce(wakeups)

    def announce(self, wakeups: Sequence[WakeUp]) -> None:
        """Send Celery's signal of each publication, as Celery itself would."""
        if not signals.after_task_publish.receivers:
            return
        contexts = getattr(self._announcing, "contexts", {})
        for wakeup in wakeups:
            contexts.pop((wakeup.ref.id, wakeup.wake), copy_context()).run(
                signals.after_task_publish.send,
                sender=wakeup.ref.name,
                body=((), {}, embed_of(wakeup)),
                headers=headers_of(wakeup, self.origin),
                exchange="",
                routing_key=wakeup.ref.queue,
            )

    def waiting(self, queue: str) -> int | None:
        """Return how many messages the lists of a queue hold."""
        keys = {self._template("-", queue, priority).key for priority in range(10)}
        return sum(
            int(length) for length in ask_all(self._store(), [Call.command("LLEN", key) for key in sorted(keys)])
        )

    def _template(self, name: str, queue: str, priority: int) -> Template:
        known = self._templates.get((name, queue, priority))
        if known is None:
            known = self._templates[name, queue, priority] = Template.learn(self._app, name, queue, 9 - priority)
        return known

    def _announced(self, wakeup: WakeUp, template: Template) -> str:
        """Build a message field by field: somebody listens to publications, or it carries what no template has."""
        spans.carried(wakeup.spec)
        headers = headers_of(wakeup, self.origin)
        body: Any = ((), {}, embed_of(wakeup))
        properties = {"correlation_id": headers["id"], "reply_to": ""}
        signals.before_task_publish.send(
            sender=wakeup.ref.name,
            body=body,
            exchange="",
            routing_key=wakeup.ref.queue,
            declare=[],
            headers=headers,
            properties=properties,
            retry_policy=None,
        )
        return template.build(headers=headers, properties=properties, body=body)
