"""Replays: new jobs made out of dead letters, one at a time with edits, or in batches as they died.

Promises: a dead letter is replayed once, whoever asks and however often; the new job and the old one name each other.
Whoever asks for something else than the first replay was is told so. A job whose name nobody knows is refused: its
replay would wait for a worker that there is not.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from dispatch_celery.dlq.model import DeadLetter, ReplayPreview
from dispatch_celery.dlq.pacing import Pace
from dispatch_celery.dlq.store import DeadLetterStore, Replayed
from dispatch_celery.errors import AlreadyReplayed, DeadLetterNotFound, UnknownJob
from dispatch_celery.ids import JobId
from dispatch_celery.jobs.definition import JobDefinition, named_call
from dispatch_celery.jobs.model import JobRef, JobState, NewJob
from dispatch_celery.jobs.records import JobRecords
from dispatch_celery.jobs.service import JobService
from dispatch_celery.jobs.writing import JobWriter, limit_key_of
from dispatch_celery.work.model import WakeUp
from dispatch_celery.work.ports import Observer
from dispatch_celery.work.records import Stored

__all__ = ["Replays", "Request"]

_OWN: Final = ("idempotency_key", "unique", "unique_period", "celery_id", "canvas")
"""What of a job's making is its own, and not its replay's."""
_TRIP_BYTES: Final = 4 * 1024 * 1024

Declared = Callable[[str], JobDefinition[..., Any, Any] | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """How a dead letter is to be replayed; None: as it was."""

    arguments: Mapping[str, Any] | None = None
    queue: str | None = None
    force: bool = False
    """Also if no live worker knows the name."""


class Replays:
    """Makes new jobs out of dead ones. Safe for threads."""

    def __init__(
        self,
        store: DeadLetterStore,
        records: JobRecords,
        jobs: JobService,
        writer: JobWriter,
        observer: Observer,
        declared: Declared,
    ) -> None:
        self._store = store
        self._records = records
        self._jobs = jobs
        self._writer = writer
        self._observer = observer
        self._declared = declared

    def one(self, job_id: JobId, request: Request, *, delay: int | None = None) -> JobId | None:
        """Replay one dead letter, due after a delay in ms (None: at once); return the job that stands for it now.

        None where there is no such job.

        Raises:
            AlreadyReplayed, PayloadError, UnknownJob: see ``DeadLetterService.replay``.
        """
        (stored,) = self._records.stored([job_id])
        if stored is None:
            return None
        if stored.state != JobState.FAILED and not stored.replayed_as:
            return self._instead(job_id, request, Replayed("STATE", stored.state))
        new, edits = self._made(stored, request, delay)
        answer = self._store.replay(job_id, new, edits=edits)
        if answer.verdict == "CREATED":
            self._announce([(new, answer)])
            return JobId(new.ref.id)
        return self._first(job_id, request, answer, edits)

    def preview(self, job_id: JobId, request: Request) -> ReplayPreview | None:
        """Return what ``one`` would do; None where there is no such job.

        Raises:
            AlreadyReplayed, PayloadError, UnknownJob: as ``one`` would.
        """
        (stored,) = self._records.stored([job_id])
        if stored is None:
            return None
        answer = self._store.replayed(job_id)
        if answer.verdict == "STATE":
            self._instead(job_id, request, answer)
        new, edits = self._made(stored, request, None)
        first = None if answer.verdict == "CREATED" else self._first(job_id, request, answer, edits)
        return ReplayPreview(name=new.ref.name, queue=new.ref.queue, arguments=json.loads(new.payload), job_id=first)

    def _made(self, stored: Stored, request: Request, delay: int | None) -> tuple[NewJob, str]:
        """Return the job that a replay writes and a digest of its edits, unless nobody would know its name."""
        (payload,) = self._store.payloads([JobId(stored.ref.id)])
        made = self._new(stored, payload, request, delay)
        if not request.force and stored.state == JobState.FAILED and not stored.replayed_as:
            self._refuse_unknown([stored])
        return made

    def _first(self, job_id: JobId, request: Request, answer: Replayed, edits: str) -> JobId:
        """Return the job of whoever came first; the same edits are the same replay."""
        if edits and answer.verdict == "EXISTING" and answer.further == edits:
            return JobId(answer.detail)
        return self._instead(job_id, request, answer)

    def batch(self, letters: Sequence[DeadLetter], pace: Pace | None, request: Request) -> Batch:
        """Replay some dead letters as they died, due at a pace (None: at once), in few trips."""
        ids = [letter.job_id for letter in letters if letter.job_id is not None]
        found = [one for one in self._records.stored(ids) if one is not None]
        refused = {} if request.force else self._unknown(found)
        chosen = [
            one for one in found if one.ref.id not in refused and (one.state == JobState.FAILED or one.replayed_as)
        ]
        payloads = self._store.payloads([JobId(one.ref.id) for one in chosen])
        jobs: list[JobId] = []
        made = 0
        for trip in _trips(list(zip(chosen, payloads, strict=True))):
            new = [self._new(stored, payload, request) for stored, payload in trip]
            asked = [(JobId(old.ref.id), job, edits) for (old, _), (job, edits) in zip(trip, new, strict=True)]
            answers = self._store.replay_many(asked, pace)
            made_now = zip((job for job, _ in new), answers, strict=True)
            created = [(job, answer) for job, answer in made_now if answer.verdict == "CREATED"]
            self._announce(created)
            made += len(created)
            for (_, job, _), answer in zip(asked, answers, strict=True):
                if answer.verdict != "STATE":
                    jobs.append(JobId(job.ref.id if answer.verdict == "CREATED" else answer.detail))
        return Batch(jobs=jobs, made=made, refused=refused)

    def _new(self, stored: Stored, payload: bytes, request: Request, delay: int | None = None) -> tuple[NewJob, str]:
        """Return the job to be written, and a digest of what it differs in from the dead one."""
        spec = {key: value for key, value in stored.spec.items() if key not in _OWN}
        spec["replay_of"] = str(stored.ref.id)
        old, edits = stored.ref, b""
        if request.arguments is not None:
            call = named_call(old.name, request.arguments, self._declared(old.name), enqueuer=lambda: self._jobs)
            payload, spec["summary"] = call.payload, call.summary
            spec |= limit_key_of(call)
            edits += payload
        if request.queue is not None:
            edits += b"\0" + request.queue.encode()
        ref = JobRef(
            id=JobId.mint(partition=old.id.partition_number),
            name=old.name,
            queue=request.queue or old.queue,
            priority=old.priority,
            scope=old.scope,
        )
        new = NewJob(ref=ref, spec=spec, payload=payload, delay=delay)
        return new, sha256(edits).hexdigest()[:32] if edits else ""

    def _instead(self, job_id: JobId, request: Request, answer: Replayed) -> JobId:
        """Return the job of a replay or retry that came first.

        Raises:
            AlreadyReplayed: something else is asked for now.
            DeadLetterNotFound: it was purged meanwhile.
        """
        if answer.detail == "missing":
            raise DeadLetterNotFound(f"the dead letter of {job_id} was purged meanwhile")
        replayed = answer.verdict == "EXISTING"
        first = JobId(answer.detail) if replayed else job_id
        if request.arguments is None and request.queue is None:
            return first
        how = f"replayed as {first}, with other arguments or into another queue" if replayed else "retried itself"
        raise AlreadyReplayed(
            f"{job_id} was {how}: nothing was done; look at {first}, and enqueue a new job for the edits if need be",
            replayed_as=first,
        )

    def _unknown(self, found: Sequence[Stored]) -> dict[str, str]:
        """Return which of some jobs nobody knows, and what to say of each."""
        asked = [one for one in found if self._declared(one.ref.name) is None]
        known = self._store.known([(one.ref.id, one.ref.name) for one in asked])
        return {
            one.ref.id: f"neither a live worker nor this process knows the job name {one.ref.name!r}"
            for one, is_known in zip(asked, known, strict=True)
            if not is_known
        }

    def _refuse_unknown(self, found: Sequence[Stored]) -> None:
        for job_id, why in self._unknown(found).items():
            raise UnknownJob(
                f"{job_id} is not replayed: {why}. Deploy a worker that does, or pass force=True to let it wait for one"
            )

    def _announce(self, created: Sequence[tuple[NewJob, Replayed]]) -> None:
        """Publish what is ready at once, and tell of every new job."""
        at_once = [job for job, answer in created if answer.is_ready]
        self._writer.publish([WakeUp(ref=job.ref, wake="1", spec=job.spec) for job in at_once])
        for job, _ in created:
            self._observer("enqueued", job.ref)


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What came of one batch: the jobs that stand for them now, how many of those are new, and why some have none."""

    jobs: list[JobId]
    made: int
    refused: Mapping[str, str]


def _trips(jobs: Sequence[tuple[Stored, bytes]]) -> Iterator[list[tuple[Stored, bytes]]]:
    """Yield jobs as they fit into one trip."""
    trip: list[tuple[Stored, bytes]] = []
    size = 0
    for stored, payload in jobs:
        if trip and size + len(payload) > _TRIP_BYTES:
            yield trip
            trip, size = [], 0
        trip.append((stored, payload))
        size += len(payload)
    if trip:
        yield trip
