"""Sends kept messages back to the broker as they came: body byte for byte, headers, properties, route."""

from __future__ import annotations

from typing import Any, Final

from kombu import Producer
from kombu.exceptions import OperationalError

from dispatch_celery.errors import StateConflict, StoreUnavailable
from dispatch_celery.worker.messages import Envelope

__all__ = ["send_back"]

_ANSWER_LIMIT: Final = 10
"""Seconds that a broker has to confirm a message."""


def send_back(channel: Any, raw: bytes, *, queue: str, elsewhere: bool, redis: bool) -> None:
    """Send a message that was kept, as it came; ``elsewhere``: to ``queue``, not where it was sent first.

    Raises:
        StateConflict: it was not kept whole, its bytes are those of another kind of broker, or no queue takes it.
        StoreUnavailable: the broker does not answer; it may have the message.
    """
    kept = Envelope.parse(raw)
    if kept is None and not redis:
        raise StateConflict("its bytes are those of a Redis list, and this broker is none")
    connection = channel.connection.client
    try:
        if kept is None:
            channel.client.lpush(queue, raw)
        else:
            _publish(channel, kept, queue if redis or elsewhere or not kept.routing_key else "")
    except (OperationalError, OSError, *connection.recoverable_connection_errors) as error:
        raise StoreUnavailable(
            f"the broker has not said whether it has the message: {type(error).__name__}: {error}"
        ) from error


def _publish(channel: Any, kept: Envelope, queue: str) -> None:
    """Publish a message where it was published before, or straight into a queue."""
    there = queue or (kept.routing_key if not kept.exchange else "")
    properties = dict(kept.properties)
    if properties.get("expiration"):
        # kombu takes seconds, cuts them to milliseconds, and would lose one to rounding.
        properties["expiration"] = (int(properties["expiration"]) + 0.5) / 1000
    try:
        Producer(channel, auto_declare=False).publish(
            kept.body,
            exchange="" if there else kept.exchange,
            routing_key=there or kept.routing_key,
            content_type=kept.content_type,
            content_encoding=kept.content_encoding,
            headers=dict(kept.headers),
            mandatory=True,
            confirm_timeout=_ANSWER_LIMIT,
            **properties,
        )
    except channel.connection.client.channel_errors as error:
        where = f"the queue {there}" if there else f"the exchange {kept.exchange} ({kept.routing_key})"
        raise StateConflict(
            f"{where} does not take it: {error}; start a worker of that queue, or give queue= to put it elsewhere"
        ) from error
