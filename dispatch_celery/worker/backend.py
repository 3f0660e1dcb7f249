"""A read-only Celery result backend over the job records, installed where an app has none.

``AsyncResult`` of a job, groups and chords read from here; nothing is ever written, because the record already
holds the outcome. Plain Celery tasks of such an app keep no result, as before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from celery import Celery, states
from celery.backends.base import BaseBackend
from celery.exceptions import TimeoutError as CeleryTimeout

from dispatch_celery.clock import to_ms
from dispatch_celery.errors import JobNotFound, OutcomeError, ResultTimeout
from dispatch_celery.jobs.model import Job, JobState
from dispatch_celery.jobs.service import JobService
from dispatch_celery.jobs.waiting import Results, error_of
from dispatch_celery.worker.task import job_id_of

__all__ = ["JobBackend", "install_backend"]

_STATES: Final = {
    JobState.SCHEDULED: states.PENDING,
    JobState.LIMITED: states.PENDING,
    JobState.PENDING: states.PENDING,
    JobState.RUNNING: states.STARTED,
    JobState.RETRYING: states.RETRY,
    JobState.COMPLETED: states.SUCCESS,
    JobState.FAILED: states.FAILURE,
    JobState.CANCELLED: states.REVOKED,
}


class JobBackend(BaseBackend):  # type: ignore[misc]  # Celery ships no types
    """Results of jobs, read from their records."""

    supports_autoexpire = True
    persistent = True

    def __init__(
        self,
        app: Any = None,
        url: str | None = None,
        *,
        jobs: Callable[[], JobService],
        results: Callable[[], Results],
        **kwargs: Any,
    ) -> None:
        super().__init__(app=app, url=url, **kwargs)
        self._jobs = jobs
        self._results = results

    def __reduce__(self, args: Any = (), kwargs: Any = None) -> Any:
        raise TypeError("the job result backend does not travel; it is made anew in each process")

    def _store_result(self, *_: Any, **__: Any) -> None:
        """Store nothing: the record holds the outcome already."""

    def store_result(self, _task_id: Any, result: Any, _state: Any, **_: Any) -> Any:
        """Store nothing: the record holds the outcome already."""
        return result

    def mark_as_started(self, *_: Any, **__: Any) -> None:
        """Store nothing."""

    def _get_task_meta_for(self, task_id: str) -> dict[str, Any]:
        try:
            job = self._jobs().get(job_id_of(task_id))
        except JobNotFound:
            return {"status": states.PENDING, "result": None}
        return {
            "status": _STATES[job.state],
            "result": _result_of(job),
            "traceback": job.failure.traceback if job.failure else None,
            "children": [],
            "date_done": job.finished_at.isoformat() if job.finished_at else None,
            "task_id": task_id,
            "name": job.name,
        }

    def get_task_meta(self, task_id: str, cache: bool = True) -> dict[str, Any]:  # noqa: FBT001, FBT002, ARG002 - Celery's signature
        """Return a job's state and result as Celery's task meta."""
        return self._get_task_meta_for(task_id)

    def wait_for(self, task_id: str, timeout: float | None = None, **_: Any) -> dict[str, Any]:
        """Wait for a job's end: announced, not polled."""
        try:
            limit = None if timeout is None else to_ms(timeout)
            self._results().wait(job_id_of(task_id), None, limit, may_be_missing=True)
        except ResultTimeout:
            raise CeleryTimeout("The operation timed out.") from None
        except OutcomeError:
            pass
        return self.get_task_meta(task_id)

    def forget(self, task_id: str) -> None:
        """Do nothing: the record has a retention of its own."""

    def _forget(self, task_id: str) -> None:
        """Do nothing: the record has a retention of its own."""


def _result_of(job: Job) -> Any:
    return error_of(job) if job.state in (JobState.CANCELLED, JobState.FAILED) else job.result


def install_backend(app: Celery, jobs: Callable[[], JobService], results: Callable[[], Results]) -> None:
    """Let an app without a result backend read the results of its jobs; an app that has one keeps it."""

    def make(app: Any = None, url: str | None = None) -> JobBackend:
        return JobBackend(app, url, jobs=jobs, results=results)

    def install(source: Any = None, **_: Any) -> None:
        if not source.get("result_backend") and app.backend_cls is None:
            app.backend_cls = make

    if app.configured:
        install(source=app.conf)
    else:
        app.on_after_configure.connect(install, weak=False, dispatch_uid=f"dispatch-backend-{id(app)}")
