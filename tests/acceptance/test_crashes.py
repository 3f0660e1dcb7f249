"""Processes that die, stop, and come back: nothing is lost, nothing recorded twice (F-01 to F-14)."""

from __future__ import annotations

import os
import signal

import psutil
import pytest

from dispatch_celery import JobFailed, JobState
from tests.support.eventually import eventually
from tests.support.history import check_history
from tests.support.workers import Fleet

pytestmark = [pytest.mark.slow, pytest.mark.timeout(90)]


@pytest.mark.parametrize("how", ["kill", "exit", "segfault", "memory"])
def test_a_dead_pool_process_costs_no_attempt(how: str, shop: Fleet) -> None:
    """F-01, F-11: a child that is killed, exits or runs out of memory is recovered at once, counted as a crash."""
    shop.start()
    handle = shop.shop.die.enqueue(how, how, 1)

    assert handle.result(timeout=15) == 1
    job = handle.info()
    if how == "memory":
        assert job.crashes + job.attempt - 1 == 1
    else:
        assert (job.crashes, job.attempt) == (1, 1)
        assert [attempt.outcome for attempt in job.attempts] == ["crashed", "completed"]
        first, second = job.attempts
        assert first.ended_at is not None
        assert second.started_at is not None
        assert (second.started_at - first.ended_at).total_seconds() < 2
    check_history(shop)


def test_poison_is_dead_lettered_while_others_go_on(shop: Fleet) -> None:
    """F-12: a job that kills its process each time ends as a dead letter after max_crashes, with pauses in between."""
    shop.start("w1", "-c", "2", DISPATCH_MAX_CRASHES="3")
    poison = shop.shop.die.enqueue("poison", "kill", 99)
    others = shop.shop.touch.enqueue_many([(f"other-{n}",) for n in range(50)])

    with pytest.raises(JobFailed, match="3 crashes in all"):
        poison.result(timeout=30)
    assert [handle.result(timeout=20) for handle in others] == [f"other-{n}" for n in range(50)]
    assert len(shop.effects("poison")) == 3
    assert shop.shop.dispatch.dlq.get(poison.id).reason == "crashed"
    check_history(shop)


@pytest.mark.parametrize(
    "pool", [("-c", "2"), ("-P", "threads", "-c", "2"), ("-P", "solo"), ("-P", "gevent", "-c", "4")]
)
def test_a_killed_worker_loses_nothing(pool: tuple[str, ...], shop: Fleet) -> None:
    """F-02, F-57: what a killed worker held runs elsewhere, also when it was the leader, in every pool."""
    first = shop.start("w1", *pool)
    handle = shop.shop.hold.enqueue("n")
    eventually(lambda: shop.effects("n"), what="it runs")
    second = shop.start("w2", *pool)
    first.kill()
    (shop.folder / "go").touch()

    assert handle.result(timeout=25) == "n"
    job = handle.info()
    assert job.crashes + job.lost_workers == 1
    assert len(shop.effects("n")) == 2
    second.terminate()
    check_history(shop)


@pytest.mark.faults
def test_a_stopped_child_comes_back_as_a_zombie(shop: Fleet) -> None:
    """F-05, F-06: a worker that sleeps past its lease finds itself fenced; the other one's outcome stands."""
    sleeper = shop.start("w1")
    handle = shop.shop.hold.enqueue("z")
    eventually(lambda: shop.effects("z"), what="it runs")
    shop.start("w2")
    sleeper.signal(signal.SIGSTOP)
    (shop.folder / "go").touch()
    try:
        assert handle.result(timeout=30) == "z"
    finally:
        sleeper.signal(signal.SIGCONT)

    eventually(lambda: "fenced" in sleeper.words, within=15, what="the zombie is fenced")
    eventually(lambda: sleeper.words.count("registered as") == 2, within=15, what="it registers anew")
    job = handle.info()
    assert (job.state, job.lost_workers, job.token) == (JobState.COMPLETED, 1, 2)
    assert shop.shop.add.enqueue(1).result(timeout=10) == 2
    check_history(shop)


@pytest.mark.faults
def test_a_child_that_hogs_its_interpreter_is_not_taken_for_dead(shop: Fleet) -> None:
    """F-07: the main process renews for its children, so a handler that lets nobody else run keeps its job."""
    shop.start("w1", "-c", "1", DISPATCH_LEASE="1.5", DISPATCH_RENEW_EVERY="0.3")
    handle = shop.shop.hog.enqueue(4.0)

    assert handle.result(timeout=20) >= 4.0
    job = handle.info()
    assert (job.crashes, job.lost_workers, job.token) == (0, 0, 1)


def test_sigterm_drains_and_releases(shop: Fleet) -> None:
    """F-08: what ends in time ends; what does not is released without a trace in its counters; nothing new starts."""
    leaving = shop.start("w1", "-c", "2", DISPATCH_SHUTDOWN_GRACE="2")
    short, long = shop.shop.nap.enqueue("short", 1.0), shop.shop.nap.enqueue("long", 8.0)
    eventually(lambda: shop.effects("short") and shop.effects("long"), what="both run")
    leaving.process.terminate()
    eventually(lambda: "Warm shutdown" in leaving.words or "shutdown" in leaving.words.lower(), what="it was told")
    queued = shop.shop.touch.enqueue("queued")

    assert leaving.terminate(within=20) == 0
    assert short.state() == JobState.COMPLETED
    assert queued.state() == JobState.PENDING
    job = long.info()
    assert (job.state, job.crashes, job.lost_workers, job.attempt) == (JobState.PENDING, 0, 0, 1)
    assert [attempt.outcome for attempt in job.attempts] == ["released"]
    shop.start("w2")
    assert queued.result(timeout=15) == "queued"
    assert long.result(timeout=30) == "long"
    check_history(shop)


@pytest.mark.faults
def test_processes_that_retire_take_no_job_with_them(shop: Fleet) -> None:
    """F-14: max_tasks_per_child ends processes all the time, and no job notices."""
    shop.start("w1", "-c", "2", "--max-tasks-per-child", "3")
    handles = shop.shop.touch.enqueue_many([(f"t{n}",) for n in range(40)])

    assert [handle.result(timeout=40) for handle in handles] == [f"t{n}" for n in range(40)]
    assert all(len(shop.effects(f"t{n}")) == 1 for n in range(40))
    assert {handle.info().crashes for handle in handles} == {0}
    check_history(shop)


def test_no_process_outlives_its_worker(shop: Fleet) -> None:
    """A killed main process takes its children with it: nobody runs jobs without a lease."""
    worker = shop.start("w1")
    children = worker.children()
    os.kill(worker.pid, signal.SIGKILL)
    worker.process.wait()

    eventually(lambda: not any(psutil.pid_exists(pid) for pid in children), within=10, what="the children are gone")
