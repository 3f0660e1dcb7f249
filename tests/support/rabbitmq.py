"""RabbitMQ on this machine, where there is one: skipped with a word, or failed where CI says it should be there."""

from __future__ import annotations

import os
import socket

import pytest

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
