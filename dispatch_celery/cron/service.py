"""The verbs of cron entries: register, list, get, enable, disable, trigger, delete."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from dispatch_celery.clock import Duration
from dispatch_celery.cron.definition import CronOptions, Spelled, Target
from dispatch_celery.cron.model import CronEntry, Misfire, Overlap, check_name
from dispatch_celery.cron.reading import CronReading, id_of, not_found
from dispatch_celery.cron.records import Birth
from dispatch_celery.cron.registrar import Registrar
from dispatch_celery.cron.store import CronStore
from dispatch_celery.cron.timing import Timing
from dispatch_celery.errors import CronConflict, StoreUnavailable
from dispatch_celery.ids import CronId, JobId, RunId
from dispatch_celery.scope import Scope
from dispatch_celery.store.keys import Keys
from dispatch_celery.work.body import refuse_in_body
from dispatch_celery.work.model import WakeUp
from dispatch_celery.work.ports import Observer, Publisher
from dispatch_celery.work.upkeep import publish_marked

__all__ = ["CronService"]

logger = logging.getLogger(__name__)

_TRIES: Final = 5


class CronService(CronReading):
    """Everything callers may do with cron entries. Safe for threads.

    An entry is named by its id or its name. Each verb has an ``a`` twin for event loops: the same, without holding the
    loop.
    """

    def __init__(
        self,
        *,
        store: CronStore,
        keys: Keys,
        registrar: Registrar,
        timing: Timing,
        publisher: Publisher,
        observer: Observer,
    ) -> None:
        super().__init__(store, keys, timing)
        self._registrar = registrar
        self._publisher = publisher
        self._observer = observer

    # -- edits

    def register(
        self,
        name: str,
        schedule: Spelled,
        target: Target | str,
        *,
        arguments: Mapping[str, Any] | None = None,
        timezone: str | None = None,
        scope: Scope | None = None,
        misfire: str | Misfire = "once",
        overlap: str | Overlap = Overlap.ALLOW,
        jitter: Duration = 0,
        start: datetime | None = None,
        end: datetime | None = None,
        revision: int | None = None,
    ) -> CronEntry:
        """Register an entry, or edit the one of that name; a whole entry is given each time. Idempotent.

        ``schedule``: five cron fields, or six with the seconds first, ``@hourly`` and kin, ``@every 30s``, or a
        schedule object of Celery. ``target``: a job or workflow, or its name; one that neither this app nor a worker
        declares is taken, for it may be deployed later, and the log warns of it. ``revision``: the one the caller has
        seen; an edit by somebody else since then is a conflict. It fires from its first slot after now; one that has
        come already and waits for its jitter stays, if the new schedule has it, too.

        Raises:
            InvalidSchedule: the schedule, zone or dates cannot be, or would never fire.
            PayloadError: the arguments do not fit the target.
            CronConflict: it was edited meanwhile; nothing was changed.
        """
        refuse_in_body("dispatch.crons.register()")
        options = CronOptions(
            timezone=timezone,
            arguments=arguments,
            scope=scope,
            misfire=misfire,
            overlap=overlap,
            jitter=jitter,
            start=start,
            end=end,
        )
        entry = self._registrar.registration(check_name(name), schedule, target, options)
        doubt = self._registrar.doubt(target)
        verdict, expected, current = self._registrar.edit(entry, revision)
        if verdict == "CONFLICT":
            raise _conflict(name, expected, current)
        if verdict == "STALE":
            raise CronConflict(f"cron entry {name!r} fires faster than it can be edited: disable it first")
        if doubt:
            logger.warning("cron entry %r is registered, but %s", name, doubt)
        return self.get(entry.id)

    def enable(self, id: CronId | str, *, revision: int | None = None) -> CronEntry:  # noqa: A002 - the word of the whole API
        """Let an entry fire again, from its first slot after now. One that was orphaned is the API's from now on.

        Raises:
            CronNotFound: there is none.
            CronConflict: it was edited since ``revision``.
        """
        return self._switch(id, revision, enabled=True)

    def disable(self, id: CronId | str, *, revision: int | None = None) -> CronEntry:  # noqa: A002 - as above
        """Pause an entry; what it has created goes on.

        Raises:
            CronNotFound: there is none.
            CronConflict: it was edited since ``revision``.
        """
        return self._switch(id, revision, enabled=False)

    def _switch(self, cron_id: CronId | str, revision: int | None, *, enabled: bool) -> CronEntry:
        refuse_in_body("dispatch.crons.enable() and disable()")
        for entry in self._looking(cron_id, revision):
            slot: int | None = None
            due: int | None = None
            if enabled:
                slot, due = self._timing.first(entry.id, entry.timetable, self._store.time())
            expected = entry.revision if revision is None else revision
            verdict, current = self._store.enable(entry.id, expected, enabled=enabled, next_slot=slot, next_due=due)
            if verdict in ("DONE", "SAME"):
                return self.get(entry.id)
            if verdict == "CONFLICT" and revision is not None:
                raise _conflict(entry.name, revision, current)
        raise CronConflict(f"cron entry {cron_id} is edited again and again: read it again, and decide anew")

    def delete(self, id: CronId | str, *, revision: int | None = None) -> None:  # noqa: A002 - as above
        """Delete an entry; what it has created goes on. One that code declares comes back when a worker starts.

        Raises:
            CronNotFound: there is none.
            CronConflict: it was edited since ``revision``.
        """
        refuse_in_body("dispatch.crons.delete()")
        cron_id = id_of(id)
        verdict = self._store.delete(cron_id, revision)
        if verdict == "GONE":
            raise not_found(id)
        if verdict == "CONFLICT" and revision is not None:
            raise _conflict(str(id), revision, self.get(cron_id).revision)

    def trigger(self, id: CronId | str) -> JobId | RunId:  # noqa: A002 - as above
        """Run an entry now, whether it is enabled or not; its slots stay as they are. Return the id of what it created.

        ``overlap`` does not hold it back; until it has ended, it holds the slots that follow.

        Raises:
            CronNotFound: there is none.
        """
        refuse_in_body("dispatch.crons.trigger()", "use wf.run_job or wf.run_child of what it calls")
        made: Birth | None = None
        for entry in self._looking(id, None):
            made = Birth.of(entry, None, work_id=None if made is None else made.ref.id)
            wakeup = WakeUp(ref=made.ref, wake="1", spec=made.spec)
            riders = self._publisher.riders([wakeup])
            if riders:
                riders.append(self._store.unmarking([(made.ref.id, "1")]))
            verdict = self._store.trigger(entry, made, riders)
            if verdict == "GONE":
                raise not_found(id)
            if verdict in ("FIRED", "REPEATED"):
                self._told(entry, wakeup, rode=bool(riders))
                return JobId(made.ref.id) if isinstance(made.ref.id, JobId) else RunId(made.ref.id)
        raise CronConflict(f"cron entry {id} is edited again and again: try again")

    def _told(self, entry: CronEntry, wakeup: WakeUp, *, rode: bool) -> None:
        if rode:
            self._publisher.announce([wakeup])
        else:
            try:
                publish_marked(self._store, self._publisher, [wakeup])
            except StoreUnavailable as error:
                logger.warning("%s waits for the broker and will be swept: %s", wakeup.ref.id, error)
        self._observer("enqueued", wakeup.ref)
        facts = {"cron": entry.id, "name": entry.name, "slot": None, "id": wakeup.ref.id, "late": 0.0}
        self._observer("cron_fired", None, **facts)

    def _looking(self, cron_id: CronId | str, revision: int | None) -> Iterator[CronEntry]:
        """Yield an entry as it is now, for a few tries; a caller who names a revision has one."""
        for _ in range(_TRIES if revision is None else 1):
            yield self.get(cron_id)

    # -- the same on an event loop, written by .ci/make_twins.py

    async def aregister(
        self,
        name: str,
        schedule: Spelled,
        target: Target | str,
        *,
        arguments: Mapping[str, Any] | None = None,
        timezone: str | None = None,
        scope: Scope | None = None,
        misfire: str | Misfire = "once",
        overlap: str | Overlap = Overlap.ALLOW,
        jitter: Duration = 0,
        start: datetime | None = None,
        end: datetime | None = None,
        revision: int | None = None,
    ) -> CronEntry:
        """Do as ``register``, without holding the event loop."""
        return await asyncio.to_thread(
            self.register,
            name,
            schedule,
            target,
            arguments=arguments,
            timezone=timezone,
            scope=scope,
            misfire=misfire,
            overlap=overlap,
            jitter=jitter,
            start=start,
            end=end,
            revision=revision,
        )

    async def aenable(self, id: CronId | str, *, revision: int | None = None) -> CronEntry:  # noqa: A002 - the word of the whole API
        """Do as ``enable``, without holding the event loop."""
        return await asyncio.to_thread(self.enable, id, revision=revision)

    async def adisable(self, id: CronId | str, *, revision: int | None = None) -> CronEntry:  # noqa: A002 - the word of the whole API
        """Do as ``disable``, without holding the event loop."""
        return await asyncio.to_thread(self.disable, id, revision=revision)

    async def atrigger(self, id: CronId | str) -> JobId | RunId:  # noqa: A002 - the word of the whole API
        """Do as ``trigger``, without holding the event loop."""
        return await asyncio.to_thread(self.trigger, id)

    async def adelete(self, id: CronId | str, *, revision: int | None = None) -> None:  # noqa: A002 - the word of the whole API
        """Do as ``delete``, without holding the event loop."""
        await asyncio.to_thread(self.delete, id, revision=revision)


def _conflict(name: str, expected: int, current: int) -> CronConflict:
    if not current:
        return CronConflict(f"there is no cron entry {name!r} yet, and you have seen revision {expected} of it")
    return CronConflict(
        f"cron entry {name!r} was edited meanwhile: it is at revision {current}, and you have seen {expected};"
        " nothing was changed: read it again, and decide anew"
    )
