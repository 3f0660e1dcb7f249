"""The verbs of dead letters: list, groups, get, count, replay, replay_all, purge."""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import Iterator
from typing import Any, Final

from dispatch_celery.dlq.filters import DeadLetterFilter
from dispatch_celery.dlq.listing import DeadLetterListing
from dispatch_celery.dlq.model import DeadLetter, DeadLetterGroup, DeadLetterKind
from dispatch_celery.dlq.store import DeadLetterStore
from dispatch_celery.errors import DeadLetterNotFound, StateConflict
from dispatch_celery.ids import DeadLetterId, JobId
from dispatch_celery.jobs.handle import JobHandle
from dispatch_celery.jobs.model import JobRef, JobState, NewJob
from dispatch_celery.jobs.options import check_queue
from dispatch_celery.jobs.records import JobRecords
from dispatch_celery.jobs.service import JobService
from dispatch_celery.jobs.store import JobStore
from dispatch_celery.jobs.writing import JobWriter
from dispatch_celery.store.keys import Keys
from dispatch_celery.store.paging import Page
from dispatch_celery.work.body import refuse_in_body
from dispatch_celery.work.model import WakeUp

__all__ = ["DeadLetterFilter", "DeadLetterService"]

_MANY: Final = 1_000


class DeadLetterService:
    """Everything callers may do with dead letters. Safe for threads."""

    def __init__(
        self,
        *,
        store: DeadLetterStore,
        keys: Keys,
        records: JobRecords,
        jobs: JobService,
        job_store: JobStore,
        writer: JobWriter,
    ) -> None:
        self._store = store
        self._records = records
        self._jobs = jobs
        self._job_store = job_store
        self._writer = writer
        self._listing = DeadLetterListing(store, keys)

    def list(self, *, limit: int = 50, cursor: str | None = None, **filters: Any) -> Page[DeadLetter]:
        """Return one page of dead letters, the latest first. Filters: see ``DeadLetterFilter``."""
        return self._listing.page(DeadLetterFilter.of(filters), limit=limit, cursor=cursor)

    def groups(self, *, limit: int = 50, cursor: str | None = None, **filters: Any) -> Page[DeadLetterGroup]:
        """Return one page of groups of dead letters that share a fingerprint, that of the latest death first.

        By ``name`` and ``fingerprint`` groups are chosen; other filters choose the dead letters that are counted, and
        read all of them.
        """
        return self._listing.groups(DeadLetterFilter.of(filters), limit=limit, cursor=cursor)

    def get(self, id: DeadLetterId | JobId | str) -> DeadLetter:  # noqa: A002 - the word of the whole API
        """Return a dead letter by its own id, or by the id of its job.

        Raises:
            DeadLetterNotFound: there is none: it was purged, or its job was retried.
        """
        if id.startswith("job_"):
            job_id = JobId.parse(id)
            members = [str(job_id)]
        else:
            letter = DeadLetterId.parse(id)
            members = [str(letter.job_id), str(letter)]
        found = [letter for letter in self._store.read(members) if letter is not None]
        if not found:
            raise DeadLetterNotFound(f"there is no dead letter {id}: it was purged, or its job was retried")
        return found[0]

    def count(self, **filters: Any) -> int:
        """Return how many dead letters there are; with filters, how many of them pass."""
        return self._listing.count(DeadLetterFilter.of(filters))

    def _all(self, **filters: Any) -> Iterator[DeadLetter]:
        for page in self._listing.all(DeadLetterFilter.of(filters)):
            yield from page

    def replay(self, id: DeadLetterId | JobId | str, *, queue: str | None = None) -> JobHandle[Any]:  # noqa: A002 - as above
        """Run a dead letter's job again as a new job, linked both ways; a second replay returns the first's.

        If the job was retried meanwhile (``jobs.retry``), that job is returned.

        Raises:
            DeadLetterNotFound: there is none.
            StateConflict: it is a raw message, which has no job to replay.
        """
        refuse_in_body("dispatch.dlq.replay()")
        if queue is not None:
            check_queue(queue)
        job_id = JobId.parse(id) if id.startswith("job_") else DeadLetterId.parse(id).job_id
        (stored,) = self._records.stored([job_id])
        if stored is None:
            letter = self.get(id)
            raise StateConflict(f"{letter.id} is a raw message ({letter.reason}): there is no job to replay")
        if stored.state != JobState.FAILED and not stored.replayed_as:
            return self._jobs.handle(job_id)
        payload = self._records.raw(job_id).get("payload", b"{}")
        spec = {
            key: value for key, value in stored.spec.items() if key not in ("idempotency_key", "celery_id", "canvas")
        }
        spec["replay_of"] = str(job_id)
        old = stored.ref
        ref = JobRef(
            id=JobId.mint(partition=old.id.partition_number),
            name=old.name,
            queue=queue or old.queue,
            priority=old.priority,
            scope=old.scope,
        )
        new = NewJob(ref=ref, spec=spec, payload=payload)
        answer = self._store.replay(job_id, new)
        if answer.verdict == "EXISTING":
            return self._jobs.handle(answer.detail)
        if answer.verdict == "STATE":
            return self._jobs.handle(job_id)
        self._writer.publish([WakeUp(ref=ref, wake="1", spec=spec)])
        return self._jobs.handle(ref.id)

    def replay_all(self, *, limit: int = _MANY, **filters: Any) -> builtins.list[JobHandle[Any]]:
        """Replay the jobs among the dead letters that pass, at most ``limit``, and were not replayed yet."""
        refuse_in_body("dispatch.dlq.replay_all()")
        filters = {"kind": DeadLetterKind.JOB, "replayed": False, **filters}
        handles = []
        for letter in self._all(**filters):
            handles.append(self.replay(letter.id))
            if len(handles) >= limit:
                break
        return handles

    def purge(self, id: DeadLetterId | JobId | str | None = None, **filters: Any) -> int:  # noqa: A002 - as above
        """Delete one dead letter with its record, or all that pass; return how many.

        Raises:
            DeadLetterNotFound: there is none with this id.
        """
        refuse_in_body("dispatch.dlq.purge()")
        letters = [self.get(id)] if id is not None else self._all(**filters)
        return sum(self._purge(letter) for letter in letters)

    def _purge(self, letter: DeadLetter) -> int:
        if letter.job_id is None:
            return int(self._job_store.unbury(letter.id))
        (stored,) = self._records.stored([letter.job_id])
        if stored is None or stored.state != JobState.FAILED:
            return 0
        return int(self._job_store.delete(stored.ref, stored.state, force=True).verdict == "DONE")

    def bury(self, raw: bytes, *, queue: str, reason: str) -> DeadLetterId:
        """Keep a message that never became a job; for the worker's guards."""
        return self._store.bury(raw, queue=queue, reason=reason)

    # -- the same on an event loop, written by .ci/make_twins.py

    async def alist(self, *, limit: int = 50, cursor: str | None = None, **filters: Any) -> Page[DeadLetter]:
        """Do as ``list``, without holding the event loop."""
        return await asyncio.to_thread(self.list, limit=limit, cursor=cursor, **filters)

    async def agroups(self, *, limit: int = 50, cursor: str | None = None, **filters: Any) -> Page[DeadLetterGroup]:
        """Do as ``groups``, without holding the event loop."""
        return await asyncio.to_thread(self.groups, limit=limit, cursor=cursor, **filters)

    async def aget(self, id: DeadLetterId | JobId | str) -> DeadLetter:  # noqa: A002 - the word of the whole API
        """Do as ``get``, without holding the event loop."""
        return await asyncio.to_thread(self.get, id)

    async def acount(self, **filters: Any) -> int:
        """Do as ``count``, without holding the event loop."""
        return await asyncio.to_thread(self.count, **filters)

    async def areplay(self, id: DeadLetterId | JobId | str, *, queue: str | None = None) -> JobHandle[Any]:  # noqa: A002 - the word of the whole API
        """Do as ``replay``, without holding the event loop."""
        return await asyncio.to_thread(self.replay, id, queue=queue)

    async def areplay_all(self, *, limit: int = _MANY, **filters: Any) -> builtins.list[JobHandle[Any]]:
        """Do as ``replay_all``, without holding the event loop."""
        return await asyncio.to_thread(self.replay_all, limit=limit, **filters)

    async def apurge(self, id: DeadLetterId | JobId | str | None = None, **filters: Any) -> int:  # noqa: A002 - the word of the whole API
        """Do as ``purge``, without holding the event loop."""
        return await asyncio.to_thread(self.purge, id, **filters)
