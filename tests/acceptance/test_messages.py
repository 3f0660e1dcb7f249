"""Wake-ups that are lost, doubled and shuffled, and jobs nobody knows (F-33 to F-35, F-55 of the fault matrix)."""

from __future__ import annotations

import random

import pytest
from celery import Celery

from dispatch_celery import Dispatch, JobState
from dispatch_celery.store.client import RedisStore
from dispatch_celery.store.replies import ask
from dispatch_celery.store.scripts import Call
from tests.support.eventually import eventually
from tests.support.history import check_history
from tests.support.workers import Fleet

pytestmark = [pytest.mark.slow, pytest.mark.timeout(90)]


def _queue(shop: Fleet) -> str:
    """Return the list in which messages of priority 0 wait."""
    return f"{shop.shop.QUEUE}\x06\x169"


def test_doubled_and_shuffled_messages_change_nothing(shop: Fleet, store: RedisStore) -> None:
    """F-33, F-34: each message ten times, in any order, also after completion: one effect each."""
    handles = shop.shop.touch.enqueue_many([(f"d{n}",) for n in range(30)])
    key = _queue(shop)
    messages = ask(store, Call.command("LRANGE", key, 0, -1))
    assert len(messages) == 30
    copies = messages * 10
    random.Random(7).shuffle(copies)
    ask(store, Call.command("DEL", key))
    ask(store, Call.command("RPUSH", key, *copies))

    shop.start()

    assert [handle.result(timeout=20) for handle in handles] == [f"d{n}" for n in range(30)]
    eventually(lambda: ask(store, Call.command("LLEN", key)) == 0, within=20, what="every copy is taken")
    assert shop.shop.touch.enqueue("last").result(timeout=10) == "last"
    assert all(len(shop.effects(f"d{n}")) == 1 for n in range(30))
    check_history(shop)


def test_lost_messages_are_published_again(shop: Fleet, store: RedisStore) -> None:
    """F-35: every message of a queue vanishes, and every job runs all the same."""
    handles = shop.shop.touch.enqueue_many([(f"l{n}",) for n in range(20)])
    ask(store, Call.command("DEL", _queue(shop)))

    shop.start()

    assert [handle.result(timeout=30) for handle in handles] == [f"l{n}" for n in range(20)]
    assert all(len(shop.effects(f"l{n}")) == 1 for n in range(20))
    check_history(shop)


def test_an_unknown_name_waits_for_a_worker_that_knows_it(shop: Fleet) -> None:
    """A rolling deploy parks nothing: the old release gives the wake-up back, the new one runs it."""
    shop.start("old", "-c", "1")
    handle = shop.shop.dispatch.enqueue("shop.novelty")
    eventually(lambda: "unknown_since" in _raw(shop, handle.id), what="the old worker gives it back")
    assert handle.state() == JobState.PENDING

    shop.start("new", "-c", "1", SHOP_NEW_RELEASE="1")

    assert handle.result(timeout=30) == "new"
    assert handle.info().attempt == 1


def test_an_unknown_name_is_dead_lettered_and_revived(shop: Fleet) -> None:
    """When nobody has known a name for the grace it is a dead letter, and goes on by itself after a deploy."""
    old = shop.start("old", "-c", "1", DISPATCH_UNKNOWN_GRACE="1")
    handle = shop.shop.dispatch.enqueue("shop.novelty")

    eventually(lambda: handle.state() == JobState.FAILED, within=20, what="it is given up")
    letter = shop.shop.dispatch.dlq.get(handle.id)
    assert (letter.reason, "deploy a worker" in letter.failure.message) == ("unknown", True)
    shop.start("new", "-c", "1", SHOP_NEW_RELEASE="1")
    old.terminate()
    assert handle.result(timeout=40) == "new"
    assert shop.shop.dispatch.dlq.count() == 0


def _raw(shop: Fleet, job_id: str) -> dict[str, bytes]:
    records = shop.shop.dispatch.jobs._records
    return records.raw(job_id)


def test_plain_tasks_work_unchanged_on_the_same_queue(shop: Fleet) -> None:
    """Ordinary Celery tasks share queue and worker with jobs."""
    shop.start()
    for n in range(5):
        shop.shop.plain.apply_async((n,), queue=shop.shop.QUEUE)
    assert shop.shop.add.enqueue(1).result(timeout=10) == 2

    eventually(lambda: all(shop.effects(f"plain-{n}") for n in range(5)), what="all plain tasks ran")


def test_a_job_declared_elsewhere_goes_to_its_own_queue(shop: Fleet) -> None:
    """By name, and by a remote declaration: queue and priority are those that its workers published."""
    shop.start("w1", "-c", "1", "-Q", f"{shop.shop.QUEUE},{shop.shop.QUEUE}-special")
    app = Celery("caller", broker=shop.environment["SHOP_BROKER"], set_as_current=False)
    app.conf.dispatch_namespace = shop.environment["DISPATCH_NAMESPACE"]
    other = Dispatch(app)

    @other.remote("shop.special")
    def special(n: int) -> int: ...

    handles = [other.enqueue("shop.special", n=1), special.enqueue(2)]

    assert [handle.result(timeout=20) for handle in handles] == [1, 2]
    assert {(handle.info().queue, handle.info().priority) for handle in handles} == {(f"{shop.shop.QUEUE}-special", 7)}
    other.close()
