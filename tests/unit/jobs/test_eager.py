"""Jobs that run in the caller: the same codec, one attempt, no server."""

from __future__ import annotations

from typing import Any

import pytest

from dispatch_celery.errors import JobCancelled, JobFailed, JobNotCancellable, JobNotFound, PayloadError
from dispatch_celery.ids import JobId
from dispatch_celery.jobs.context import current_job
from dispatch_celery.jobs.definition import JobDefinition
from dispatch_celery.jobs.eager import EagerJobs
from dispatch_celery.jobs.model import JobState
from dispatch_celery.jobs.outcome import Cancel
from dispatch_celery.retry import Retry
from dispatch_celery.scope import scope


def eager(*, propagate: bool = False) -> EagerJobs:
    return EagerJobs(
        lambda definition, context, _: definition(**context.arguments),
        propagate=propagate,
        max_payload=100_000,
        default_retry=Retry(),
    )


def define(fn: Any, jobs: EagerJobs) -> JobDefinition[..., Any, Any]:
    return JobDefinition(fn, name="job", enqueuer=lambda: jobs)


def double(n: int) -> int:
    return 2 * n


def lie(n: int) -> int:
    return "no number"  # type: ignore[return-value]  # the point of the test


def fail(n: int) -> int:
    raise OSError("down")


def stop(n: int) -> int:
    raise Cancel("enough")


def test_an_eager_job_runs_at_once() -> None:
    """Its handle knows state, record and result, and its arguments were checked."""
    job = define(double, eager())
    handle = job.enqueue(3)

    assert (handle.state(), handle.result(), handle.info().name) == (JobState.COMPLETED, 6, "job")
    with pytest.raises(PayloadError):
        job.enqueue("3")


def test_an_eager_job_sees_its_context() -> None:
    """``current_job`` and the scope work as in a worker."""

    def tell() -> list[Any]:
        context = current_job()
        return [context.attempt, context.scope.path, context.queue]

    with scope(app_id="shop"):
        handle = define(tell, eager()).options(queue="slow").enqueue()

    assert handle.result() == [1, "shop/", "slow"]


@pytest.mark.parametrize(("fn", "kind"), [(fail, "OSError"), (lie, "dispatch_celery.errors.PayloadError")])
def test_a_failed_eager_job_tells_why(fn: Any, kind: str) -> None:
    """The result raises as a worker's would; a wrong result is an error, too."""
    handle = define(fn, eager()).enqueue(3)

    assert handle.state() is JobState.FAILED
    with pytest.raises(JobFailed) as caught:
        handle.result()
    assert (caught.value.error_type, caught.value.id) == (kind, handle.id)


def test_errors_can_be_let_through() -> None:
    """Celery's ``task_eager_propagates`` is honoured."""
    with pytest.raises(OSError, match="down"):
        define(fail, eager(propagate=True)).enqueue(3)


def test_a_cancelled_eager_job_is_no_failure() -> None:
    """``Cancel`` ends it without a result, also where errors are let through."""
    handle = define(stop, eager(propagate=True)).enqueue(3)

    assert handle.state() is JobState.CANCELLED
    with pytest.raises(JobCancelled):
        handle.result()


def test_what_is_over_cannot_be_cancelled_and_what_never_was_is_not_found() -> None:
    """The verbs refuse as the service does."""
    jobs = eager()

    with pytest.raises(JobNotCancellable):
        define(double, jobs).enqueue(3).cancel()
    with pytest.raises(JobNotFound):
        jobs.get(JobId.mint())
