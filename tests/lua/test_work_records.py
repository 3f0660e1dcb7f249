"""What those who move work read of it, whatever its kind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dispatch_celery.ids import JobId, RunId
from dispatch_celery.store.client import RedisStore
from dispatch_celery.work.model import WorkRef
from dispatch_celery.work.records import WorkRecords
from tests.lua.run_world import RunWorld, run_world


@pytest.fixture
def world(store: RedisStore, namespace: str) -> Iterator[RunWorld]:
    """Return a world with runs."""
    yield from run_world(store, namespace)


def test_a_stored_job_is_named_as_it_was_enqueued(world: RunWorld) -> None:
    """Extensions are promised a ``JobRef``: what is read of a job equals the reference that wrote it."""
    ref = world.enqueue(scope="app/org", key="k", queue="a:b", priority=3)

    (stored,) = world.records.stored([ref.id])

    assert stored is not None
    assert stored.ref == ref


def test_jobs_and_runs_are_read_in_one_go(world: RunWorld) -> None:
    """Each under an id of its kind, in the order asked for; None where there is nothing."""
    job, run = world.enqueue(), world.start()

    first, missing, second = WorkRecords(world.port, world.keys).stored([run.id, JobId.mint(), job.id])

    assert missing is None
    assert first is not None
    assert second is not None
    assert (type(first.ref), type(first.ref.id), first.ref.kind) == (WorkRef, RunId, "run-")
    assert (first.ref.name, first.state) == (run.name, "pending")
    assert (type(second.ref), type(second.ref.id), second.ref.kind) == (WorkRef, JobId, "")
