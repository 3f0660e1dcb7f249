"""A caller whose servers are away: an error in time, never a hang, and nothing half-written."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from celery import Celery

from dispatch_celery import Dispatch, StoreUnavailable
from dispatch_celery.store.client import RedisStore
from dispatch_celery.store.keys import Keys
from tests.support.invariants import dump

pytestmark = pytest.mark.timeout(20)


def _app(broker: str, **conf: Any) -> tuple[Dispatch, Any]:
    app = Celery("away", broker=broker, set_as_current=False)
    app.conf.update(conf)
    dispatch = Dispatch(app)

    @dispatch.job(name="away.add")
    def add(a: int, b: int = 1) -> int:
        return a + b

    return dispatch, add


@pytest.fixture
def away() -> Iterator[tuple[Dispatch, Any]]:
    """Return an app whose Redis is not there, and its job."""
    dispatch, add = _app("redis://:hidden@127.0.0.1:1/0")
    yield dispatch, add
    dispatch.close()


@pytest.mark.parametrize(
    "verb",
    [
        lambda _, add: add.enqueue(1),
        lambda _, add: add.enqueue_many([(1,), (2,)]),
        lambda _, add: add.options(delay=10).enqueue(1),
        lambda _, add: add.delay(1),
        lambda _, add: asyncio.run(add.aenqueue(1)),
        lambda dispatch, _: dispatch.enqueue("away.elsewhere", a=1),
        lambda dispatch, _: dispatch.jobs.list(),
        lambda dispatch, _: dispatch.dlq.count(),
        lambda dispatch, _: dispatch.ping(),
    ],
)
def test_every_verb_says_that_the_server_is_away(
    away: tuple[Dispatch, Any], verb: Callable[[Dispatch, Any], Any]
) -> None:
    """One error for all of them, at the first use of the app too; it names the server and no password."""
    with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1:1\b.* does not answer") as raised:
        verb(*away)

    assert "hidden" not in str(raised.value)


def test_a_job_is_stored_without_its_broker(server_url: str, namespace: str, store: RedisStore) -> None:
    """Where the broker is another server, the job is safe, and its mark says that it is to be published."""
    dispatch, add = _app("amqp://127.0.0.1:1//", dispatch_redis_url=server_url, dispatch_namespace=namespace)

    handle = add.enqueue(1)

    assert handle.state() == "pending"
    assert dump(store, Keys(namespace).tag).ordered["marks"].keys() == {f"{handle.id}:1"}
    dispatch.close()
