"""Plain Celery workers on our transport with hostile messages, with stock workers beside them, and at their end."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from dispatch_celery.store.embedded import EmbeddedServer
from tests.integration.transport.rig import Yard, envelope, raw, unreadable, unwelcome
from tests.support.eventually import eventually


@pytest.fixture
def yard(killable_server: EmbeddedServer, tmp_path: Path) -> Iterator[Yard]:
    """Return a yard on a server of its own, without workers yet."""
    made = Yard(killable_server, tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize(
    "pool", ["prefork", *(pytest.param(pool, marks=pytest.mark.slow) for pool in ("threads", "solo", "gevent"))]
)
def test_no_message_ends_a_worker(yard: Yard, pool: str) -> None:
    """Whatever lies in the queue, the next task runs, and what kombu could not read is in the sink."""
    worker = yard.start(pool=pool)
    bad = unreadable()
    for number, (kind, message) in enumerate([*bad.items(), *unwelcome().items()]):
        yard.client.lpush("celery", message, raw(number))
        eventually(lambda number=number: yard.count("end")[number] == 1, what=f"the task after {kind}")
        assert worker.poll() is None, kind

    assert [letter for _, letter, _ in yard.letters()] == list(bad.values())
    assert worker.poll() is None


def test_stock_and_ours_work_side_by_side(yard: Yard) -> None:
    """One queue, two transports: every task runs once, and both workers do some."""
    yard.send("late", range(300), 0.005)
    ours, stock = yard.start(), yard.start(ours=False)
    eventually(lambda: len(yard.count("end")) == 300, within=30)
    yard.send("early", range(300, 900), 0.005)
    eventually(lambda: len(yard.count("end")) == 900, within=30)

    assert set(yard.count("start").values()) == {1}
    eventually(lambda: yard.in_flight() == 0)
    assert (ours.poll(), stock.poll()) == (None, None)
    assert "succeeded" in yard.log("w0").read_text()
    assert "succeeded" in yard.log("w1").read_text()


def test_a_message_made_by_hand_runs(yard: Yard) -> None:
    """With the fewest fields a worker needs, pushed with a bare LPUSH, urgent or not."""
    yard.start()
    bare = envelope(1)
    bare["properties"] = {"body_encoding": "base64"}
    yard.client.lpush("celery", json.dumps(bare))
    yard.client.lpush("celery\x06\x169", raw(2))

    eventually(lambda: set(yard.count("end")) == {1, 2})
    eventually(lambda: yard.in_flight() == 0)


def test_events_and_remote_control_work(yard: Yard) -> None:
    """Pub/sub is kombu's own: a worker answers a ping, also from a stock client."""
    from celery import Celery

    yard.start()
    with Celery("asking", broker=yard.server.url) as app:
        assert eventually(lambda: app.control.ping(timeout=0.5)) == [{"w0@x": {"ok": "pong"}}]


@pytest.mark.parametrize("task", ["early", pytest.param("late", marks=pytest.mark.faults)])
@pytest.mark.faults
def test_a_warm_stop_returns_what_has_not_begun(yard: Yard, task: str) -> None:
    """At once, while what runs is still running; in order; and nothing runs twice."""
    yard.send(task, range(12), 4)
    worker = yard.start()
    eventually(lambda: len(yard.count("start")) == 2)
    eventually(lambda: yard.queued() < 10, what="some are prefetched")
    worker.send_signal(signal.SIGTERM)
    eventually(lambda: yard.queued() == 10, within=3.5, what="they are back")
    assert len(yard.count("end")) == 0

    worker.wait(timeout=20)
    assert yard.count("end") == {0: 1, 1: 1}
    assert yard.in_flight() == 0
    yard.start(size=10)
    eventually(lambda: len(yard.count("end")) == 12, within=20)
    assert set(yard.count("start").values()) == {1}


@pytest.mark.faults
@pytest.mark.slow
@pytest.mark.parametrize("pool", ["threads", "solo", "gevent"])
def test_a_warm_stop_of_other_pools_loses_and_doubles_nothing(yard: Yard, pool: str) -> None:
    """What they have not begun is back when they end."""
    yard.send("late", range(30), 0.1)
    worker = yard.start(pool=pool)
    eventually(lambda: len(yard.count("start")) > 3)
    worker.terminate()
    worker.wait(timeout=20)
    assert yard.in_flight() == 0
    assert yard.queued() == 30 - len(yard.count("end"))

    yard.start(pool=pool)
    eventually(lambda: len(yard.count("end")) == 30, within=20)
    assert set(yard.count("start").values()) == {1}
