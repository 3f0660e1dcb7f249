"""What the transport reads of Celery, kombu and billiard that they do not promise: all of it must still be there.

A minor release that moves one of these names makes its test fail here, by name, before it misleads a worker.
"""

from __future__ import annotations

import inspect
from importlib.metadata import version
from types import ModuleType
from typing import Any

import billiard.pool
import celery.worker.request
import celery.worker.state
import kombu.transport
import kombu.transport.redis
import pytest
from celery.concurrency import asynpool, prefork
from celery.worker.request import Request

SEEN = {"celery": "5.7", "kombu": "5.7", "billiard": "4.3"}
"""The minor releases against which this was read."""


@pytest.mark.parametrize("package", SEEN)
def test_the_release_is_one_that_was_read(package: str) -> None:
    """A new minor release: read ``transport/books.py`` and ``transport/qos.py`` against it, then name it here."""
    assert version(package).startswith(SEEN[package])


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (celery.worker.state, "reserved_requests"),
        (celery.worker.state, "active_requests"),
        (celery.worker.state, "requests"),
        (celery.worker.state, "should_stop"),
        (celery.worker.state, "should_terminate"),
        (kombu.transport, "TRANSPORT_ALIASES"),
        (kombu.transport, "_transport_cache"),
        (kombu.transport.redis, "Channel"),
        (kombu.transport.redis, "QoS"),
        (kombu.transport.redis, "MultiChannelPoller"),
        (kombu.transport.redis.Channel, "_q_for_pri"),
        (kombu.transport.redis.Channel, "_get_message_priority"),
        (kombu.transport.redis.Channel, "global_keyprefix"),
        (kombu.transport.redis.Channel, "_put"),
        (billiard.pool.ApplyResult, "discard"),
    ],
)
def test_a_name_is_where_it_is_looked_for(owner: ModuleType | type, name: str) -> None:
    """It is read from outside."""
    assert hasattr(owner, name)


@pytest.mark.parametrize(
    ("kind", "attribute"),
    [
        (Request, "_apply_result"),
        (asynpool.AsynPool, "_write_to"),
        (billiard.pool.ApplyResult, "_accepted"),
        (billiard.pool.ApplyResult, "_write_to"),
        (billiard.pool.ApplyResult, "_scheduled_for"),
    ],
)
def test_an_attribute_is_still_set(kind: Any, attribute: str) -> None:
    """It tells how far a message has come in prefork; nothing public does."""
    assert attribute in inspect.getsource(inspect.getmodule(kind) or kind)


def test_prefork_is_the_pool_that_writes_to_pipes() -> None:
    """The other pools are told from it by what their results lack."""
    assert prefork.TaskPool.Pool is asynpool.AsynPool
