"""The verbs of dead letters: list, groups, get, count, note, select, preview, replay, replay_all, put_back, purge."""

from __future__ import annotations

import asyncio
import builtins
import getpass
from collections.abc import Callable, Mapping
from typing import Any, Final

from dispatch_celery.clock import Duration, to_ms
from dispatch_celery.dlq.filters import DeadLetterFilter
from dispatch_celery.dlq.listing import DeadLetterListing
from dispatch_celery.dlq.model import DeadLetter, DeadLetterOrigin, ReplayPreview
from dispatch_celery.dlq.purging import Purges
from dispatch_celery.dlq.reading import DeadLetterReading, gone
from dispatch_celery.dlq.replaying import Replays, Request
from dispatch_celery.dlq.returning import Returns
from dispatch_celery.dlq.selection import BulkProgress, DeadLetterSelection
from dispatch_celery.dlq.store import DeadLetterStore
from dispatch_celery.errors import ConfigurationError, StateConflict
from dispatch_celery.ids import DeadLetterId, JobId, mint_nonce
from dispatch_celery.jobs.handle import JobHandle
from dispatch_celery.jobs.options import check_duration, check_queue
from dispatch_celery.jobs.service import JobService
from dispatch_celery.work.body import refuse_in_body

__all__ = ["DeadLetterService"]

_MANY: Final = 1_000
_LONGEST_NOTE: Final = 2_000
_LONGEST_NAME: Final = 100


class DeadLetterService(DeadLetterReading):
    """Everything callers may do with dead letters. Safe for threads."""

    def __init__(
        self,
        *,
        store: DeadLetterStore,
        jobs: JobService,
        listing: DeadLetterListing,
        replays: Replays,
        purges: Purges,
        returns: Returns,
    ) -> None:
        super().__init__(store, listing)
        self._jobs = jobs
        self._replays = replays
        self._purges = purges
        self._returns = returns

    def note(self, id: DeadLetterId | JobId | str, text: str, *, by: str | None = None) -> DeadLetter:  # noqa: A002 - as above
        """Write a note on a dead letter; return it with its notes. The twenty latest are kept.

        ``by``: who says so; by default the user of this process. It stays with the record when the job is retried.

        Raises:
            DeadLetterNotFound: there is none.
            ConfigurationError: the note says nothing, or is longer than 2,000 characters.
        """
        refuse_in_body("dispatch.dlq.note()")
        said = text.strip()
        if not 0 < len(said) <= _LONGEST_NOTE:
            raise ConfigurationError(f"a note has 1 to {_LONGEST_NOTE:,} characters, not {len(said):,}")
        letter = self.get(id)
        member = str(letter.job_id or letter.id)
        if (
            self._store.note(member, mint_nonce(), (user_name() if by is None else by)[:_LONGEST_NAME], said)
            == "MISSING"
        ):
            raise gone(id)
        return self.get(id)

    def select(self, **filters: Any) -> DeadLetterSelection:
        """Return the dead letters that pass, to preview, replay or purge all of them. Nothing is read yet."""
        chosen = DeadLetterFilter.of(filters)
        return DeadLetterSelection(
            chosen, listing=self._listing, replays=self._replays, purges=self._purges, returns=self._returns
        )

    def replay(
        self,
        id: DeadLetterId | JobId | str,  # noqa: A002 - as above
        *,
        arguments: Mapping[str, Any] | None = None,
        queue: str | None = None,
        delay: Duration | None = None,
        force: bool = False,
    ) -> JobHandle[Any]:
        """Run a dead letter's job again as a new job, linked both ways; a second replay returns the first's.

        ``arguments``: all of the new job's, by name, instead of the dead one's; checked against the declaration where
        this process has it, else by the worker. ``delay``: seconds until the new job is due. ``force``: also if no
        live worker has known the name; the new job waits for one. If the job was retried meanwhile (``jobs.retry``),
        that job is returned.

        Raises:
            AlreadyReplayed: it was, and not with these edits; the error names the job.
            DeadLetterNotFound: there is none.
            PayloadError: the arguments do not fit.
            StateConflict: it is a raw message, which has no job to replay.
            UnknownJob: neither a live worker nor this process knows the job's name.
        """
        refuse_in_body("dispatch.dlq.replay()")
        job_id, request = self._request(id, arguments, queue, delay, force=force)
        found = self._replays.one(job_id, request, delay=None if delay is None else to_ms(delay) or None)
        if found is None:
            raise self._no_job(id)
        return self._jobs.handle(found)

    def preview(
        self,
        id: DeadLetterId | JobId | str,  # noqa: A002 - as above
        *,
        arguments: Mapping[str, Any] | None = None,
        queue: str | None = None,
        delay: Duration | None = None,
        force: bool = False,
    ) -> ReplayPreview:
        """Return what ``replay`` would make of the same words, and change nothing: its dry run.

        Raises:
            DispatchError: whatever ``replay`` would raise, as things stand.
        """
        job_id, request = self._request(id, arguments, queue, delay, force=force)
        found = self._replays.preview(job_id, request)
        if found is None:
            raise self._no_job(id)
        return found

    @staticmethod
    def _request(
        name: str, arguments: Mapping[str, Any] | None, queue: str | None, delay: Duration | None, *, force: bool
    ) -> tuple[JobId, Request]:
        """Return the job that would be replayed, and how, once the words for it are such as can be."""
        if queue is not None:
            check_queue(queue)
        check_duration("delay", delay)
        job_id = JobId.parse(name) if name.startswith("job_") else DeadLetterId.parse(name).job_id
        return job_id, Request(arguments=arguments, queue=queue, force=force)

    def _no_job(self, name: str) -> StateConflict:
        letter = self.get(name)
        return StateConflict(
            f"{letter.id} is a raw message ({letter.reason}): put it back into its queue (dlq.put_back)"
        )

    def put_back(self, id: DeadLetterId | str, *, queue: str | None = None, force: bool = False) -> DeadLetter:  # noqa: A002 - as above
        """Put a message that never became a job back into its queue, as it came, once; return its dead letter.

        For what was unknown or unreadable before a deploy. ``queue``: another than it came from. ``force``: also if it
        was, or may have been, put back before. The dead letter stays until it is purged.

        Raises:
            DeadLetterNotFound: there is none.
            StateConflict: it is a job; it may have been put back already; or it was not kept whole.
            StoreUnavailable: the broker does not answer.
        """
        refuse_in_body("dispatch.dlq.put_back()")
        if queue is not None:
            check_queue(queue)
        letter = self.get(id)
        self._returns.put_back(letter, queue=queue, force=force)
        return self.get(id)

    def replay_all(
        self,
        *,
        limit: int = _MANY,
        rate: str | None = None,
        on_progress: Callable[[BulkProgress], object] | None = None,
        **filters: Any,
    ) -> builtins.list[JobHandle[Any]]:
        """Replay the jobs among the dead letters that pass, at most ``limit``, and were not replayed yet.

        Do as ``select(...).replay()``, which also says what was refused; return the jobs.
        """
        refuse_in_body("dispatch.dlq.replay_all()")
        jobs, _ = self.select(**filters).replayed(limit=limit, rate=rate, on_progress=on_progress)
        return [self._jobs.handle(job_id) for job_id in jobs]

    def purge(self, id: DeadLetterId | JobId | str | None = None, **filters: Any) -> int:  # noqa: A002 - as above
        """Delete one dead letter with its record, or all that pass; return how many.

        Raises:
            DeadLetterNotFound: there is none with this id.
        """
        refuse_in_body("dispatch.dlq.purge()")
        if id is None:
            return self.select(**filters).purge().changed
        if filters:
            raise ConfigurationError("purge takes the id of one dead letter, or filters, not both")
        return self._purges.batch([self.get(id)])

    def bury(
        self,
        raw: bytes,
        *,
        queue: str,
        reason: str,
        name: str = "",
        origin: DeadLetterOrigin = DeadLetterOrigin.MESSAGE,
    ) -> DeadLetterId:
        """Keep a message that never became a job; for the worker's guards."""
        return self._store.bury(raw, queue=queue, reason=reason, name=name, origin=origin)

    # -- the same on an event loop, written by .ci/make_twins.py

    async def anote(self, id: DeadLetterId | JobId | str, text: str, *, by: str | None = None) -> DeadLetter:  # noqa: A002 - the word of the whole API
        """Do as ``note``, without holding the event loop."""
        return await asyncio.to_thread(self.note, id, text, by=by)

    async def areplay(
        self,
        id: DeadLetterId | JobId | str,  # noqa: A002 - the word of the whole API
        *,
        arguments: Mapping[str, Any] | None = None,
        queue: str | None = None,
        delay: Duration | None = None,
        force: bool = False,
    ) -> JobHandle[Any]:
        """Do as ``replay``, without holding the event loop."""
        return await asyncio.to_thread(self.replay, id, arguments=arguments, queue=queue, delay=delay, force=force)

    async def apreview(
        self,
        id: DeadLetterId | JobId | str,  # noqa: A002 - the word of the whole API
        *,
        arguments: Mapping[str, Any] | None = None,
        queue: str | None = None,
        delay: Duration | None = None,
        force: bool = False,
    ) -> ReplayPreview:
        """Do as ``preview``, without holding the event loop."""
        return await asyncio.to_thread(self.preview, id, arguments=arguments, queue=queue, delay=delay, force=force)

    async def areplay_all(
        self,
        *,
        limit: int = _MANY,
        rate: str | None = None,
        on_progress: Callable[[BulkProgress], object] | None = None,
        **filters: Any,
    ) -> builtins.list[JobHandle[Any]]:
        """Do as ``replay_all``, without holding the event loop."""
        return await asyncio.to_thread(self.replay_all, limit=limit, rate=rate, on_progress=on_progress, **filters)

    async def aput_back(self, id: DeadLetterId | str, *, queue: str | None = None, force: bool = False) -> DeadLetter:  # noqa: A002 - the word of the whole API
        """Do as ``put_back``, without holding the event loop."""
        return await asyncio.to_thread(self.put_back, id, queue=queue, force=force)

    async def apurge(self, id: DeadLetterId | JobId | str | None = None, **filters: Any) -> int:  # noqa: A002 - the word of the whole API
        """Do as ``purge``, without holding the event loop."""
        return await asyncio.to_thread(self.purge, id, **filters)


def user_name() -> str:
    """Return who runs this process, for notes; empty where the system does not say."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return ""
