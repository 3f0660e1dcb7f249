"""The built-in middlewares in real workers: a breaker that all of them share, results that serve others, the log."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from types import ModuleType

import pytest

from dispatch_celery import JobState
from tests.support.eventually import eventually
from tests.support.workers import Fleet, Worker

pytestmark = [pytest.mark.slow, pytest.mark.timeout(90)]

MODULE = "tests.support.wrapped"


@pytest.fixture
def jobs(shop: Fleet) -> Iterator[ModuleType]:
    """Return the wrapped jobs, as their callers see them."""
    sys.modules.pop(MODULE, None)
    os.environ["SHOP_EFFECTS"] = str(shop.effects_file)
    yield importlib.import_module(MODULE)
    sys.modules.pop(MODULE, None)
    del os.environ["SHOP_EFFECTS"]


def _start(shop: Fleet, name: str = "w1") -> Worker:
    return shop.start(name, "-c", "2", "-I", MODULE)


def test_an_open_circuit_burns_no_attempts(shop: Fleet, jobs: ModuleType) -> None:
    """Ten jobs on two workers, a bank that stays closed: few attempts are made, none of the ten is dead-lettered."""
    workers = [_start(shop, "w1"), _start(shop, "w2")]
    handles = [jobs.charge.enqueue(str(number)) for number in range(10)]
    eventually(lambda: any("the circuit wrapped.charge is open" in worker.words for worker in workers), within=20)
    eventually(lambda: len(shop.effects("charge")) >= 6, within=20, what="probes are made")
    tried = len(shop.effects("charge"))
    assert {handle.state() for handle in handles} <= {JobState.RETRYING, JobState.PENDING, JobState.RUNNING}
    (shop.folder / "open").touch()

    attempts = [handle.result(timeout=20) for handle in handles]
    assert sum(attempt - 1 for attempt in attempts) <= tried + 2  # every failed attempt is one that has called the bank
    assert len(shop.effects("charge")) == sum(attempts)
    for worker in workers:
        assert worker.terminate() == 0


def test_jobs_with_the_same_key_run_once(shop: Fleet, jobs: ModuleType) -> None:
    """Eight at once on two workers: one handler runs, all of them complete with its result."""
    workers = [_start(shop, "w1"), _start(shop, "w2")]
    handles = [jobs.mail.enqueue("you", number) for number in range(8)]

    results = {handle.result(timeout=20) for handle in handles}
    assert len(results) == 1
    assert len(shop.effects("mail-you")) == 1
    assert jobs.mail.enqueue("me", 9).result(timeout=20) == 9
    for worker in workers:
        assert worker.terminate() == 0


def test_a_failed_one_leaves_its_place_to_others(shop: Fleet, jobs: ModuleType) -> None:
    """Nobody is given a failure: the next attempt, or the next job, runs."""
    worker = _start(shop)
    first = jobs.mail.enqueue("him", 1, fails=True)
    assert first.result(timeout=20) == 1
    assert jobs.mail.enqueue("him", 2).result(timeout=20) == 1
    assert len(shop.effects("mail-him")) == 2
    assert worker.terminate() == 0

    assert "job wrapped.mail " in worker.words
    assert f"{first.id} attempt 1 fails with ConnectionError after 0." in worker.words
    assert f"{first.id} attempt 2 succeeds after 0." in worker.words
