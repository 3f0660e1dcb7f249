"""The verbs of jobs for callers: get, list, count, ready, state, handle, cancel, retry, run_now."""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import Iterable, Iterator
from typing import Any

from dispatch_celery.codec import Codec
from dispatch_celery.errors import Fenced, JobAlreadyComplete, JobNotCancellable, JobNotUnique, StateConflict
from dispatch_celery.ids import JobId
from dispatch_celery.jobs.definition import Call, JobDefinition
from dispatch_celery.jobs.handle import JobHandle
from dispatch_celery.jobs.listing import JobFilter, JobListing
from dispatch_celery.jobs.model import ENDED, Job, JobState
from dispatch_celery.jobs.records import JobRecords
from dispatch_celery.jobs.store import JobStore
from dispatch_celery.jobs.waiting import Results, not_found
from dispatch_celery.jobs.writing import JobWriter
from dispatch_celery.retry import Retry
from dispatch_celery.store.paging import Page
from dispatch_celery.work.body import IN_A_STEP, refuse_in_body
from dispatch_celery.work.model import WakeUp
from dispatch_celery.work.ports import Observer
from dispatch_celery.work.records import Stored
from dispatch_celery.work.scripts import woken_by

__all__ = ["JobService"]


class JobService:
    """Everything callers may do with jobs. Safe for threads.

    Each verb has an ``a`` twin for event loops: the same, without holding the loop.
    """

    def __init__(
        self,
        *,
        store: JobStore,
        records: JobRecords,
        listing: JobListing,
        writer: JobWriter,
        results: Results,
        observer: Observer,
        max_payload: int,
        default_retry: Retry,
    ) -> None:
        self._store = store
        self._records = records
        self._listing = listing
        self._writer = writer
        self._results = results
        self._observer = observer
        self.max_payload = max_payload
        self.default_retry = default_retry

    def enqueue_calls(self, calls: Iterable[Call[Any]]) -> builtins.list[JobHandle[Any]]:
        """Store and publish calls in bounded batches; return handles in order."""
        bound = list(calls)
        ids = self._writer.enqueue(bound)
        return [JobHandle(job_id, self, call.definition.typed.result) for job_id, call in zip(ids, bound, strict=True)]

    # -- read

    def get(self, job_id: JobId | str) -> Job:
        """Return a job's record.

        Raises:
            JobNotFound: it never existed here, or its retention has passed.
        """
        (job,) = self._records.jobs([JobId.parse(job_id)])
        if job is None:
            raise not_found(job_id)
        return job

    def state(self, job_id: JobId | str) -> JobState:
        """Return a job's state."""
        return JobState(self._stored(JobId.parse(job_id)).state)

    def handle(self, job_id: JobId | str) -> JobHandle[Any]:
        """Return the handle of a stored id, its result as plain data."""
        return JobHandle(JobId.parse(job_id), self)

    def handle_of(self, job_id: str, definition: JobDefinition[..., Any, Any]) -> JobHandle[Any]:
        """Return the handle of a stored id, typed by a definition."""
        return JobHandle(JobId.parse(job_id), self, definition.typed.result)

    def list(self, *, limit: int = 50, cursor: str | None = None, **filters: Any) -> Page[Job]:
        """Return one page of jobs, newest first. Filters: see ``JobFilter``."""
        return self._listing.page(JobFilter(**filters), limit=limit, cursor=cursor)

    def count(self, *, state: JobState | str | None = None, name: str | None = None) -> dict[JobState, int]:
        """Return how many jobs there are in each state, or in one; of all names, or of one."""
        return self._listing.count(state, name)

    def ready(self) -> dict[str, int]:
        """Return how many jobs are ready in each queue."""
        return self._listing.ready()

    def _stored(self, job_id: JobId) -> Stored:
        (stored,) = self._records.stored([job_id])
        if stored is None:
            raise not_found(job_id)
        return stored

    def result_of(self, job_id: JobId, codec: Codec | None, timeout_ms: int | None) -> Any:
        """Wait for a job's end and return its result; see ``JobHandle.result``."""
        return self._results.wait(job_id, codec, timeout_ms)

    async def aresult_of(self, job_id: JobId, codec: Codec | None, timeout_ms: int | None) -> Any:
        """Do as ``result_of`` on an event loop; no thread is held meanwhile."""
        return await self._results.await_(job_id, codec, timeout_ms)

    # -- change

    def cancel(self, job_id: JobId | str, *, reason: str = "") -> JobState:
        """Cancel a job; see ``JobHandle.cancel``."""
        refuse_in_body("dispatch.jobs.cancel()", "use wf.cancel(promise) for what this run has sent, else " + IN_A_STEP)
        return self.call_off(JobId.parse(job_id), reason or "cancelled by request")

    def call_off(self, job_id: JobId, reason: str, *, by: str = "") -> JobState:
        """Cancel a job, in the name of the run it belongs to where ``by`` is that run's token and revision.

        Raises:
            Fenced: that run is held by somebody else now, or does not stand where ``by`` says.
        """
        for stored in self._until_settled(job_id):
            if stored.state == JobState.CANCELLED:
                return JobState.CANCELLED
            if stored.state in ENDED:
                raise JobNotCancellable(f"{job_id} is {stored.state}: there is nothing left to cancel")
            if stored.state == JobState.RUNNING:
                answer = self._store.flag(stored.ref, stored.holder, reason, by=by)
            else:
                answer = self._store.cancel(stored.ref, stored.state, reason, by=by)
            if answer.verdict == "FENCED":
                raise Fenced(f"{job_id} is not called off: its run is not held under {by} any more")
            if answer.verdict == "ASKED":
                return JobState.RUNNING
            if answer.verdict == "DONE":
                self._observer("cancelled", stored.ref)
                self._writer.publish(woken_by(stored.ref, answer))
                return JobState.CANCELLED
        raise _restless(job_id)

    def retry(self, job_id: JobId | str) -> JobHandle[Any]:
        """Run a failed job again under the same id, its attempts counted anew. If it was replayed, return the replay.

        Raises:
            StateConflict: it has not failed, or there may be one of its kind and another came since.
        """
        refuse_in_body("dispatch.jobs.retry()")
        job_id = JobId.parse(job_id)
        for stored in self._until_settled(job_id):
            if stored.state != JobState.FAILED:
                raise JobAlreadyComplete(f"{job_id} is {stored.state}: only a failed job can be retried")
            answer = self._store.reopen(stored.ref)
            if answer.verdict == "REPLAYED":
                return JobHandle(JobId(answer.detail), self)
            if answer.verdict == "TAKEN":
                raise JobNotUnique(f"{answer.detail} is the one of its kind by now", existing_id=answer.detail)
            if answer.verdict == "READY":
                self._observer("reopened", stored.ref)
                self._writer.publish([WakeUp(ref=stored.ref, wake=answer.detail, spec=stored.spec)])
                return JobHandle(job_id, self)
        raise _restless(job_id)

    def run_now(self, job_id: JobId | str) -> JobState:
        """Make a scheduled or retrying job ready now. One that is ready, runs or waits for a permit is left as it is.

        Raises:
            JobAlreadyComplete: it has ended.
        """
        refuse_in_body("dispatch.jobs.run_now()")
        job_id = JobId.parse(job_id)
        for stored in self._until_settled(job_id):
            if stored.state in ENDED:
                raise JobAlreadyComplete(f"{job_id} is {stored.state}: it will not run again")
            if stored.state in (JobState.LIMITED, JobState.PENDING, JobState.RUNNING):
                return JobState(stored.state)
            (answer,) = self._store.promote([(stored.ref, stored.state)], force=True)
            if answer.verdict == "READY":
                self._writer.publish(
                    [WakeUp(ref=stored.ref, wake=answer.detail, spec=stored.spec, attempt=stored.attempts + 1)]
                )
                return JobState.PENDING
            if answer.verdict == "LIMITED":
                self._observer("limited", stored.ref, limit=answer.detail)
                return JobState.LIMITED
        raise _restless(job_id)

    def _until_settled(self, job_id: JobId) -> Iterator[Stored]:
        """Yield the record as it is, again while its state changes under the caller; bounded."""
        for _ in range(20):
            yield self._stored(job_id)

    # -- the same on an event loop, written by .ci/make_twins.py

    async def aget(self, job_id: JobId | str) -> Job:
        """Do as ``get``, without holding the event loop."""
        return await asyncio.to_thread(self.get, job_id)

    async def astate(self, job_id: JobId | str) -> JobState:
        """Do as ``state``, without holding the event loop."""
        return await asyncio.to_thread(self.state, job_id)

    async def alist(self, *, limit: int = 50, cursor: str | None = None, **filters: Any) -> Page[Job]:
        """Do as ``list``, without holding the event loop."""
        return await asyncio.to_thread(self.list, limit=limit, cursor=cursor, **filters)

    async def acount(self, *, state: JobState | str | None = None, name: str | None = None) -> dict[JobState, int]:
        """Do as ``count``, without holding the event loop."""
        return await asyncio.to_thread(self.count, state=state, name=name)

    async def aready(self) -> dict[str, int]:
        """Do as ``ready``, without holding the event loop."""
        return await asyncio.to_thread(self.ready)

    async def acancel(self, job_id: JobId | str, *, reason: str = "") -> JobState:
        """Do as ``cancel``, without holding the event loop."""
        return await asyncio.to_thread(self.cancel, job_id, reason=reason)

    async def aretry(self, job_id: JobId | str) -> JobHandle[Any]:
        """Do as ``retry``, without holding the event loop."""
        return await asyncio.to_thread(self.retry, job_id)

    async def arun_now(self, job_id: JobId | str) -> JobState:
        """Do as ``run_now``, without holding the event loop."""
        return await asyncio.to_thread(self.run_now, job_id)


def _restless(job_id: str) -> StateConflict:
    return StateConflict(f"{job_id} changed its state again and again meanwhile; try once more")
