"""Limits in real workers: held across all of them, changed live, paused and lifted; what waits costs no worker."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dispatch_celery import JobState, Unique
from tests.support.eventually import eventually
from tests.support.workers import Fleet

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


def _moments(shop: Fleet) -> list[tuple[float, str]]:
    if not shop.effects_file.exists():
        return []
    parts = [line.split() for line in shop.effects_file.read_text().splitlines()]
    return sorted((float(moment), name) for name, _, moment in parts)


def _most_at_once(shop: Fleet, prefix: str = "") -> int:
    """Return how many naps ran at the same time, at most."""
    running = most = 0
    for _, name in _moments(shop):
        if name.startswith(prefix):
            running += -1 if name.endswith("-end") else 1
            most = max(most, running)
    return most


def _ended(shop: Fleet, prefix: str = "") -> int:
    return sum(name.endswith("-end") and name.startswith(prefix) for _, name in _moments(shop))


def test_a_queue_runs_no_more_at_once_than_its_limit_in_all_workers(shop: Fleet) -> None:
    """Two workers with four threads each keep to two; what waits is limited, in order, and shown."""
    shop.shop.dispatch.queues.limit(shop.shop.QUEUE, concurrency=2)
    handles = [shop.shop.nap.enqueue(f"n{n:02}", 0.1) for n in range(12)]
    assert {handle.state() for handle in handles} == {JobState.LIMITED}

    shop.start("w1", "-P", "threads", "-c", "4")
    shop.start("w2", "-P", "threads", "-c", "4")

    eventually(lambda: _ended(shop) == 12, within=40, what="all ran")
    assert _most_at_once(shop) == 2
    starts = [name for _, name in _moments(shop) if not name.endswith("-end")]
    assert all(abs(starts.index(f"n{n:02}") - n) <= 1 for n in range(12)), starts
    eventually(
        lambda: shop.shop.dispatch.queues.get(shop.shop.QUEUE).permits == 0, within=5, what="every permit is back"
    )


def test_a_rate_spreads_the_starts(shop: Fleet) -> None:
    """At ten a second, one after another, eight jobs begin within no less than 0.6 s."""
    shop.shop.dispatch.queues.limit(shop.shop.QUEUE, rate="10/s", burst=1)
    shop.start("w1", "-P", "threads", "-c", "8")
    for n in range(8):
        shop.shop.touch.enqueue(f"t{n}")

    eventually(lambda: len(_moments(shop)) == 8, within=20, what="all ran")
    first, last = _moments(shop)[0][0], _moments(shop)[-1][0]
    assert last - first >= 0.6


def test_a_paused_queue_starts_nothing_and_goes_on_when_resumed(shop: Fleet) -> None:
    """Jobs that were ready before the pause wait, too; nothing is lost, and other queues go on."""
    before = [shop.shop.touch.enqueue(f"b{n}") for n in range(3)]
    shop.shop.dispatch.queues.pause(shop.shop.QUEUE)
    after = [shop.shop.touch.enqueue(f"a{n}") for n in range(3)]
    shop.start("w1", "-P", "threads", "-c", "4", "-Q", f"{shop.shop.QUEUE},other")
    shop.shop.touch.options(queue="other").enqueue("elsewhere")

    eventually(lambda: shop.effects("elsewhere"), within=20, what="another queue goes on")
    eventually(lambda: {handle.state() for handle in before} == {JobState.LIMITED}, within=10, what="they wait")
    assert [name for _, name in _moments(shop)] == ["elsewhere"]
    assert shop.shop.dispatch.queues.get(shop.shop.QUEUE).paused

    shop.shop.dispatch.queues.resume(shop.shop.QUEUE)

    eventually(lambda: len(_moments(shop)) == 7, within=20, what="all ran")
    assert {handle.result(timeout=10) for handle in [*before, *after]} == {"a0", "a1", "a2", "b0", "b1", "b2"}
    eventually(lambda: not shop.shop.dispatch.queues.list().records, within=10, what="nothing of the pause is left")


def test_a_limit_is_changed_live(shop: Fleet) -> None:
    """Raised, more run at once; lifted, all do."""
    shop.shop.dispatch.queues.limit(shop.shop.QUEUE, concurrency=1)
    shop.start("w1", "-P", "threads", "-c", "8")
    for n in range(6):
        shop.shop.hold.enqueue(f"h{n}")
    eventually(lambda: len(_moments(shop)) == 1, within=20, what="one runs")

    shop.shop.dispatch.queues.limit(shop.shop.QUEUE, concurrency=3)
    eventually(lambda: len(_moments(shop)) == 3, within=10, what="three run")
    shop.shop.dispatch.queues.unlimit(shop.shop.QUEUE)
    eventually(lambda: len(_moments(shop)) == 6, within=10, what="all run")

    Path(os.fspath(shop.effects_file)).with_name("go").touch()
    eventually(lambda: not shop.shop.dispatch.queues.list().records, within=10, what="the limit is gone")


def test_a_killed_worker_leaks_no_permit(shop: Fleet) -> None:
    """Its jobs go on elsewhere with the permits they have; at the end all are back, and never were there more."""
    shop.shop.dispatch.queues.limit(shop.shop.QUEUE, concurrency=2)
    first = shop.start("w1", "-P", "prefork", "-c", "4")
    handles = [shop.shop.nap.enqueue(f"n{n}", 0.3) for n in range(10)]
    eventually(lambda: _ended(shop) >= 2, within=20, what="some have run")

    first.kill()
    shop.start("w2", "-P", "prefork", "-c", "4")

    assert [handle.result(timeout=40) for handle in handles] == [f"n{n}" for n in range(10)]
    eventually(
        lambda: shop.shop.dispatch.queues.get(shop.shop.QUEUE).permits == 0, within=10, what="every permit is back"
    )


def test_a_job_that_waits_for_a_permit_can_be_cancelled(shop: Fleet) -> None:
    """It is cancelled at once, and takes no permit from those behind it."""
    shop.shop.dispatch.queues.limit(shop.shop.QUEUE, concurrency=1)
    shop.start("w1", "-P", "threads", "-c", "4")
    first = shop.shop.nap.enqueue("first", 0.5)
    second, third = shop.shop.touch.enqueue("second"), shop.shop.touch.enqueue("third")

    assert second.cancel() == JobState.CANCELLED

    assert (first.result(timeout=20), third.result(timeout=20)) == ("first", "third")
    assert shop.effects("second") == []


def test_celery_sees_a_limited_job_as_pending(shop: Fleet) -> None:
    """Its ``AsyncResult`` says what it says of every job that has not begun, and has its result in the end."""
    shop.shop.dispatch.queues.limit(shop.shop.QUEUE, concurrency=1)
    result = shop.shop.add.delay(1, 2)
    assert result.state == "PENDING"

    shop.start("w1", "-P", "solo")

    assert result.get(timeout=20) == 3


def test_a_unique_job_that_expires_frees_its_kind(shop: Fleet) -> None:
    """The worker that finds it too late ends it as it would end any: another may come."""
    unique = Unique(by=("name",))
    late = shop.shop.touch.options(expires=0.05, unique=unique).enqueue("late")
    eventually(lambda: late.info().expires_at < datetime.now(UTC), within=5, what="its time is over")
    shop.start("w1", "-P", "solo")
    eventually(lambda: late.state() == JobState.CANCELLED, within=20, what="it is cancelled")

    assert shop.shop.touch.options(unique=unique).enqueue("late").result(timeout=20) == "late"
