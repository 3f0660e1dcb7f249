"""RabbitMQ as the broker, the state elsewhere: confirms, outages, and hostile messages (F-50 to F-53)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kombu import Connection

from dispatch_celery import DeadLetterKind, JobId, JobState
from tests.support.eventually import eventually
from tests.support.history import check_history
from tests.support.proxy import Proxy
from tests.support.rabbitmq import HOST, PORT, publish, require_rabbitmq, waiting
from tests.support.workers import Fleet, fleet

pytestmark = [pytest.mark.slow, pytest.mark.faults, pytest.mark.timeout(120)]


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    """Return a proxy in front of RabbitMQ."""
    require_rabbitmq()
    with Proxy((HOST, PORT)) as running:
        yield running


@pytest.fixture
def rabbit(namespace: str, server_url: str, proxy: Proxy, tmp_path: Path) -> Iterator[Fleet]:
    """Return a fleet whose broker is RabbitMQ behind a proxy, and whose state is on the suite's server."""
    url = f"amqp://guest:guest@{HOST}:{proxy.port}//"
    with fleet(namespace, url, tmp_path, state=server_url) as made:
        yield made
        _delete(made.shop.QUEUE)


def _delete(queue: str) -> None:
    with Connection(require_rabbitmq()) as connection, connection.channel() as channel:
        channel.queue_delete(queue)


def test_jobs_live_their_whole_life_on_rabbitmq(rabbit: Fleet) -> None:
    """Values, retries, delays, bulk and plain tasks work with publisher confirms."""
    rabbit.start()
    jobs = rabbit.shop

    assert jobs.add.enqueue(1).result(timeout=15) == 2
    assert jobs.flaky.enqueue("f", 1).result(timeout=15) == 2
    assert jobs.add.options(delay=0.2, priority=5).enqueue(2).result(timeout=15) == 3
    handles = jobs.add.enqueue_many([(n,) for n in range(100)])
    assert [handle.result(timeout=30) for handle in handles] == list(range(1, 101))
    assert jobs.app.send_task("shop.add", args=[5, 6]).get(timeout=15) == 11
    check_history(rabbit)


def test_an_unreachable_broker_holds_nothing_up(rabbit: Fleet, proxy: Proxy) -> None:
    """F-51: jobs are stored while the broker is away, and published by the sweep when it is back."""
    worker = rabbit.start()
    assert rabbit.shop.add.enqueue(1).result(timeout=15) == 2
    proxy.set_mode("refuse")
    proxy.reset_all()

    handles = [rabbit.shop.touch.enqueue(f"away-{n}") for n in range(3)]

    assert {handle.state() for handle in handles} == {JobState.PENDING}
    proxy.set_mode("pass")
    assert [handle.result(timeout=60) for handle in handles] == [f"away-{n}" for n in range(3)]
    assert worker.process.poll() is None
    check_history(rabbit)


def test_a_deleted_queue_loses_no_job(rabbit: Fleet) -> None:
    """F-50: the queue vanishes with its messages, and the jobs run all the same."""
    handles = rabbit.shop.touch.enqueue_many([(f"q{n}",) for n in range(10)])
    _delete(rabbit.shop.QUEUE)

    rabbit.start()

    assert [handle.result(timeout=60) for handle in handles] == [f"q{n}" for n in range(10)]
    check_history(rabbit)


def test_cut_broker_connections_lose_no_job(rabbit: Fleet, proxy: Proxy) -> None:
    """F-50: the worker's connections are cut under load; it reconnects, and every job completes."""
    worker = rabbit.start()
    handles = rabbit.shop.touch.enqueue_many([(f"c{n}",) for n in range(60)])
    eventually(lambda: rabbit.effects("c5"), within=20)
    proxy.reset_all()
    handles += rabbit.shop.touch.enqueue_many([(f"d{n}",) for n in range(20)])

    assert len([handle.result(timeout=60) for handle in handles]) == 80
    assert worker.process.poll() is None
    check_history(rabbit)


TASK: list[Any] = [[], {}, {}]
"""The body of a message that is well formed."""
MALFORMED: dict[str, dict[str, Any]] = {
    "our header and no JSON": {"body": b"{nope", "dispatch": "{id} {queue}:0"},
    "our header and no UTF-8": {"body": b"\xff\xfe", "dispatch": "{id} {queue}:0"},
    "our header and pickle": {
        "body": b"\x80\x04N.",
        "content_type": "application/x-python-serialize",
        "dispatch": "{id} {queue}:0",
    },
    "our header and a bad time": {"body": TASK, "dispatch": "{id} {queue}:0", "eta": "yesterday-ish"},
    "our header without a task": {"body": TASK, "dispatch": "{id} {queue}:0", "task": None},
    "half of our header": {"body": TASK, "dispatch": "{id}"},
    "our header with a strange id": {"body": TASK, "dispatch": "job_nonsense {queue}:0"},
    "our header as a number": {"body": TASK, "dispatch": 17},
    "no header and wrong arguments": {"body": [[1, 2, 3], {}, {}]},
    "an unknown task": {"body": TASK, "task": "shop.nowhere"},
    "nothing at all": {"body": b"", "task": None, "id": None, "lang": None},
}
UNREADABLE: dict[str, dict[str, Any]] = {
    "an empty list": {"body": []},
    "null": {"body": None},
    "a number": {"body": 17},
    "an object": {"body": {"a": 1}},
    "a time limit that is no pair": {"body": TASK, "timelimit": 3},
}
"""With our header and for a job we know, so that they go Celery's way, and that is where they fail."""


def _post(shop: Fleet, message: dict[str, Any]) -> None:
    """Publish a message, with the queue's name and a new id in our header."""
    queue, said = shop.shop.QUEUE, dict(message)
    if isinstance(said.get("dispatch"), str):
        said["dispatch"] = said["dispatch"].format(id=JobId.mint(), queue=queue)
    publish(require_rabbitmq(), queue, said.pop("body"), **said)


@pytest.mark.faults
def test_malformed_messages_do_not_loop(rabbit: Fleet) -> None:
    """F-52: each is one raw dead letter with its reason, none comes back when the worker ends, and jobs run."""
    worker = rabbit.start("w1", "-c", "1")
    dlq = rabbit.shop.dispatch.dlq
    for message in MALFORMED.values():
        _post(rabbit, message)

    assert rabbit.shop.add.enqueue(1).result(timeout=20) == 2
    eventually(lambda: dlq.count() == len(MALFORMED), within=20, what="all are dead letters")
    letters = dlq.list(limit=100)
    assert {letter.kind for letter in letters} == {DeadLetterKind.MESSAGE}
    assert all(letter.reason and letter.raw for letter in letters)
    assert worker.terminate() == 0
    assert waiting(rabbit.shop.QUEUE) == 0
    rabbit.start("w2", "-c", "1")
    assert rabbit.shop.add.enqueue(2).result(timeout=20) == 3
    assert dlq.count() == len(MALFORMED)
    check_history(rabbit)


@pytest.mark.parametrize("kind", UNREADABLE)
def test_a_wake_up_celery_cannot_read_does_not_loop(kind: str, rabbit: Fleet) -> None:
    """F-52: it is a raw dead letter too, does not come back when the worker ends, and blocks no process."""
    worker = rabbit.start("w1", "-c", "1")
    _post(rabbit, {"dispatch": "{id} {queue}:0", **UNREADABLE[kind]})

    assert rabbit.shop.add.enqueue(1).result(timeout=5) == 2
    eventually(lambda: rabbit.shop.dispatch.dlq.count() == 1, within=5, what="it is a dead letter")
    assert worker.terminate() == 0
    assert waiting(rabbit.shop.QUEUE) == 0
