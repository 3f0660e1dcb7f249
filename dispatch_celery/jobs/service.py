"""The verbs of jobs for callers: enqueue, get, list, count, cancel, retry, run_now, and waiting for results."""

from __future__ import annotations

import builtins
import json
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from itertools import islice
from typing import Any, Final

from dispatch_celery.clock import to_ms
from dispatch_celery.codec import Codec
from dispatch_celery.config import Settings
from dispatch_celery.errors import (
    DispatchError,
    IdempotencyConflict,
    JobAlreadyComplete,
    JobCancelled,
    JobFailed,
    JobNotCancellable,
    JobNotFound,
    PayloadError,
    ResultTimeout,
    StateConflict,
    StoreUnavailable,
)
from dispatch_celery.ids import JobId
from dispatch_celery.jobs.definition import Call, JobDefinition
from dispatch_celery.jobs.handle import JobHandle
from dispatch_celery.jobs.listing import JobFilter, JobListing
from dispatch_celery.jobs.model import ENDED, SCHEMA, Job, JobRef, JobState, WakeUp
from dispatch_celery.jobs.options import StoredRetry
from dispatch_celery.jobs.ports import Observer, Publisher
from dispatch_celery.jobs.records import JobRecords, Stored
from dispatch_celery.jobs.store import JobStore, NewJob
from dispatch_celery.retry import Retry
from dispatch_celery.scope import current_scope
from dispatch_celery.store.keys import Keys
from dispatch_celery.store.listener import Listener
from dispatch_celery.store.paging import Page

__all__ = ["BATCH", "JobService"]

logger = logging.getLogger(__name__)

BATCH: Final = 500
"""Jobs written in one trip: some hundred kilobytes, some milliseconds of the server's time."""

_LOOK_AGAIN: Final = 15.0
"""Seconds between two looks of one who waits: only for an announcement lost with its connection."""


class JobService:
    """Everything callers may do with jobs. Safe for threads."""

    def __init__(
        self,
        *,
        store: JobStore,
        records: JobRecords,
        keys: Keys,
        settings: Settings,
        publisher: Publisher,
        listener: Listener,
        observer: Observer,
        default_queue: str,
        codec_of: Callable[[str], Codec | None],
    ) -> None:
        self._store = store
        self._records = records
        self._keys = keys
        self._settings = settings
        self._publisher = publisher
        self._listener = listener
        self._observer = observer
        self._default_queue = default_queue
        self._codec_of = codec_of
        self._listing = JobListing(store.port, keys, records)

    @property
    def max_payload(self) -> int:
        """The largest payload, in bytes."""
        return self._settings.max_payload

    @property
    def default_retry(self) -> Retry:
        """The policy of jobs that declare none."""
        return self._settings.default_retry

    # -- enqueue

    def enqueue_calls(self, calls: Iterable[Call[Any]]) -> builtins.list[JobHandle[Any]]:
        """Store and publish calls in batches of ``BATCH``; return handles in order."""
        waiting = iter(calls)
        handles: builtins.list[JobHandle[Any]] = []
        while batch := list(islice(waiting, BATCH)):
            handles.extend(self._enqueue_batch(batch))
        return handles

    def _enqueue_batch(self, calls: Sequence[Call[Any]]) -> builtins.list[JobHandle[Any]]:
        jobs = [self.new_job(call) for call in calls]
        ids = self.write(jobs)
        return [JobHandle(job_id, self, call.definition.typed.result) for job_id, call in zip(ids, calls, strict=True)]

    def new_job(
        self, call: Call[Any], *, job_id: JobId | None = None, extra: Mapping[str, Any] | None = None
    ) -> NewJob:
        """Return what would be written for a call; its id is minted here, so writing it twice is one job."""
        definition, options = call.definition, call.options
        spec: dict[str, Any] = {"schema": SCHEMA, "summary": call.summary, **(extra or {})}
        tenant = current_scope().path
        if tenant:
            spec["scope"] = tenant
        if options.idempotency_key is not None:
            spec["idempotency_key"] = options.idempotency_key
        if options.retry is not None:
            spec["retry"] = StoredRetry.dump(options.retry)
        if options.timeout is not None:
            spec["timeout"] = to_ms(options.timeout)
        if options.headers:
            spec["headers"] = options.headers
        ref = JobRef(
            id=job_id or JobId.mint(),
            name=definition.name,
            queue=options.queue or definition.queue or self._default_queue,
            priority=definition.priority if options.priority is None else options.priority,
            scope=tenant,
            idempotency_key=options.idempotency_key or "",
        )
        return NewJob(
            ref=ref,
            spec=json.dumps(spec, separators=(",", ":")).encode(),
            payload=call.payload,
            delay=options.delay_ms,
            run_at=options.run_at_ms,
            expires=options.expires_ms,
            digest=sha256(call.payload).hexdigest()[:32] if options.idempotency_key is not None else "",
        )

    def write(self, jobs: Sequence[NewJob]) -> builtins.list[JobId]:
        """Write jobs and publish their wake-ups; return the ids under which they are found.

        Raises:
            IdempotencyConflict: a key is used with another payload. The batch's other jobs are written.
            StoreUnavailable: no answer; each job is written whole or not at all.
        """
        wakeups = {job.ref.id: WakeUp(ref=job.ref, wake="1", spec=json.loads(job.spec)) for job in jobs}
        riders: dict[str, builtins.list[Any]] = {}
        for job in jobs:
            rider = self._publisher.rider(wakeups[job.ref.id]) if job.delay is None and job.run_at is None else None
            if rider is not None:
                riders[job.ref.id] = [rider, self._store.clear_mark(job.ref.id, "1")]
        replies = self._store.enqueue(jobs, riders)
        ids: builtins.list[JobId] = []
        unpublished: builtins.list[WakeUp] = []
        for job, reply in zip(jobs, replies, strict=True):
            if isinstance(reply, DispatchError):
                raise reply
            verdict = reply[0]
            if verdict == "CONFLICT":
                raise IdempotencyConflict(
                    f"idempotency key {job.ref.idempotency_key!r} of {job.ref.name} belongs to {reply[1]} with another"
                    " payload: use another key, or the same payload",
                    existing_id=reply[1],
                    refused_id=job.ref.id,
                )
            ids.append(JobId(reply[1]) if verdict == "EXISTING" else job.ref.id)
            if verdict == "CREATED":
                if reply[1] == JobState.PENDING and job.ref.id not in riders:
                    unpublished.append(wakeups[job.ref.id])
                self._observer("enqueued", job.ref)
        self.publish(unpublished)
        return ids

    def publish(self, wakeups: Sequence[WakeUp]) -> None:
        """Publish wake-ups and clear their marks. A broker that is away keeps the marks: they are swept later."""
        if not wakeups:
            return
        try:
            self._publisher.publish(wakeups)
            self._store.clear_marks([(wakeup.ref.id, wakeup.wake) for wakeup in wakeups])
        except StoreUnavailable as error:
            logger.warning("%d wake-ups wait for the broker and will be swept: %s", len(wakeups), error)

    # -- read

    def get(self, job_id: JobId | str) -> Job:
        """Return a job's record.

        Raises:
            JobNotFound: it never existed here, or its retention has passed.
        """
        (job,) = self._records.jobs([JobId.parse(job_id)])
        if job is None:
            raise _not_found(job_id)
        return job

    def state(self, job_id: JobId | str) -> JobState:
        """Return a job's state."""
        return self._stored(JobId.parse(job_id)).state

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
            raise _not_found(job_id)
        return stored

    def result_of(
        self, job_id: JobId, codec: Codec | None, timeout_ms: int | None, *, may_be_missing: bool = False
    ) -> Any:
        """Wait for a job's end and return its result; see ``JobHandle.result``.

        ``may_be_missing``: also wait for the job to be stored, as Celery's results do.
        """
        limit = None if timeout_ms is None else time.monotonic() + timeout_ms / 1000
        fields = self._records.raw(job_id)
        if _state(fields) not in ENDED:
            with self._listener.watch(self._keys.job(job_id), timeout=_left(limit, 2.0)) as ring:
                while _state(fields := self._records.raw(job_id)) not in ENDED:
                    if not fields and not may_be_missing:
                        raise _not_found(job_id)
                    left = _left(limit, _LOOK_AGAIN)
                    if left <= 0:
                        raise ResultTimeout(
                            f"{job_id} is {_state(fields) or 'not stored'} after {timeout_ms or 0} ms; it goes on"
                        )
                    ring.wait(left)
                    ring.clear()
        codec = codec or self._codec_of(fields.get("name", b"").decode())
        return _outcome(
            self._records.jobs([job_id])[0] if _state(fields) != JobState.COMPLETED else None, fields, codec
        )

    # -- change

    def cancel(self, job_id: JobId | str, *, reason: str = "") -> JobState:
        """Cancel a job; see ``JobHandle.cancel``."""
        job_id = JobId.parse(job_id)
        reason = reason or "cancelled by request"
        for stored in self._until_settled(job_id):
            if stored.state == JobState.CANCELLED:
                return stored.state
            if stored.state in ENDED:
                raise JobNotCancellable(f"{job_id} is {stored.state}: there is nothing left to cancel")
            if stored.state == JobState.RUNNING:
                if self._store.flag(stored.ref, stored.holder, reason).verdict == "ASKED":
                    return JobState.RUNNING
            elif self._store.cancel(stored.ref, stored.state, reason).verdict == "DONE":
                self._observer("cancelled", stored.ref)
                return JobState.CANCELLED
        raise _restless(job_id)

    def retry(self, job_id: JobId | str) -> JobHandle[Any]:
        """Run a failed job again under the same id, its attempts counted anew. If it was replayed, return the replay.

        Raises:
            StateConflict: it has not failed.
        """
        job_id = JobId.parse(job_id)
        for stored in self._until_settled(job_id):
            if stored.state != JobState.FAILED:
                raise JobAlreadyComplete(f"{job_id} is {stored.state}: only a failed job can be retried")
            answer = self._store.reopen(stored.ref)
            if answer.verdict == "REPLAYED":
                return JobHandle(JobId(answer.detail), self)
            if answer.verdict == "READY":
                self.publish([WakeUp(ref=stored.ref, wake=answer.detail, spec=stored.spec)])
                return JobHandle(job_id, self)
        raise _restless(job_id)

    def run_now(self, job_id: JobId | str) -> JobState:
        """Make a scheduled or retrying job ready now. A pending or running one is left as it is.

        Raises:
            JobAlreadyComplete: it has ended.
        """
        job_id = JobId.parse(job_id)
        for stored in self._until_settled(job_id):
            if stored.state in ENDED:
                raise JobAlreadyComplete(f"{job_id} is {stored.state}: it will not run again")
            if stored.state in (JobState.PENDING, JobState.RUNNING):
                return stored.state
            (answer,) = self._store.promote([(stored.ref, stored.state)], force=True)
            if answer.verdict == "READY":
                self.publish(
                    [WakeUp(ref=stored.ref, wake=answer.detail, spec=stored.spec, attempt=stored.attempts + 1)]
                )
                return JobState.PENDING
        raise _restless(job_id)

    def delete_raw(self, dead_letter_id: str) -> bool:
        """Delete a message that never became a job; return whether there was one."""
        return self._store.unbury(dead_letter_id)

    def delete_failed(self, job_id: JobId) -> bool:
        """Delete a failed job's record and all that names it; return whether there was one."""
        (stored,) = self._records.stored([job_id])
        return (
            stored is not None
            and stored.state == JobState.FAILED
            and self._store.delete(stored.ref, stored.state, force=True).verdict == "DONE"
        )

    def _until_settled(self, job_id: JobId) -> Iterator[Stored]:
        """Yield the record as it is, again while its state changes under the caller; bounded."""
        for _ in range(20):
            yield self._stored(job_id)


def _state(fields: Mapping[str, bytes]) -> str:
    return fields.get("state", b"").decode()


def _left(limit: float | None, longest: float) -> float:
    return longest if limit is None else min(longest, limit - time.monotonic())


def _not_found(job_id: str) -> JobNotFound:
    return JobNotFound(f"there is no job {job_id}: it never existed in this namespace, or its retention has passed")


def _restless(job_id: str) -> StateConflict:
    return StateConflict(f"{job_id} changed its state again and again meanwhile; try once more")


def _outcome(job: Job | None, fields: Mapping[str, bytes], codec: Codec | None) -> Any:
    if job is None:
        data = fields.get("result", b"null")
        return json.loads(data) if codec is None else codec.decode(data)
    if job.state == JobState.CANCELLED:
        raise JobCancelled(f"{job.id} was cancelled: {job.reason}", id=job.id)
    failure = job.failure
    if failure is None:
        raise PayloadError(f"{job.id} failed without a recorded error")
    raise JobFailed(
        f"{job.id} ({job.name}) failed: {failure.type}: {failure.message}",
        id=job.id,
        error_type=failure.type,
        error_message=failure.message,
        remote_traceback=failure.traceback,
    )
