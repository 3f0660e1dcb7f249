"""A choice of dead letters, and what may be done with all of it: look first, then replay, put back or purge.

Promises: work is done in bounded batches, the latest dead letters first; whoever stops in the middle (an exception out
of ``on_progress`` is enough) has done whole batches, and doing it again does only the rest. What dies meanwhile is not
touched. Two that do the same at once share the work: each dead letter is replayed, put back or purged once.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from dispatch_celery.dlq.filters import DeadLetterFilter
from dispatch_celery.dlq.listing import DeadLetterListing
from dispatch_celery.dlq.model import DeadLetter, DeadLetterKind
from dispatch_celery.dlq.pacing import Pace
from dispatch_celery.dlq.purging import Purges
from dispatch_celery.dlq.replaying import Replays, Request
from dispatch_celery.dlq.returning import Returns
from dispatch_celery.errors import ConfigurationError, NotFoundError, StateConflict
from dispatch_celery.ids import JobId
from dispatch_celery.jobs.options import check_queue
from dispatch_celery.work.body import refuse_in_body

__all__ = ["BulkPreview", "BulkProgress", "DeadLetterSelection"]

_BATCH: Final = 100
_TOLD: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkPreview:
    """What would be touched; nothing was changed."""

    count: int
    sample: tuple[DeadLetter, ...]
    """The latest few of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkProgress:
    """How far a bulk operation has come."""

    total: int | None
    """How many passed when it began; None where nobody follows it, and they were not counted."""
    done: int = 0
    """How many were looked at."""
    changed: int = 0
    """How many were replayed, put back or purged by this call; the rest others did meanwhile, or was refused."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Ids of what was refused, and why: the first twenty."""


Follower = Callable[[BulkProgress], object]


class DeadLetterSelection:
    """Dead letters chosen by filters. Nothing is read or changed before one of its verbs is called."""

    def __init__(
        self,
        chosen: DeadLetterFilter,
        *,
        listing: DeadLetterListing,
        replays: Replays,
        purges: Purges,
        returns: Returns,
    ) -> None:
        self._chosen = chosen
        self._listing = listing
        self._replays = replays
        self._purges = purges
        self._returns = returns

    def count(self) -> int:
        """Return how many there are now."""
        return self._listing.count(self._chosen)

    def preview(self, *, sample: int = 5) -> BulkPreview:
        """Return how many there are, and the latest few: the dry run of every verb below."""
        few: list[DeadLetter] = []
        for page in self._listing.all(self._chosen, limit=sample):
            few += page
            if len(few) >= sample:
                break
        return BulkPreview(count=self.count(), sample=tuple(few[:sample]))

    def replay(
        self,
        *,
        limit: int | None = None,
        rate: str | None = None,
        queue: str | None = None,
        force: bool = False,
        on_progress: Follower | None = None,
    ) -> BulkProgress:
        """Replay the jobs among them that were not replayed yet; return what was done.

        ``rate`` (``"10/s"``, ``"300/m"``) spreads the due times of the new jobs, and holds nobody up. It is that of all
        who replay this choice at it: a call that follows goes on behind the last due time.
        ``queue``: another than they had. A job whose name nobody knows is refused and stays, unless ``force``.
        """
        if queue is not None:
            check_queue(queue)
        return self._replay([], limit, rate, Request(queue=queue, force=force), on_progress)

    def replayed(
        self, *, limit: int | None, rate: str | None, on_progress: Follower | None
    ) -> tuple[list[JobId], BulkProgress]:
        """Do as ``replay``; return also the jobs that stand for the dead letters now."""
        jobs: list[JobId] = []
        done = self._replay(jobs, limit, rate, Request(), on_progress)
        return jobs, done

    def _replay(
        self, jobs: list[JobId], limit: int | None, rate: str | None, request: Request, follower: Follower | None
    ) -> BulkProgress:
        refuse_in_body("dispatch.dlq.select().replay()")
        chosen = replace(
            self._chosen,
            kind=self._chosen.kind or DeadLetterKind.JOB,
            replayed=False if self._chosen.replayed is None else self._chosen.replayed,
        )
        pace = None if rate is None else Pace.of(rate, chosen, request.queue)

        def act(letters: Sequence[DeadLetter]) -> tuple[int, Mapping[str, str]]:
            batch = self._replays.batch(letters, pace, request)
            jobs.extend(batch.jobs)
            return batch.made, batch.refused

        return self._each(chosen, act, limit, follower)

    def put_back(
        self, *, limit: int | None = None, force: bool = False, on_progress: Follower | None = None
    ) -> BulkProgress:
        """Put the messages among them that were not put back yet into their queues; return what was done."""
        refuse_in_body("dispatch.dlq.select().put_back()")
        chosen = replace(
            self._chosen,
            kind=self._chosen.kind or DeadLetterKind.MESSAGE,
            replayed=False if self._chosen.replayed is None else self._chosen.replayed,
        )

        def act(letters: Sequence[DeadLetter]) -> tuple[int, Mapping[str, str]]:
            refused: dict[str, str] = {}
            changed = 0
            for letter in letters:
                try:
                    changed += self._returns.put_back(letter, queue=None, force=force)
                except (StateConflict, NotFoundError) as error:
                    refused[letter.id] = str(error)
            return changed, refused

        return self._each(chosen, act, limit, on_progress)

    def purge(self, *, limit: int | None = None, on_progress: Follower | None = None) -> BulkProgress:
        """Delete them with the records of their jobs, for good; return what was done."""
        refuse_in_body("dispatch.dlq.select().purge()")
        return self._each(self._chosen, lambda letters: (self._purges.batch(letters), {}), limit, on_progress)

    def _each(
        self,
        chosen: DeadLetterFilter,
        act: Callable[[Sequence[DeadLetter]], tuple[int, Mapping[str, str]]],
        limit: int | None,
        follower: Follower | None,
    ) -> BulkProgress:
        """Do something with every dead letter that passes, a batch at a time."""
        if limit is not None and limit < 1:
            raise ConfigurationError(f"limit must be at least 1, not {limit}: leave it out for all that pass")
        total = None
        if follower is not None:
            total = self._listing.count(chosen)
            total = total if limit is None else min(total, limit)
        progress = BulkProgress(total=total)
        for letters in self._batches(chosen, limit):
            changed, refused = act(letters)
            told = dict([*progress.refused.items(), *refused.items()][:_TOLD])
            progress = replace(
                progress, done=progress.done + len(letters), changed=progress.changed + changed, refused=told
            )
            if follower is not None:
                follower(progress)
        return progress

    def _batches(self, chosen: DeadLetterFilter, limit: int | None) -> Iterator[list[DeadLetter]]:
        left = math.inf if limit is None else limit
        for page in self._listing.all(chosen, limit=_BATCH):
            letters = list(page) if len(page) <= left else list(page)[: int(left)]
            if letters:
                yield letters
            left -= len(letters)
            if left <= 0:
                return

    # -- the same on an event loop, written by .ci/make_twins.py

    async def acount(self) -> int:
        """Do as ``count``, without holding the event loop."""
        return await asyncio.to_thread(self.count)

    async def apreview(self, *, sample: int = 5) -> BulkPreview:
        """Do as ``preview``, without holding the event loop."""
        return await asyncio.to_thread(self.preview, sample=sample)

    async def areplay(
        self,
        *,
        limit: int | None = None,
        rate: str | None = None,
        queue: str | None = None,
        force: bool = False,
        on_progress: Follower | None = None,
    ) -> BulkProgress:
        """Do as ``replay``, without holding the event loop."""
        return await asyncio.to_thread(
            self.replay, limit=limit, rate=rate, queue=queue, force=force, on_progress=on_progress
        )

    async def aput_back(
        self, *, limit: int | None = None, force: bool = False, on_progress: Follower | None = None
    ) -> BulkProgress:
        """Do as ``put_back``, without holding the event loop."""
        return await asyncio.to_thread(self.put_back, limit=limit, force=force, on_progress=on_progress)

    async def apurge(self, *, limit: int | None = None, on_progress: Follower | None = None) -> BulkProgress:
        """Do as ``purge``, without holding the event loop."""
        return await asyncio.to_thread(self.purge, limit=limit, on_progress=on_progress)
