"""Limits that an app declares: set when it says something new, and otherwise left as people have changed them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from celery import Celery

from dispatch_celery import ConfigurationError, Dispatch, Limit, PerKey
from dispatch_celery.queues.model import checked_limits
from dispatch_celery.queues.service import QueueService


@pytest.fixture
def queues(namespace: str, server_url: str) -> Iterator[QueueService]:
    """Return the verbs of queues in a namespace of their own."""
    app = Celery("desk", broker=server_url, set_as_current=False)
    app.conf.update(dispatch_namespace=namespace)
    dispatch = Dispatch(app)
    yield dispatch.queues
    dispatch.close()
    app.close()


def test_what_is_declared_again_leaves_what_was_changed(queues: QueueService) -> None:
    """A worker that starts does not undo what a person set since; a new declaration does."""
    first = checked_limits({"mail": Limit(concurrency=2, per_key=PerKey(by="scope", weights={"a": 2}))})
    queues.declare(first)
    assert queues.get("mail").limit == first["queue:mail"]

    queues.limit("mail", concurrency=9)
    queues.declare(first)
    assert queues.get("mail").limit == Limit(concurrency=9)

    queues.declare(checked_limits({"mail": Limit(rate="5/s")}))
    assert queues.get("mail").limit == Limit(rate="5/s")


def test_a_pause_survives_a_declaration(queues: QueueService) -> None:
    """It is a person's, and says nothing about how much."""
    queues.pause("mail")
    queues.declare(checked_limits({"mail": Limit(concurrency=2)}))

    assert queues.get("mail").paused


def test_what_is_no_limit_is_refused_where_it_is_declared() -> None:
    """With the name of the queue."""
    with pytest.raises(ConfigurationError, match=r"queues=\{'mail': ...\} takes a Limit, not 5"):
        Dispatch(queues={"mail": 5})  # type: ignore[dict-item]  # as a caller without a type checker may
