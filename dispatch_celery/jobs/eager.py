"""Jobs that run in the caller, without any server: what ``task_always_eager`` asks for in tests.

Arguments and results go through the same codec and middleware as on the wire. One attempt, no retries.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, Final

from dispatch_celery.codec import Codec
from dispatch_celery.errors import JobCancelled, JobFailed, JobNotCancellable, JobNotFound
from dispatch_celery.ids import JobId
from dispatch_celery.jobs.context import JobContext, in_job
from dispatch_celery.jobs.definition import Call, JobDefinition
from dispatch_celery.jobs.handle import JobHandle
from dispatch_celery.jobs.model import Job, JobRef, JobState
from dispatch_celery.jobs.outcome import Cancel, failure_of
from dispatch_celery.retry import Retry
from dispatch_celery.scope import Scope, current_scope

__all__ = ["EagerJobs"]

_REMEMBERED: Final = 10_000

Handler = Callable[[JobDefinition[..., Any, Any], JobContext, int | None], Any]


class EagerJobs:
    """Enqueues by running, and remembers how it ended."""

    def __init__(self, handler: Handler, *, propagate: bool, max_payload: int, default_retry: Retry) -> None:
        self._handler = handler
        self._propagate = propagate
        self.max_payload = max_payload
        self.default_retry = default_retry
        self._ended: OrderedDict[JobId, Job] = OrderedDict()

    def enqueue_calls(self, calls: Iterable[Call[Any]]) -> list[JobHandle[Any]]:
        """Run calls one after the other; return handles in order."""
        return [self._enqueue(call) for call in calls]

    def _enqueue(self, call: Call[Any]) -> JobHandle[Any]:
        definition = call.definition
        ref = JobRef(
            id=JobId.mint(),
            name=definition.name,
            queue=call.options.queue or definition.queue or "eager",
            scope=current_scope().path,
            idempotency_key=call.options.idempotency_key or "",
        )
        state, failure, result = JobState.COMPLETED, None, None
        try:
            result = self.run(definition, call.payload, ref)
        except Cancel:
            state = JobState.CANCELLED
        except Exception as error:
            if self._propagate:
                raise
            state, failure = JobState.FAILED, failure_of(error)
        now = datetime.now(UTC)
        self._ended[ref.id] = Job(
            id=ref.id,
            name=ref.name,
            queue=ref.queue,
            priority=ref.priority,
            state=state,
            arguments={},
            scope=Scope.from_path(ref.scope),
            created_at=now,
            finished_at=now,
            failure=failure,
            result=result,
        )
        while len(self._ended) > _REMEMBERED:
            self._ended.popitem(last=False)
        return JobHandle(ref.id, self)

    def run(self, definition: JobDefinition[..., Any, Any], payload: bytes, ref: JobRef | None = None) -> Any:
        """Run one job here; return its value, checked against its annotation."""
        ref = ref or JobRef(id=JobId.mint(), name=definition.name, queue="eager")
        context = JobContext(
            ref=ref,
            attempt=1,
            token=1,
            claim="",
            deadline=None,
            scope=Scope.from_path(ref.scope),
            arguments=definition.typed.arguments.decode(payload),
        )
        with in_job(context):
            value = self._handler(definition, context, definition.timeout_ms)
        definition.typed.result.encode(value)
        return value

    def handle_of(self, job_id: str, definition: JobDefinition[..., Any, Any]) -> JobHandle[Any]:  # noqa: ARG002 - the service's signature
        """Return the handle of an id."""
        return JobHandle(JobId.parse(job_id), self)

    def get(self, job_id: JobId) -> Job:
        """Return how a job ended."""
        job = self._ended.get(job_id)
        if job is None:
            raise JobNotFound(f"no job {job_id} has run eagerly in this process")
        return job

    def state(self, job_id: JobId) -> JobState:
        """Return the state a job ended in."""
        return self.get(job_id).state

    async def aresult_of(self, job_id: JobId, codec: Codec | None, timeout_ms: int | None) -> Any:
        """Do as ``result_of``: what runs eagerly has ended."""
        return self.result_of(job_id, codec, timeout_ms)

    def result_of(self, job_id: JobId, codec: Codec | None, timeout_ms: int | None) -> Any:  # noqa: ARG002 - the service's signature
        """Return a job's value, or raise how it ended."""
        job = self.get(job_id)
        if job.failure is not None:
            failure = job.failure
            raise JobFailed(
                f"{job_id} ({job.name}) failed: {failure.type}: {failure.message}",
                id=job_id,
                error_type=failure.type,
                error_message=failure.message,
                remote_traceback=failure.traceback,
            )
        if job.state == JobState.CANCELLED:
            raise JobCancelled(f"{job_id} was cancelled by its handler", id=job_id)
        return job.result

    def cancel(self, job_id: JobId, *, reason: str = "") -> JobState:  # noqa: ARG002 - the service's signature
        """Refuse: an eager job has ended before anybody could cancel it."""
        raise JobNotCancellable(f"{job_id} is {self.get(job_id).state}: it ran eagerly")
