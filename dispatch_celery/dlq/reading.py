"""What can be read of dead letters: list, groups, get, count."""

from __future__ import annotations

import asyncio
from typing import Any

from dispatch_celery.dlq.filters import DeadLetterFilter
from dispatch_celery.dlq.listing import DeadLetterListing
from dispatch_celery.dlq.model import DeadLetter, DeadLetterGroup
from dispatch_celery.dlq.store import DeadLetterStore
from dispatch_celery.errors import DeadLetterNotFound
from dispatch_celery.ids import DeadLetterId, JobId
from dispatch_celery.store.paging import Page

__all__ = ["DeadLetterReading", "gone"]


class DeadLetterReading:
    """The verbs that change nothing."""

    def __init__(self, store: DeadLetterStore, listing: DeadLetterListing) -> None:
        self._store = store
        self._listing = listing

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
            raise gone(id)
        return found[0]

    def count(self, **filters: Any) -> int:
        """Return how many dead letters there are; with filters, how many of them pass."""
        return self._listing.count(DeadLetterFilter.of(filters))

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

    # -- the same on an event loop, written by .ci/make_twins.py


def gone(letter_id: str) -> DeadLetterNotFound:
    """Return what is raised where there is no such dead letter."""
    return DeadLetterNotFound(f"there is no dead letter {letter_id}: it was purged, or its job was retried")
