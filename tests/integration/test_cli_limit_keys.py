"""What the command line says of a limit whose key no job has: it is set, and all its jobs share one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from celery import Celery
from pydantic import BaseModel

from dispatch_celery import Dispatch
from dispatch_celery.cluster.store import ClusterStore
from dispatch_celery.config import Settings
from dispatch_celery.ids import WorkerId
from dispatch_celery.store.client import RedisStore
from dispatch_celery.store.keys import Keys
from dispatch_celery.store.servertime import ServerTime
from tests.support.command_line import CommandLine


@dataclass
class Buyer:
    """Who is asked for."""

    customer: str


class Order(BaseModel):
    """What is asked for."""

    buyer: Buyer


@pytest.fixture
def line(namespace: str, server_url: str) -> Iterator[CommandLine]:
    """Return the command line of an app with jobs of two queues."""
    app = Celery("ops", broker=server_url, set_as_current=False)
    app.conf.update(dispatch_namespace=namespace, task_default_queue="ops")
    dispatch = Dispatch(app)

    @dispatch.job(name="ops.work")
    def work(tenant: str, order: Order, extra: dict[str, Any]) -> None: ...

    @dispatch.job(name="ops.rest")
    def rest(key: str = "") -> None: ...

    @dispatch.job(name="ops.keyed", queue="keyed", limit_key=str)
    def keyed(region: str = "") -> None: ...

    @dispatch.job(name="ops.open")
    def anything(**words: str) -> None: ...

    yield CommandLine(app, dispatch)
    dispatch.close()
    app.close()


def _beside(line: CommandLine, *words: str) -> str:
    result = line.call("queues", "limit", *words[:-1], "--per-key", words[-1])
    assert result.exit_code == 0, result.output
    assert result.stdout
    return result.stderr


@pytest.mark.parametrize(
    ("by", "said"),
    [
        (
            "arguments.tenent",
            "job 'ops.work' has no parameter 'tenent', so all of them share one key; did you mean arguments.tenant?",
        ),
        (
            "arguments.ordr.buyer",
            "has no parameter 'ordr', so all of them share one key; did you mean arguments.order.buyer?",
        ),
        ("arguments.order.bier", "has no field in arguments.order: 'bier'"),
        ("arguments.order.buyer.custmer", "did you mean arguments.order.buyer.customer?"),
        ("arguments.weather", "has no parameter 'weather', so all of them share one key\n"),
        ("key", "notice: the job 'ops.work' has no limit_key=, so all of them share one key\n"),
    ],
)
def test_a_key_that_a_job_does_not_have_is_told(line: CommandLine, by: str, said: str) -> None:
    """With the one that may be meant; the limit is set."""
    assert said in _beside(line, "--job", "ops.work", by)
    found = line.dispatch.queues.get(job="ops.work").limit
    assert found is not None
    assert found.per_key is not None
    assert found.per_key.by == by


@pytest.mark.parametrize(
    ("name", "by"),
    [
        ("ops.work", "arguments.tenant"),
        ("ops.work", "arguments.order.buyer.customer"),
        ("ops.work", "arguments.extra.whatever"),
        ("ops.work", "scope.org_id"),
        ("ops.keyed", "key"),
        ("ops.open", "arguments.whatever"),
    ],
)
def test_a_key_that_a_job_may_have_is_no_matter(line: CommandLine, name: str, by: str) -> None:
    """Of its declaration, of a mapping, of any tenant, and of what takes any words."""
    assert _beside(line, "--job", name, by) == ""


def test_a_key_that_no_job_of_a_queue_has_is_told(line: CommandLine, store: RedisStore, namespace: str) -> None:
    """One that has it is enough; where a worker declares others for the queue, it is not known."""
    assert "did you mean arguments.key?" in _beside(line, "--job", "ops.rest", "key")
    assert _beside(line, "ops", "arguments.whatever") == ""
    assert _beside(line, "keyed", "key") == ""
    said = (
        "notice: no job that this app declares for the queue 'keyed' has a parameter 'regoin', so all of them share one"
    )
    assert _beside(line, "keyed", "arguments.regoin") == f"{said} key; did you mean arguments.region?\n"
    described = {"pid": 1, "name": "w", "queues": "keyed"}
    cluster = ClusterStore(store, Keys(namespace), Settings(namespace=namespace), ServerTime())
    cluster.register(WorkerId.mint(), described, {"far.job": '{"queue": "keyed"}'})
    assert _beside(line, "keyed", "arguments.regoin") == ""
