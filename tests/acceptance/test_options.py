"""What options and settings do in a real worker: priority, expiry, progress, retention, graces and limits."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from kombu import Connection

from dispatch_celery import Job, JobCancelled, JobFailed, JobNotFound, JobState
from tests.support.eventually import eventually
from tests.support.rabbitmq import require_rabbitmq
from tests.support.workers import ROOT, Fleet, fleet

pytestmark = [pytest.mark.slow, pytest.mark.timeout(90)]

POOLS = {
    "threads": ("-P", "threads", "-c", "2"),
    "solo": ("-P", "solo"),
    "gevent": ("-P", "gevent", "-c", "4"),
}
GRACE = timedelta(seconds=1)


def _order(shop: Fleet) -> list[str]:
    """Return the names of all effects, in order."""
    if not shop.effects_file.exists():
        return []
    return [line.split()[0] for line in shop.effects_file.read_text().splitlines()]


def _enqueue_by_priority(shop: Fleet) -> list[str]:
    """Enqueue the least urgent first; return the names in the order in which they should run."""
    for priority in (0, 3, 5, 9):
        for n in (1, 2, 3):
            shop.shop.touch.options(priority=priority).enqueue(f"p{priority}-{n}")
    return [f"p{priority}-{n}" for priority in (9, 5, 3, 0) for n in (1, 2, 3)]


def test_urgent_jobs_go_first_on_redis(shop: Fleet) -> None:
    """A worker takes the urgent ones first, equals in order, and plain tasks before jobs of default priority."""
    expected = _enqueue_by_priority(shop)
    shop.shop.plain.apply_async((1,), queue=shop.shop.QUEUE)

    shop.start("w1", "-P", "solo")

    expected.insert(3, "plain-1")
    eventually(lambda: len(_order(shop)) == len(expected), within=20, what="all ran")
    assert _order(shop) == expected


@pytest.fixture
def rabbit(namespace: str, server_url: str, tmp_path: Path) -> Iterator[Fleet]:
    """Return a fleet on RabbitMQ, whose queue knows priorities."""
    url = require_rabbitmq()
    with fleet(namespace, url, tmp_path, state=server_url) as made:
        made.shop.app.conf.task_queue_max_priority = 9
        yield made
        with Connection(url) as connection, connection.channel() as channel:
            channel.queue_delete(made.shop.QUEUE)


def test_urgent_jobs_go_first_on_rabbitmq(rabbit: Fleet) -> None:
    """Where the queue has priorities, urgent jobs go before those that wait."""
    expected = _enqueue_by_priority(rabbit)

    rabbit.start("w1", "-P", "solo", SHOP_MAX_PRIORITY="9")

    eventually(lambda: len(_order(rabbit)) == len(expected), within=20, what="all ran")
    assert _order(rabbit) == expected


def test_an_expired_job_is_cancelled_and_never_run(shop: Fleet) -> None:
    """Whether it waited for a worker or for its time, a job past ``expires`` is cancelled instead of started."""
    late = shop.shop.touch.options(expires=0.2).enqueue("late")
    too_late = shop.shop.touch.options(delay=0.5, expires=0.3).enqueue("too late")
    fresh = shop.shop.touch.options(expires=60).enqueue("fresh")
    over = max(late.info().expires_at, too_late.info().expires_at)
    eventually(lambda: datetime.now(UTC) > over)

    shop.start()

    for handle in (late, too_late):
        with pytest.raises(JobCancelled, match="expired"):
            handle.result(timeout=20)
        assert (handle.state(), handle.info().attempts) == (JobState.CANCELLED, ())
    assert fresh.result(timeout=10) == "fresh"
    assert _order(shop) == ["fresh"]


def test_progress_is_seen_while_the_job_runs(shop: Fleet) -> None:
    """A caller reads how far a running job has come."""
    shop.start()
    handle = shop.shop.progress.enqueue(40)

    def half_way() -> Job | None:
        job: Job = handle.info()
        return job if job.progress and 5 <= job.progress["done"] < 40 else None

    seen = eventually(half_way, within=15, what="it is under way")
    assert (seen.state, seen.progress["total"], seen.progress["message"]) == (JobState.RUNNING, 40, "working")
    assert handle.result(timeout=15) == 40


def test_records_are_deleted_when_their_time_has_passed(shop: Fleet) -> None:
    """A completed job is forgotten after its retention, while a failed one of the same age is kept."""
    shop.start("w1", "-c", "1", DISPATCH_RETAIN_COMPLETED="1")
    failed, done = shop.shop.end.enqueue("fail"), shop.shop.add.enqueue(1)
    assert done.result(timeout=10) == 2

    def forgotten() -> bool:
        try:
            done.info()
        except JobNotFound:
            return True
        return False

    eventually(forgotten, within=20, what="the record is deleted")
    assert failed.state() == JobState.FAILED
    assert [job.id for job in shop.shop.dispatch.jobs.list()] == [failed.id]
    assert shop.shop.dispatch.jobs.count()[JobState.COMPLETED] == 0


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.every_pool
def test_code_past_its_time_is_settled_after_the_grace(pool: str, shop: Fleet) -> None:
    """Where code cannot be stopped, the attempt fails after timeout and grace, and what the code returns is refused."""
    worker = shop.start("w1", *POOLS[pool])
    handle = shop.shop.hold.options(timeout=0.3, retry=shop.shop.Retry(1)).enqueue("held")

    with pytest.raises(JobFailed, match="longer than its timeout") as failed:
        handle.result(timeout=20)
    assert failed.value.error_type.endswith("JobTimeout")
    (attempt,) = handle.info().attempts
    assert timedelta(seconds=0.3) + GRACE <= attempt.ended_at - attempt.started_at
    _let_go(shop, "held")
    eventually(lambda: f"{handle.id}: fenced" in worker.words, what="its late outcome is refused")
    assert shop.shop.dispatch.dlq.get(handle.id).reason == "attempts used up"
    assert shop.shop.add.enqueue(1).result(timeout=10) == 2


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.every_pool
def test_code_that_ignores_a_cancel_is_settled_after_the_grace(pool: str, shop: Fleet) -> None:
    """Where code cannot be stopped, the job is cancelled after the grace, and what the code returns is refused."""
    worker = shop.start("w1", *POOLS[pool])
    handle = shop.shop.hold.enqueue("held")
    eventually(lambda: shop.effects("held"), what="it runs")
    asked = datetime.now(UTC)

    assert handle.cancel() == JobState.RUNNING
    with pytest.raises(JobCancelled, match="cancelled by request"):
        handle.result(timeout=20)

    assert handle.info().finished_at - asked >= GRACE * 0.9
    _let_go(shop, "held")
    eventually(lambda: f"{handle.id}: fenced" in worker.words, what="its late outcome is refused")
    assert handle.state() == JobState.CANCELLED


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.every_pool
def test_code_that_looks_obeys_a_cancel(pool: str, shop: Fleet) -> None:
    """Sync code that asks ``current_job().cancelled`` ends itself, long before the grace is over."""
    shop.start("w1", *POOLS[pool], DISPATCH_CANCEL_GRACE="60")
    handle = shop.shop.polite.enqueue("polite")
    eventually(lambda: shop.effects("polite"), what="it runs")

    assert handle.cancel() == JobState.RUNNING
    with pytest.raises(JobCancelled, match="cancelled by request"):
        handle.result(timeout=15)


def _let_go(shop: Fleet, name: str) -> None:
    """Let the code go on that was still running when its job had been settled."""
    assert len(shop.effects(name)) == 1
    (shop.folder / "go").touch()


def test_a_job_snoozes_so_often_and_no_more(shop: Fleet) -> None:
    """The snooze over ``dispatch_max_snoozes`` makes the job a dead letter."""
    shop.start("w1", "-c", "1", DISPATCH_MAX_SNOOZES="2")
    handle = shop.shop.end.enqueue("snooze")

    with pytest.raises(JobFailed, match="Snooze"):
        handle.result(timeout=20)
    assert shop.shop.dispatch.dlq.get(handle.id).reason == "snoozed too often"
    assert [attempt.outcome for attempt in handle.info().attempts] == ["snoozed", "snoozed", "failed"]


@pytest.mark.faults
def test_a_job_loses_so_many_workers_and_no_more(shop: Fleet) -> None:
    """The job that was on ``dispatch_max_lost_workers`` lost workers is a dead letter, while its neighbours go on."""
    for n in (1, 2):
        victim = shop.start(f"victim{n}", "-c", "1", DISPATCH_MAX_LOST_WORKERS="2")
        if n == 1:
            handle = shop.shop.hold.enqueue("held")
        eventually(lambda n=n: len(shop.effects("held")) == n, within=30, what="it runs")
        victim.kill()

    shop.start("heir", "-c", "1", DISPATCH_MAX_LOST_WORKERS="2")
    with pytest.raises(JobFailed, match="2 lost workers in all"):
        handle.result(timeout=30)
    letter = shop.shop.dispatch.dlq.get(handle.id)
    assert (letter.reason, handle.info().lost_workers, handle.info().crashes) == ("lost with its workers", 2, 0)
    assert [attempt.outcome for attempt in handle.info().attempts] == ["worker lost", "worker lost"]
    assert shop.shop.add.enqueue(1).result(timeout=10) == 2


CALL = "from tests.support import shop; shop.add.enqueue(1)"
WORKER = "from tests.support import shop; shop.app.worker_main(['worker', '-P', 'solo'])"


@pytest.mark.parametrize(
    ("program", "broker", "words"),
    [
        (CALL, "memory://", "broker memory:// lives in one process and loses everything with it"),
        (WORKER, "memory://", "broker memory:// lives in one process and loses everything with it"),
        (CALL, "filesystem://", "broker filesystem:// is not supported"),
        (WORKER, "filesystem://", "broker filesystem:// is not supported"),
        (CALL, "sqs://key:hidden@", "broker sqs:// is not supported"),
    ],
    ids=["caller-memory", "worker-memory", "caller-filesystem", "worker-filesystem", "caller-sqs"],
)
def test_a_broker_that_cannot_hold_the_promise_is_refused(
    program: str, broker: str, words: str, shop: Fleet, server_url: str
) -> None:
    """Outside of tests a caller and a worker refuse it at first use, in words that name what to use instead."""
    environment = {**os.environ, **shop.environment, "SHOP_BROKER": broker, "DISPATCH_REDIS_URL": server_url}
    command = [sys.executable, "-c", program]
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)

    said = ended.stdout + ended.stderr
    assert ended.returncode != 0, said
    assert f"ConfigurationError: {words}" in said
    assert "amqp://" in said
    assert "hidden" not in said
