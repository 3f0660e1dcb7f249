"""Rolling deploys under constant load (F-10 of the fault matrix): workers leave one by one, and jobs notice nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest

from dispatch_celery import JobHandle, JobState
from tests.support.eventually import eventually
from tests.support.history import check_history
from tests.support.workers import Fleet

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

ONE = ("-c", "1")
NAMES = ("w1", "w2", "w3")
LONGEST = timedelta(seconds=15)
"""From enqueue to end, with two of three workers at work on two busy cores. A job nobody wakes would wait for good."""


@contextmanager
def _load(enqueue: Callable[[int], JobHandle[str]], every: float) -> Iterator[list[JobHandle[str]]]:
    """Go on enqueueing for the length of a block; yield the handles so far."""
    handles: list[JobHandle[str]] = []
    stop = threading.Event()

    def run() -> None:
        while not stop.wait(every):
            handles.append(enqueue(len(handles)))

    thread = threading.Thread(target=run, name="load")
    thread.start()
    try:
        yield handles
    finally:
        stop.set()
        thread.join()


def _roll(shop: Fleet, **environment: str) -> None:
    """Replace each worker of three by one of the next release: stop it, wait for its end, start the next."""
    old = [shop.start(name, *ONE, **environment) for name in NAMES]
    for worker in old:
        assert worker.terminate(within=40) == 0
        shop.start(f"{worker.name}-next", *ONE, **environment)


def _all_end(shop: Fleet, handles: list[JobHandle[str]]) -> None:
    """Wait until every job has completed, and fail if one has used anything up or waited long."""
    jobs = shop.shop.dispatch.jobs
    eventually(
        lambda: jobs.count()[JobState.COMPLETED] == len(handles), within=60, every=0.2, what="every job has completed"
    )
    infos = [handle.info() for handle in handles]
    used = {(job.state, job.attempt, job.crashes, job.lost_workers) for job in infos}
    assert used == {(JobState.COMPLETED, 1, 0, 0)}
    check_history(shop)


@pytest.mark.faults
def test_a_rolling_deploy_costs_no_job_anything(doomed: Fleet) -> None:
    """F-10: workers are replaced in turn; what runs ends where it is, once, and nothing waits for long."""
    with _load(lambda n: doomed.shop.nap.enqueue(f"n{n}", 0.1), every=0.1) as handles:
        _roll(doomed)

    _all_end(doomed, handles)
    assert all(len(doomed.effects(f"n{n}")) == 1 for n in range(len(handles)))
    infos = [handle.info() for handle in handles]
    assert {job.token for job in infos} == {1}
    assert max(job.finished_at - job.created_at for job in infos if job.finished_at is not None) < LONGEST


@pytest.mark.faults
def test_jobs_longer_than_the_grace_start_again_elsewhere(doomed: Fleet) -> None:
    """F-10: what a leaving worker cannot end in its time is released to another one, and nothing is counted."""
    long = doomed.shop.hold.enqueue_many([(f"long-{n}",) for n in range(2)])
    with _load(lambda n: doomed.shop.touch.enqueue(f"t{n}"), every=0.1) as handles:
        _roll(doomed, DISPATCH_SHUTDOWN_GRACE="1")
        (doomed.folder / "go").touch()

    _all_end(doomed, [*long, *handles])
    assert {job.token > 1 for job in (handle.info() for handle in long)} == {True}
    outcomes = {attempt.outcome for handle in long for attempt in handle.info().attempts}
    assert outcomes == {"released", "completed"}
