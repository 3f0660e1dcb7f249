"""Jobs in real workers, from a decorator to an end, under every pool."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from celery import chain, chord, group

from dispatch_celery import IdempotencyConflict, JobCancelled, JobFailed, JobState, PayloadError, ResultTimeout, scope
from tests.support.eventually import eventually
from tests.support.workers import Fleet

pytestmark = [pytest.mark.slow, pytest.mark.timeout(90)]

POOLS = {
    "prefork": ("-c", "2"),
    "threads": ("-P", "threads", "-c", "4"),
    "solo": ("-P", "solo"),
    "gevent": ("-P", "gevent", "-c", "10"),
}


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.every_pool
def test_every_way_to_end_works_in_every_pool(pool: str, shop: Fleet) -> None:
    """Values, retries, the four exceptions, lies and unprintable errors end as the table says, whatever the pool."""
    shop.start("w1", *POOLS[pool])
    jobs = shop.shop

    assert jobs.add.enqueue(2, b=5).result(timeout=10) == 7
    assert jobs.aadd.enqueue(4).result(timeout=10) == 5
    flaky = jobs.flaky.enqueue("f", 2)
    assert flaky.result(timeout=10) == 3
    assert [attempt.outcome for attempt in flaky.info().attempts] == ["retrying", "retrying", "completed"]
    with pytest.raises(JobFailed, match="attempt 3 fails") as failed:
        jobs.flaky.enqueue("g", 9).result(timeout=10)
    assert "raise ValueError" in failed.value.remote_traceback
    with pytest.raises(JobFailed, match="it is hopeless"):
        jobs.end.enqueue("fail").result(timeout=10)
    with pytest.raises(JobCancelled, match="nobody needs it"):
        jobs.end.enqueue("cancel").result(timeout=10)
    assert jobs.end.enqueue("retry after").result(timeout=10) == "attempt 2, claim 2"
    assert jobs.end.enqueue("snooze").result(timeout=10) == "attempt 1, claim 5"
    with pytest.raises(JobFailed, match="valid integer"):
        jobs.liar.enqueue().result(timeout=10)
    with pytest.raises(JobFailed, match="cannot be printed"):
        jobs.unprintable.enqueue().result(timeout=10)
    reasons = {letter.reason for letter in jobs.dispatch.dlq.list()}
    assert reasons == {"attempts used up", "failed by its handler", "payload"}


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_job_past_its_time_is_ended_and_retried(pool: str, shop: Fleet) -> None:
    """Time limits hold for sync and async handlers, in processes and in threads, and use up attempts."""
    shop.start("w1", *POOLS[pool])
    jobs = shop.shop

    for job in (jobs.nap, jobs.anap):
        handle = job.options(timeout=0.3).enqueue(job.name, 20)
        with pytest.raises(JobFailed, match="longer than its timeout") as failed:
            handle.result(timeout=20)
        assert "Timeout" in failed.value.error_type
        assert len(handle.info().attempts) == 2
    assert shop.effects("shop.nap-end") == []


def test_types_travel_both_ways(shop: Fleet) -> None:
    """Models, decimals, times and bytes arrive as what they were, and so does the result."""
    shop.start()
    order = shop.shop.Order(id="o1", amount=Decimal("1.10"), placed=datetime.now(UTC), data=b"\xff\x00")

    received = shop.shop.receipt.enqueue(order, copy=True).result(timeout=10)

    assert received == shop.shop.Receipt(order=order, attempt=1)
    assert isinstance(received, shop.shop.Receipt)


def test_celerys_verbs_take_the_same_road(shop: Fleet) -> None:
    """delay, apply_async, chains, groups, chords and send_task make durable jobs with Celery's results."""
    shop.start()
    jobs, app = shop.shop, shop.shop.app

    assert jobs.add.delay(3, 4).get(timeout=10) == 7
    assert jobs.add.apply_async((1,), countdown=0.2, priority=7).get(timeout=10) == 2
    assert chain(jobs.add.s(1, 2), jobs.add.s(10)).apply_async().get(timeout=10) == 13
    assert group(jobs.add.s(n, n) for n in range(4)).apply_async().get(timeout=10) == [0, 2, 4, 6]
    assert chord([jobs.add.s(n, n) for n in range(3)], jobs.total.s()).apply_async().get(timeout=20) == 6
    assert app.send_task("shop.add", args=["5"], kwargs={"b": 6}).get(timeout=10) == 11
    assert "adopted a plain call of shop.add" in shop._workers[0].words
    assert all(job.state == JobState.COMPLETED for job in jobs.dispatch.jobs.list(limit=100))


def test_a_scheduled_job_waits_and_may_be_hurried(shop: Fleet) -> None:
    """A delay is a timer in the state, run_now ends it, and nothing runs before it is due."""
    shop.start()
    slow = shop.shop.touch.options(delay=60).enqueue("slow")
    soon = shop.shop.touch.options(delay=0.3).enqueue("soon")

    assert (slow.state(), soon.state()) == (JobState.SCHEDULED, JobState.SCHEDULED)
    assert soon.result(timeout=10) == "soon"
    assert shop.effects("slow") == []
    shop.shop.dispatch.jobs.run_now(slow.id)
    assert slow.result(timeout=10) == "slow"


def test_one_key_is_one_job(shop: Fleet) -> None:
    """A known idempotency key returns the first job, or a conflict that names both."""
    first = shop.shop.touch.options(idempotency_key="k").enqueue("once")
    again = shop.shop.touch.options(idempotency_key="k").enqueue("once")

    assert again.id == first.id
    with pytest.raises(IdempotencyConflict) as conflict:
        shop.shop.touch.options(idempotency_key="k").enqueue("other")
    assert conflict.value.existing_id == first.id
    shop.start()
    assert first.result(timeout=10) == "once"
    assert len(shop.effects("once")) == 1


def test_a_job_is_cancelled_in_every_state(shop: Fleet) -> None:
    """Scheduled and pending jobs are cancelled at once, a running one by interrupting it."""
    jobs = shop.shop
    scheduled, pending = jobs.touch.options(delay=60).enqueue("a"), jobs.touch.enqueue("b")
    assert (scheduled.cancel(), pending.cancel()) == (JobState.CANCELLED, JobState.CANCELLED)
    shop.start()
    for job in (jobs.nap, jobs.anap):
        running = job.enqueue(job.name, 30)
        eventually(lambda name=job.name: shop.effects(name), what="it runs")
        assert running.cancel() == JobState.RUNNING
        with pytest.raises(JobCancelled, match="cancelled by request"):
            running.result(timeout=10)
    assert shop.effects("a") == shop.effects("b") == shop.effects("shop.nap-end") == []


def test_dead_letters_are_replayed_once(shop: Fleet) -> None:
    """A replay makes one new job however often it is asked for, linked both ways; retry reopens the same one."""
    shop.start()
    jobs = shop.shop
    handle = jobs.flaky.enqueue("r", 3)
    with pytest.raises(JobFailed):
        handle.result(timeout=10)
    letter = jobs.dispatch.dlq.get(handle.id)

    replayed = jobs.dispatch.dlq.replay(letter.id)

    assert jobs.dispatch.dlq.replay(handle.id).id == replayed.id
    assert jobs.dispatch.jobs.retry(handle.id).id == replayed.id
    assert replayed.result(timeout=10) == 1
    assert replayed.info().replay_of == handle.id
    assert jobs.dispatch.dlq.get(letter.id).replayed_as == replayed.id
    assert jobs.dispatch.dlq.purge(letter.id) == 1
    assert jobs.dispatch.dlq.count() == 0


def test_a_scope_travels_with_its_job(shop: Fleet) -> None:
    """The tenant in force at enqueue is in force around the handler, and lists can be filtered by it."""
    shop.start()
    with scope(app_id="acme", org_id="north") as tenant:
        handle = shop.shop.whose.enqueue()

    assert handle.result(timeout=10) == "acme/north"
    assert shop.shop.whose.enqueue().result(timeout=10) == ""
    assert [job.id for job in shop.shop.dispatch.jobs.list(scope=tenant)] == [handle.id]


def test_waiting_ends_when_time_is_up(shop: Fleet) -> None:
    """A result that does not come in time is a timeout, and the job goes on."""
    handle = shop.shop.add.enqueue(1)

    with pytest.raises(ResultTimeout) as late:
        handle.result(timeout=0.1)
    assert isinstance(late.value, TimeoutError)
    shop.start()
    assert handle.result(timeout=10) == 2


def test_many_are_enqueued_in_order(shop: Fleet) -> None:
    """A bulk enqueue checks all first, stores in batches, and returns handles in the order of the calls."""
    shop.start()
    jobs = shop.shop
    with pytest.raises(PayloadError):
        jobs.add.enqueue_many([(1,), ("x",)])
    assert jobs.dispatch.jobs.count()[JobState.PENDING] == 0

    handles = jobs.add.enqueue_many([*((n,) for n in range(700)), {"a": 1, "b": 2}, jobs.add.bind(5, b=5)])

    assert [handle.result(timeout=30) for handle in handles] == [*range(1, 701), 3, 10]
