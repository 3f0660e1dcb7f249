"""RabbitMQ on this machine, where there is one: skipped with a word, or failed where CI says it should be there.

And what a stranger may put into a queue, whatever the broker.
"""

from __future__ import annotations

import json
import os
import socket
import uuid
from typing import Any

import pytest
from kombu import Connection

HOST, PORT = "127.0.0.1", 5672
URL = f"amqp://guest:guest@{HOST}:{PORT}//"


def require_rabbitmq() -> str:
    """Return the broker's URL; skip the test without one, or fail it under ``DISPATCH_TEST_SERVERS=rabbitmq``."""
    try:
        socket.create_connection((HOST, PORT), timeout=1).close()
    except OSError as error:
        word = f"no RabbitMQ on {HOST}:{PORT}: {error}"
        if "rabbitmq" in os.environ.get("DISPATCH_TEST_SERVERS", ""):
            pytest.fail(word)
        pytest.skip(word)
    return URL


def publish(broker: str, queue: str, body: Any, *, content_type: str = "application/json", **headers: Any) -> None:
    """Put a task message for ``shop.add`` into a queue as any program might; bytes are sent as they are."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    given = {"task": "shop.add", "id": str(uuid.uuid4()), "lang": "py", **headers}
    with Connection(broker) as connection, connection.Producer() as producer:
        producer.publish(
            raw,
            exchange="",
            routing_key=queue,
            content_type=content_type,
            content_encoding="utf-8",
            headers={name: value for name, value in given.items() if value is not None},
        )


def waiting(queue: str) -> int:
    """Return how many messages of a RabbitMQ queue wait for a consumer; those that one holds do not."""
    with Connection(require_rabbitmq()) as connection, connection.channel() as channel:
        return int(channel.queue_declare(queue, passive=True).message_count)
