"""What a handler can ask about the job it runs."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress

import pytest

from dispatch_celery.errors import NotInJob
from dispatch_celery.ids import JobId
from dispatch_celery.jobs.context import JobContext, current_job, in_job
from dispatch_celery.jobs.model import JobRef
from dispatch_celery.scope import Scope


def context(name: str = "mail") -> JobContext:
    return JobContext(
        ref=JobRef(id=JobId.mint(), name=name, queue="q"),
        attempt=2,
        token=5,
        claim="5.nonce",
        deadline=None,
        scope=Scope(),
        arguments={},
    )


def test_outside_of_a_job_there_is_none() -> None:
    """A plain call of the function is not a job, and the error says so."""
    with pytest.raises(NotInJob, match="inside a running job"):
        current_job()


def test_inside_it_is_the_running_one() -> None:
    """It ends with the block, also when that raises."""
    mine = context()
    with suppress(KeyError), in_job(mine):
        assert current_job() is mine
        raise KeyError
    with pytest.raises(NotInJob):
        current_job()


def test_it_tells_what_the_outside_world_needs() -> None:
    """The idempotency key is the same in every attempt, the token is not."""
    mine = context()

    assert (mine.id, mine.name, mine.queue) == (mine.ref.id, "mail", "q")
    assert mine.idempotency_key == str(mine.ref.id)
    assert (mine.attempt, mine.token) == (2, 5)
    assert mine.cancelled is False


def test_it_follows_async_tasks_and_leaves_other_threads_alone() -> None:
    """Tasks of one loop each see their own job; a new thread sees none."""
    jobs = [context(f"job{n}") for n in range(3)]
    strangers: list[bool] = []

    async def work(mine: JobContext) -> str:
        with in_job(mine):
            await asyncio.to_thread(current_job)
            return current_job().name

    async def main() -> list[str]:
        return await asyncio.gather(*(work(mine) for mine in jobs))

    def stranger() -> None:
        with pytest.raises(NotInJob):
            current_job()
        strangers.append(True)

    assert asyncio.run(main()) == ["job0", "job1", "job2"]
    with in_job(jobs[0]):
        thread = threading.Thread(target=stranger)
        thread.start()
        thread.join()
    assert strangers == [True]


def test_progress_without_a_store_is_quiet() -> None:
    """An eager job has nowhere to record it."""
    context().progress(1, 2, "half")
