"""Makes jobs out of calls, writes them, and publishes their wake-ups: the way in, for one job and for thousands."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any, Final

from dispatch_celery.clock import to_ms
from dispatch_celery.errors import (
    ConfigurationError,
    DispatchError,
    IdempotencyConflict,
    JobNotUnique,
    StoreUnavailable,
)
from dispatch_celery.ids import JobId
from dispatch_celery.jobs.catalogue import Catalogue
from dispatch_celery.jobs.definition import Call
from dispatch_celery.jobs.model import JobRef, JobState, NewJob
from dispatch_celery.jobs.options import StoredRetry
from dispatch_celery.jobs.store import JobStore
from dispatch_celery.jobs.unique import Unique
from dispatch_celery.scope import current_scope
from dispatch_celery.work import spans
from dispatch_celery.work.model import SCHEMA, WakeUp
from dispatch_celery.work.ports import Observer, Publisher

__all__ = ["JobWriter", "limit_key_of"]

logger = logging.getLogger(__name__)

_BATCH: Final = 500
_BATCH_BYTES: Final = 4 * 1024 * 1024
"""What is written in one trip at most: some milliseconds of the server's time."""
_REMEMBERED: Final = 10_000
_TRIES: Final = 20


class JobWriter:
    """Writes and publishes. Safe for threads."""

    def __init__(
        self,
        *,
        store: JobStore,
        publisher: Publisher,
        observer: Observer,
        catalogue: Catalogue,
        default_queue: str,
    ) -> None:
        self._store = store
        self._publisher = publisher
        self._observer = observer
        self._catalogue = catalogue
        self._default_queue = default_queue
        self._limited: set[tuple[str, str]] = set()

    def enqueue(self, calls: Iterable[Call[Any]]) -> list[JobId]:
        """Write and publish calls in bounded batches; return the jobs' ids in order."""
        return [job_id for batch in _batches(calls) for job_id in self.write([self.new_job(call) for call in batch])]

    def new_job(
        self, call: Call[Any], *, job_id: JobId | None = None, extra: Mapping[str, Any] | None = None
    ) -> NewJob:
        """Return what would be written for a call; its id is minted here, so writing it twice is one job."""
        options = call.options
        spec: dict[str, Any] = {"schema": SCHEMA, "summary": call.summary}
        tenant = current_scope().path
        if tenant:
            spec["scope"] = tenant
        if extra:
            spec |= extra
        spec |= limit_key_of(call)
        unique = None if "parent" in spec else options.unique or call.definition.unique
        if unique is not None:
            spec |= _uniqueness(unique, call)
        queue, priority = self._lane(call)
        if options.is_empty and unique is None:
            ref = JobRef(
                id=job_id or JobId.mint(), name=call.definition.name, queue=queue, priority=priority, scope=tenant
            )
            spans.made(ref, spec)
            return NewJob(ref=ref, spec=spec, payload=call.payload)
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
            name=call.definition.name,
            queue=queue,
            priority=priority,
            scope=tenant,
            idempotency_key=options.idempotency_key or "",
            unique=spec.get("unique", ""),
        )
        spans.made(ref, spec)
        return NewJob(
            ref=ref,
            spec=spec,
            payload=call.payload,
            delay=options.delay_ms,
            run_at=options.run_at_ms,
            expires=options.expires_ms,
            digest=_digest(call, unique),
            unique=unique,
        )

    def _lane(self, call: Call[Any]) -> tuple[str, int]:
        """Return queue and priority: the call's, else the declaration's, else what the job's own workers say."""
        definition, options = call.definition, call.options
        queue = options.queue or definition.queue
        priority = definition.priority if options.priority is None else options.priority
        if queue is None and definition.is_remote:
            entry = self._catalogue.get(definition.name)
            if entry is not None:
                queue = entry.queue
                priority = entry.priority if options.priority is None else priority
        return queue or self._default_queue, priority

    def is_heard_of(self, name: str) -> bool:
        """Return whether a worker has ever published what it declares under a name; remembered for a while."""
        return self._catalogue.get(name) is not None

    def write(self, jobs: Sequence[NewJob]) -> list[JobId]:
        """Write jobs and publish their wake-ups; return the ids under which they are found.

        Raises:
            IdempotencyConflict: a key is used with another payload. The batch's other jobs are written.
            StoreUnavailable: no answer; each job is written whole or not at all.
        """
        at_once = {
            job.ref.id: WakeUp(ref=job.ref, wake="1", spec=job.spec)
            for job in jobs
            if job.delay is None and job.run_at is None and (job.ref.name, job.ref.queue) not in self._limited
        }
        riders = self._publisher.riders(list(at_once.values()))
        if riders:
            riders.append(self._store.unmarking([(job_id, "1") for job_id in at_once]))
        ids: list[JobId] = []
        published: list[WakeUp] = []
        unpublished: list[WakeUp] = []
        refused: DispatchError | None = None
        for job, reply in zip(jobs, self._store.enqueue(jobs, riders), strict=True):
            try:
                ids.append(self._id_of(job, reply))
            except DispatchError as error:
                refused = refused or error
                continue
            verdict = reply[0]
            if verdict == "CREATED":
                if reply[1] != JobState.SCHEDULED:
                    self._learn(job.ref, limited=reply[1] == JobState.LIMITED)
                if reply[1] == JobState.PENDING:
                    wakeup = at_once.get(job.ref.id)
                    (published if riders and wakeup else unpublished).append(
                        wakeup or WakeUp(ref=job.ref, wake="1", spec=job.spec)
                    )
                self._told(job.ref, reply[1])
        self._publisher.announce(published)
        self.publish(unpublished)
        if refused is not None:
            raise refused
        return ids

    def _id_of(self, job: NewJob, reply: Any) -> JobId:
        """Return the id under which a job is found, by what its script answered.

        Raises:
            DispatchError: it was not stored.
        """
        if isinstance(reply, DispatchError):
            raise reply
        if reply[0] == "CONFLICT":
            raise _conflict(job, reply[1])
        if reply[0] != "EXISTING":
            return job.ref.id
        other = JobId(reply[1])
        return other if job.unique is None else self._beside(job, job.unique, other)

    def _beside(self, job: NewJob, unique: Unique, other: JobId) -> JobId:
        """Return the job that is to be the one of its kind, where there is another already.

        Raises:
            JobNotUnique: there may be no second.
        """
        if unique.on_conflict == "first":
            return other
        if unique.on_conflict == "reject":
            until = "until it has ended" if unique.period_ms is None else f"within {unique.period_ms / 1000:g} s"
            raise JobNotUnique(
                f"{other} is the one of its kind of {job.ref.name} {until}: a second one was not stored;"
                " the others of a batch were",
                existing_id=other,
            )
        for _ in range(_TRIES):
            if self._store.replace(other, job).verdict == "DONE":
                return other
            verdict, *rest = self._store.enqueue_after(job, other)
            if verdict != "EXISTING":
                if rest[0] == JobState.PENDING:
                    self.publish([WakeUp(ref=job.ref, wake="1", spec=job.spec)])
                self._told(job.ref, rest[0])
                return job.ref.id
            other = JobId(rest[0])
        raise JobNotUnique(f"others of {job.ref.name} come and go too fast: try again", existing_id=other)

    def _told(self, ref: JobRef, state: str) -> None:
        """Tell of a new job; what it waits for, the script that wrote it does not say."""
        self._observer("enqueued", ref)
        if state == JobState.LIMITED:
            self._observer("limited", ref, limit="")

    def _learn(self, ref: JobRef, *, limited: bool) -> None:
        """Remember which jobs a limit held back last: their wake-ups do not ride with the script that writes them."""
        lane = (ref.name, ref.queue)
        if not limited:
            self._limited.discard(lane)
        elif len(self._limited) < _REMEMBERED:
            self._limited.add(lane)

    def publish(self, wakeups: Sequence[WakeUp]) -> None:
        """Publish wake-ups and clear their marks. A broker that is away keeps the marks: they are swept later."""
        if not wakeups:
            return
        try:
            self._publisher.publish(wakeups)
            self._store.clear_marks([(wakeup.ref.id, wakeup.wake) for wakeup in wakeups])
        except StoreUnavailable as error:
            logger.warning("%d wake-ups wait for the broker and will be swept: %s", len(wakeups), error)


def _batches(calls: Iterable[Call[Any]]) -> Iterator[list[Call[Any]]]:
    batch: list[Call[Any]] = []
    size = 0
    for call in calls:
        if batch and (len(batch) == _BATCH or size + len(call.payload) > _BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(call)
        size += len(call.payload)
    if batch:
        yield batch


def _uniqueness(unique: Unique, call: Call[Any]) -> dict[str, Any]:
    key = unique.key_of(call.definition.name, call.payload)
    return {"unique": key} | ({} if unique.period_ms is None else {"unique_period": unique.period_ms})


def _digest(call: Call[Any], unique: Unique | None) -> str:
    if unique is not None:
        return "unique"
    return sha256(call.payload).hexdigest()[:32] if call.options.idempotency_key is not None else ""


def limit_key_of(call: Call[Any]) -> dict[str, str]:
    """Return what a limit tells the job apart by, as its declaration says and its record keeps it.

    Raises:
        ConfigurationError: the function raised, or returned no text.
    """
    name, function = call.definition.name, call.definition.limit_key
    if function is None:
        return {}
    try:
        key = function(json.loads(call.payload))
    except Exception as error:
        raise ConfigurationError(f"limit_key of {name} raised {type(error).__name__}: {error}") from error
    if not isinstance(key, str):
        raise ConfigurationError(f"limit_key of {name} must return text, not {key!r}")
    return {"limit_key": key}


def _conflict(job: NewJob, existing: str) -> IdempotencyConflict:
    return IdempotencyConflict(
        f"idempotency key {job.ref.idempotency_key!r} of {job.ref.name} belongs to {existing} with another"
        " payload: use another key, or the same payload",
        existing_id=existing,
        refused_id=job.ref.id,
    )
