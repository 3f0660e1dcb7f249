"""What can be read of cron entries: get, list, upcoming."""

from __future__ import annotations

import asyncio
import builtins
import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from dispatch_celery.clock import from_ms
from dispatch_celery.cron.census import CronCensus
from dispatch_celery.cron.model import CronEntry, CronState, check_name
from dispatch_celery.cron.store import CronStore
from dispatch_celery.cron.timing import Timing
from dispatch_celery.errors import ConfigurationError, CronNotFound, InvalidId, InvalidSchedule
from dispatch_celery.ids import CronId
from dispatch_celery.scope import Scope
from dispatch_celery.store.keys import Keys
from dispatch_celery.store.paging import Page, Pager

__all__ = ["CronReading", "id_of", "not_found"]

logger = logging.getLogger(__name__)

_SHOWN: Final = 5


class CronReading:
    """The verbs that change nothing. An entry is named by its id or its name."""

    def __init__(self, store: CronStore, keys: Keys, timing: Timing) -> None:
        self._store = store
        self._keys = keys
        self._timing = timing
        self._pager = Pager(store.port)

    def get(self, id: CronId | str) -> CronEntry:  # noqa: A002 - as above
        """Return an entry, with its last fires and its next ones.

        Raises:
            CronNotFound: there is none of this id or name.
        """
        (entry,) = self._store.entries([id_of(id)])
        if entry is None:
            raise not_found(id)
        return self._with_next([entry])[0]

    def list(
        self,
        *,
        state: CronState | str | None = None,
        target: str | None = None,
        origin: str | None = None,
        scope: Scope | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page[CronEntry]:
        """Return one page of entries, the newest first. ``target``: the job or workflow; ``origin``: code or api.

        Raises:
            ConfigurationError: there is no such state.
        """
        wanted = None if state is None else _state_of(state)

        def keep(entry: CronEntry) -> bool:
            fits = wanted in (None, entry.state) and target in (None, entry.template.name)
            return fits and origin in (None, entry.origin) and (scope is None or scope.covers(entry.scope))

        page = self._pager.page([self._keys.crons], self._store.entries, keep=keep, limit=limit, cursor=cursor)
        return Page(tuple(self._with_next(page.records)), page.next_cursor)

    def _with_next(self, entries: Sequence[CronEntry]) -> builtins.list[CronEntry]:
        now = from_ms(self._store.time())
        return [replace(entry, next_fires=tuple(self._upcoming(entry, now))) for entry in entries]

    def _upcoming(self, entry: CronEntry, now: datetime) -> builtins.list[datetime]:
        try:
            return self._timing.upcoming(entry, now, _SHOWN)
        except InvalidSchedule as error:  # its kind of schedule is none that this process knows
            logger.debug("%s: %s", entry.name, error)
            return []

    def upcoming(self, id: CronId | str, *, count: int = _SHOWN) -> builtins.list[datetime]:  # noqa: A002 - as above
        """Return the next moments of an entry's schedule, at most a hundred, whether it is enabled or not."""
        entry = self.get(id)
        return self._timing.upcoming(entry, from_ms(self._store.time()), min(max(count, 0), 100))

    def census(self) -> CronCensus:
        """Return how many entries there are and how late they are, in bounded trips: what measures are made of."""
        return self._store.census()

    # -- the same on an event loop, written by .ci/make_twins.py

    async def aget(self, id: CronId | str) -> CronEntry:  # noqa: A002 - the word of the whole API
        """Do as ``get``, without holding the event loop."""
        return await asyncio.to_thread(self.get, id)

    async def alist(
        self,
        *,
        state: CronState | str | None = None,
        target: str | None = None,
        origin: str | None = None,
        scope: Scope | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page[CronEntry]:
        """Do as ``list``, without holding the event loop."""
        return await asyncio.to_thread(
            self.list, state=state, target=target, origin=origin, scope=scope, limit=limit, cursor=cursor
        )

    async def aupcoming(self, id: CronId | str, *, count: int = _SHOWN) -> builtins.list[datetime]:  # noqa: A002 - the word of the whole API
        """Do as ``upcoming``, without holding the event loop."""
        return await asyncio.to_thread(self.upcoming, id, count=count)

    async def acensus(self) -> CronCensus:
        """Do as ``census``, without holding the event loop."""
        return await asyncio.to_thread(self.census)


def id_of(name: CronId | str) -> CronId:
    """Return the id of an entry that is named by its id or its name."""
    try:
        return CronId.parse(name)
    except InvalidId:
        return CronId.adopt(check_name(name))


def not_found(name: CronId | str) -> CronNotFound:
    """Return what is raised where there is no such entry."""
    return CronNotFound(f"there is no cron entry {str(name)!r}: no id or name of one in this namespace")


def _state_of(state: str) -> CronState:
    try:
        return CronState(state)
    except ValueError:
        raise ConfigurationError(f"state must be one of {', '.join(CronState)}, not {state!r}") from None
