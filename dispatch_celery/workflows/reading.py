"""What may be asked of runs: one record, its durable calls, its children; pages of many; the end that is waited for."""

from __future__ import annotations

import asyncio
import builtins
from datetime import datetime
from typing import Any

from dispatch_celery.codec import Codec
from dispatch_celery.errors import PromiseNotFound
from dispatch_celery.ids import RunId
from dispatch_celery.scope import Scope
from dispatch_celery.store.paging import Page
from dispatch_celery.workflows.access import RunAccess
from dispatch_celery.workflows.ends import not_found
from dispatch_celery.workflows.listing import RunFilter
from dispatch_celery.workflows.model import PromiseRecord, Run, RunState

__all__ = ["RunReading"]


class RunReading(RunAccess):
    """The verbs that change nothing."""

    def get(self, run_id: RunId | str) -> Run:
        """Return a run's record.

        Raises:
            RunNotFound: it never existed here, or its retention has passed.
        """
        run = self._records.run(RunId.parse(run_id))
        if run is None:
            raise not_found(run_id)
        return run

    def state(self, run_id: RunId | str) -> RunState:
        """Return a run's state."""
        return RunState(self._found(RunId.parse(run_id)).state)

    def timeline(self, run_id: RunId | str, *, previous: bool = False) -> builtins.list[PromiseRecord]:
        """Return every durable call of a run: the resolved ones in the order of their outcomes, then the open ones.

        ``previous``: those of the generation before, which ``rewind`` or ``continue_as_new`` has set aside; of all
        generations only that one is kept.
        """
        self.state(run_id)
        return self._records.timeline(RunId.parse(run_id), previous=previous)

    def inspect(self, run_id: RunId | str, identity: str) -> PromiseRecord:
        """Return one durable call of a run, with its value or its error in full.

        ``identity`` is what the timeline calls it, such as ``charge#1`` or ``undo:charge#1``.

        Raises:
            RunNotFound: as ``get``.
            PromiseNotFound: the run has recorded no such call.
        """
        recorded = {promise.identity: promise for promise in self.timeline(run_id)}
        if identity not in recorded:
            near = ", ".join(builtins.list(recorded)[-5:]) or "none"
            raise PromiseNotFound(f"{run_id} has recorded no durable call {identity!r}; the last ones are: {near}")
        return recorded[identity]

    def children(self, run_id: RunId | str) -> builtins.list[Run]:
        """Return the child runs that a run has started and that are still kept, in the order of their starts."""
        self.state(run_id)
        found = self._records.runs(self._records.children(RunId.parse(run_id)))
        return sorted((run for run in found if run is not None), key=lambda run: run.created_at)

    def list(
        self,
        *,
        state: RunState | str | None = None,
        name: str | None = None,
        queue: str | None = None,
        scope: Scope | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        error: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page[Run]:
        """Return one page of runs, newest first; ``next_cursor`` of a page is the ``cursor`` of the next.

        ``error`` is text in the error's type or message, or in why it is parked, in any case. Filters that no index
        serves sift what is read, so a page may be short and still have a cursor.
        """
        chosen = RunFilter(
            state=state,
            name=name,
            queue=queue,
            scope=scope,
            created_after=created_after,
            created_before=created_before,
            error=error,
        )
        return self._listing.page(chosen, limit=limit, cursor=cursor)

    def count(self, *, state: RunState | str | None = None, name: str | None = None) -> dict[RunState, int]:
        """Return how many runs there are in each state, or in one; of all names, or of one."""
        return self._listing.count(state, name)

    def result_of(self, run_id: RunId, codec: Codec | None, timeout_ms: int | None) -> Any:
        """Wait for a run's end and return its result; see ``RunHandle.result``."""
        return self._ends.wait(run_id, codec, timeout_ms)

    async def aresult_of(self, run_id: RunId, codec: Codec | None, timeout_ms: int | None) -> Any:
        """Do as ``result_of`` on an event loop."""
        return await self._ends.await_(run_id, codec, timeout_ms)

    # -- the same on an event loop, written by .ci/make_twins.py

    async def aget(self, run_id: RunId | str) -> Run:
        """Do as ``get``, without holding the event loop."""
        return await asyncio.to_thread(self.get, run_id)

    async def astate(self, run_id: RunId | str) -> RunState:
        """Do as ``state``, without holding the event loop."""
        return await asyncio.to_thread(self.state, run_id)

    async def atimeline(self, run_id: RunId | str, *, previous: bool = False) -> builtins.list[PromiseRecord]:
        """Do as ``timeline``, without holding the event loop."""
        return await asyncio.to_thread(self.timeline, run_id, previous=previous)

    async def ainspect(self, run_id: RunId | str, identity: str) -> PromiseRecord:
        """Do as ``inspect``, without holding the event loop."""
        return await asyncio.to_thread(self.inspect, run_id, identity)

    async def achildren(self, run_id: RunId | str) -> builtins.list[Run]:
        """Do as ``children``, without holding the event loop."""
        return await asyncio.to_thread(self.children, run_id)

    async def alist(
        self,
        *,
        state: RunState | str | None = None,
        name: str | None = None,
        queue: str | None = None,
        scope: Scope | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        error: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page[Run]:
        """Do as ``list``, without holding the event loop."""
        return await asyncio.to_thread(
            self.list,
            state=state,
            name=name,
            queue=queue,
            scope=scope,
            created_after=created_after,
            created_before=created_before,
            error=error,
            limit=limit,
            cursor=cursor,
        )

    async def acount(self, *, state: RunState | str | None = None, name: str | None = None) -> dict[RunState, int]:
        """Do as ``count``, without holding the event loop."""
        return await asyncio.to_thread(self.count, state=state, name=name)
