"""A worker that is killed whole, again and again, under a load of tiny jobs (F-03 of the fault matrix)."""

from __future__ import annotations

import random
import signal
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from dispatch_celery import JobHandle, JobState
from tests.support.eventually import eventually
from tests.support.history import check_history
from tests.support.invariants import Dump
from tests.support.workers import Fleet, Worker

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

ENDS = {"completed", "failed", "cancelled"}


class Crowd:
    """All jobs of one run, with what each of them should return."""

    def __init__(self, shop: Fleet) -> None:
        self._shop = shop.shop
        self.handles: list[JobHandle[Any]] = []
        self.results: list[str | int] = []

    @property
    def ids(self) -> list[str]:
        """The id of each."""
        return [handle.id for handle in self.handles]

    def grow(self, count: int) -> None:
        """Enqueue so many more: of ten one leaves an effect outside of the engine, and three take ten milliseconds."""
        shop, first = self._shop, len(self.handles)
        for n in range(first, first + count):
            self.results.append(f"t{n}" if n % 10 == 0 else n + 1)
        calls = [
            shop.touch.bind(f"t{n}") if n % 10 == 0 else shop.aadd.bind(n) if n % 10 < 4 else shop.add.bind(n)
            for n in range(first, first + count)
        ]
        self.handles += shop.dispatch.enqueue_many(calls)


def _kill_again_and_again(shop: Fleet, crowd: Crowd, *, kills: int, jobs: int) -> None:
    """Kill all processes of the only worker at once, and start it again, while work comes in."""
    chance = random.Random(jobs)
    crowd.grow(jobs // 2)
    for _ in range(kills):
        worker = shop.start("w1")
        # Half of the work comes bit by bit, and each worker may end its share of all: none is killed in idleness.
        crowd.grow(jobs // 2 // kills)
        _kill_at_work(shop, worker, after=chance.randrange(jobs // kills))


def _kill_at_work(shop: Fleet, worker: Worker, *, after: int) -> None:
    """Kill a worker while it holds a job, once it has ended so many."""
    jobs = shop.shop.dispatch.jobs
    enough = jobs.count()[JobState.COMPLETED] + after

    def holds_one() -> bool:
        if jobs.count()[JobState.COMPLETED] < enough:
            return False
        worker.signal(signal.SIGSTOP)  # what it holds now it still holds when it is killed
        if jobs.count()[JobState.RUNNING]:
            return True
        worker.signal(signal.SIGCONT)
        return False

    eventually(holds_one, within=60, what="the worker is at work")
    worker.kill()


def _check_ends(found: Dump, ids: Sequence[str]) -> None:
    """Fail unless each job completed, ended once in the whole history, and was claimed again only when recovered."""
    assert {job_id: record["state"] for job_id, record in found.jobs.items()} == dict.fromkeys(ids, "completed")
    assert Counter(entry["id"] for entry in found.journal if entry["to"] in ENDS) == Counter(ids)
    recovered = Counter(entry["id"] for entry in found.journal if entry["event"] == "dispatch.job.recovered")
    for job_id, record in found.jobs.items():
        assert int(record["token_number"]) == recovered[job_id] + 1
        assert int(record.get("attempts", 0)) == 0
    # Otherwise no kill hit a job, and nothing was tried.
    assert recovered


def _check_effects(shop: Fleet, found: Dump, crowd: Crowd) -> None:
    """Fail unless each effect was seen, and no more often than its job was claimed."""
    seen = Counter(line.split(" ", 1)[0] for line in shop.effects_file.read_text().splitlines())
    for job_id, result in zip(crowd.ids, crowd.results, strict=True):
        if isinstance(result, str):
            assert 1 <= seen[result] <= int(found.jobs[job_id]["token_number"])


@pytest.mark.parametrize(
    ("kills", "jobs"), [pytest.param(2, 600, id="few"), pytest.param(30, 8_000, id="many", marks=pytest.mark.faults)]
)
def test_a_worker_that_is_killed_all_the_time_loses_and_doubles_nothing(kills: int, jobs: int, doomed: Fleet) -> None:
    """F-03: after every kill -9 of its process group each job still ends once, with its own result and no attempt."""
    crowd = Crowd(doomed)
    _kill_again_and_again(doomed, crowd, kills=kills, jobs=jobs)
    crowd.grow(jobs - len(crowd.handles))
    doomed.start("w1")

    def all_ended() -> bool:
        return doomed.shop.dispatch.jobs.count()[JobState.COMPLETED] == jobs

    eventually(all_ended, within=180, every=0.5, what=f"all {jobs} jobs have completed")
    found = check_history(doomed)
    _check_ends(found, crowd.ids)
    _check_effects(doomed, found, crowd)
    assert [handle.result(timeout=5) for handle in crowd.handles] == crowd.results
