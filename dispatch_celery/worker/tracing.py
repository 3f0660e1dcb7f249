"""Joins Celery's tracer and the executor: claim before the tracer starts, perform inside of it.

A wake-up that turns out to be a leftover must not look like a task: no ``task_prerun``, no success, no event. So
the claim comes first, and only a claimed job meets Celery's tracer, which then sends its signals, follows links
and chains and feeds Sentry and OpenTelemetry, because the handler runs inside ``task.run`` and raises there what
it raised. To Celery success is SUCCESS, a planned retry RETRY, the final failure FAILURE (ARCHITECTURE 3.6).
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

from billiard.einfo import ExceptionInfo
from celery import states
from celery.app.trace import TraceInfo, trace_ok_t
from celery.exceptions import Ignore, Retry

from dispatch_celery.errors import DispatchError, Fenced, JobFailed
from dispatch_celery.jobs.model import JobRef
from dispatch_celery.jobs.outcome import Cancelled, Completed, Failed, Retrying
from dispatch_celery.work.model import WorkRef
from dispatch_celery.worker.execution import Execution
from dispatch_celery.worker.executor import Executor
from dispatch_celery.worker.messages import HEADER, ref_of
from dispatch_celery.worker.run_recorder import RunExecution
from dispatch_celery.worker.runs import RunExecutor
from dispatch_celery.workflows.model import RunState

__all__ = ["Revoked", "Tracing"]

_current: ContextVar[Execution | RunExecution | None] = ContextVar("dispatch_execution", default=None)


class Revoked(Ignore):  # type: ignore[misc]  # Celery ships no types
    """Ends a task whose job was cancelled: to Celery neither a success nor a failure."""


class Tracing:
    """What a job's task does in a worker process."""

    def __init__(self, executor: Executor, runs: RunExecutor) -> None:
        self._executor = executor
        self._runs = runs

    def trace(self, tracer: Any, name: str, task_id: str, args: Any, kwargs: Any, request: Any) -> Any:
        """Claim the job of a message and run Celery's tracer on it; answer IGNORED when there is nothing to run."""
        ref = self._ref(name, request)
        execution = self._claim(ref)
        if execution is None:
            return _ignored()
        mark = _current.set(execution)
        try:
            return tracer(task_id, args, kwargs, request)
        finally:
            _current.reset(mark)

    def _claim(self, ref: WorkRef | None) -> Execution | RunExecution | None:
        if isinstance(ref, JobRef):
            return self._executor.claim(ref)
        return None if ref is None else self._runs.claim(ref)

    @staticmethod
    def claimed() -> Execution | RunExecution | None:
        """Take the claimed job or run that this thread's tracer is about to run; what it calls is not it again."""
        execution = _current.get()
        _current.set(None)
        return execution

    def perform(self, execution: Execution | RunExecution) -> Any:
        """Run what was claimed; return its value, or raise what Celery should make of its end."""
        return self._perform_run(execution) if isinstance(execution, RunExecution) else self._perform_job(execution)

    def _perform_run(self, execution: RunExecution) -> Any:
        try:
            outcome = self._runs.perform(execution)
        except Fenced as fenced:
            raise Ignore(str(fenced)) from None
        if outcome.state == RunState.COMPLETED:
            return outcome.value
        if outcome.state == RunState.CANCELLED:
            raise Revoked(outcome.reason)
        if outcome.state == RunState.FAILED:
            words = "what it did is undone" if outcome.error is None else repr(outcome.error)
            raise outcome.error if isinstance(outcome.error, Exception) else DispatchError(words)
        if outcome.state == RunState.WAITING:
            # To Celery a run at rest is a task that will be tried again: it has neither succeeded nor failed.
            raise Retry("the run waits; no worker is held")
        raise Ignore(str(outcome.state))

    def _perform_job(self, execution: Execution) -> Any:
        try:
            outcome = self._executor.perform(execution)
        except Fenced as fenced:
            raise Ignore(str(fenced)) from None
        if isinstance(outcome, Completed):
            return outcome.value
        if isinstance(outcome, Retrying):
            error = outcome.error if isinstance(outcome.error, Exception) else None
            raise Retry(outcome.failure.message, exc=error, when=outcome.delay / 1000) from error
        if isinstance(outcome, Cancelled):
            raise Revoked(outcome.reason)
        raise _raised(outcome) if isinstance(outcome, Failed) else Ignore("released")

    @staticmethod
    def _ref(name: str, request: Any) -> WorkRef | None:
        header = request.get(HEADER) if isinstance(request, dict) else getattr(request, HEADER, None)
        return ref_of(name, header)


def _raised(outcome: Failed) -> BaseException:
    """Return the handler's own exception, for Celery, Sentry and the rest to see."""
    error = outcome.error
    if isinstance(error, Exception):
        return error
    if isinstance(error, BaseException):
        # SystemExit and the like would end the pool process: the job is settled, so an ordinary error tells Celery.
        return JobFailed(f"{outcome.failure.type}: {outcome.failure.message}", error_type=outcome.failure.type)
    return DispatchError(outcome.failure.message)


def _ignored() -> Any:
    """Return what Celery's tracer returns for a task that raised ``Ignore``."""
    try:
        raise Ignore("nothing to do for this wake-up")  # noqa: TRY301 - Celery reads it from the traceback
    except Ignore as ignored:
        return trace_ok_t(ExceptionInfo(internal=True), TraceInfo(states.IGNORED, ignored), 0.0, None)
