"""What users write at the seams: extensions, middlewares, telemetry."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from celery import Celery

from dispatch_celery import Dispatch, Extension
from dispatch_celery.jobs.model import JobRef
from dispatch_celery.middleware import CircuitBreaker, Deduplicate, ExecutionContext, LogExecutions
from dispatch_celery.telemetry import install, prometheus
from dispatch_celery.workflows.model import RunRef

app = Celery("seams")
dispatch = Dispatch(app)


class Alerts(Extension):
    background = True

    def on_job_failed(self, job: JobRef, error: BaseException | None) -> None:
        print(job.id, error)

    async def on_run_parked(self, run: RunRef, reason: str) -> None:
        print(run.id, reason)


class Counts(Extension):
    patience = None

    def on_job_retrying(self, job: JobRef, attempt: int, next_run_at: datetime) -> None:
        print(job.id, attempt, next_run_at)


class Wrong(Extension):
    patience = "long"  # MUST FAIL


def timed(context: ExecutionContext, call_next: Callable[[], Any]) -> Any:
    return call_next()


def pause(queue: str, until: datetime) -> None:
    print(queue, until)


dispatch.add_extension(Alerts())
dispatch.add_extension(Counts())
dispatch.add_extension(Alerts)  # MUST FAIL
dispatch.add_middleware(timed)
dispatch.add_middleware(LogExecutions())
dispatch.add_middleware(CircuitBreaker(failures=3, failing=(ConnectionError,), pause=pause))
dispatch.add_middleware(Deduplicate(key=lambda job: str(job.arguments["order"])))
dispatch.add_middleware(CircuitBreaker(failures="3"))  # MUST FAIL
install(dispatch)
prometheus.install(dispatch)
