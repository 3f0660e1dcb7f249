"""Makes entries out of what code declares and callers give, and registers those of code when a process starts."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, Final

from dispatch_celery.cron.definition import CronDeclarations, CronOptions, Declared, Spelled, Target
from dispatch_celery.cron.model import Misfire, Overlap
from dispatch_celery.cron.records import Registration
from dispatch_celery.cron.store import CronStore, Standing
from dispatch_celery.cron.templates import Templates
from dispatch_celery.cron.timing import Timing
from dispatch_celery.errors import DispatchError, InvalidSchedule, StoreUnavailable
from dispatch_celery.ids import CronId
from dispatch_celery.scope import Scope
from dispatch_celery.store.scripts import Call

__all__ = ["Registrar"]

logger = logging.getLogger(__name__)

_BATCH: Final = 500
_TRIES: Final = 5
"""Edits of one entry, each of which meets another slot than it has seen."""


class Registrar:
    """The way in for entries."""

    def __init__(
        self,
        store: CronStore,
        templates: Templates,
        timing: Timing,
        declarations: CronDeclarations,
        *,
        spell: Callable[[Spelled], str],
        default_zone: Callable[[], str],
        grace: int,
    ) -> None:
        self._store = store
        self._templates = templates
        self._timing = timing
        self._declarations = declarations
        self._spell = spell
        self._default_zone = default_zone
        self._grace = grace

    def registration(self, name: str, schedule: Spelled, target: Target | str, options: CronOptions) -> Registration:
        """Return an entry to write; its arguments are bound and checked.

        Raises:
            InvalidSchedule: its schedule, zone or dates cannot be, or would never fire.
            PayloadError: its arguments do not fit.
        """
        timetable = options.timetable(self._spell(schedule), self._default_zone())
        self._timing.window(timetable).check()
        return Registration(
            name=name,
            timetable=timetable,
            template=self._templates.make(target, options.arguments or {}, options.scope or Scope()),
            misfire=Misfire.parse(options.misfire),
            overlap=Overlap(options.overlap),
        )

    def doubt(self, target: Target | str) -> str:
        """Return what is to be said of a target that nobody declares so far; empty of any other."""
        return self._templates.doubt(target)

    def declare(self) -> int:
        """Register what this app's code declares; return how many entries were written. Idempotent.

        What code has declared before stays as people have edited it since; a changed declaration is an edit.
        """
        entries = [entry for one in self._declarations if (entry := self._declared(one)) is not None]
        written = 0
        for at in range(0, len(entries), _BATCH):
            written += self._declare(entries[at : at + _BATCH])
        return written

    def _declared(self, one: Declared) -> Registration | None:
        try:
            return self.registration(one.name, one.schedule, one.target, one.options)
        except StoreUnavailable:
            raise
        except DispatchError:  # the others are registered all the same, and the worker works
            logger.exception("the cron entry %r, which code declares, cannot be registered", one.name)
            return None

    def edit(self, entry: Registration, revision: int | None) -> tuple[str, int, int]:
        """Write an entry for somebody who has seen a revision of it; return the verdict, that revision, and what it is.

        Raises:
            InvalidSchedule: it names no moment from now on.
        """
        verdict, expected, current = "STALE", 0, 0
        for _ in range(_TRIES):
            now, (stands,) = self._store.time(), self._store.standing([entry.id])
            expected = stands.revision if revision is None else revision
            call = self._registering(entry, stands, now, expected=expected)
            ((verdict, current),) = self._store.registered([call])
            if verdict != "STALE":
                break
        return verdict, expected, current

    def _declare(self, entries: Sequence[Registration]) -> int:
        written, left = 0, list(entries)
        for _ in range(_TRIES):
            now, standing = self._store.time(), self._store.standing([one.id for one in left])
            pairs = [
                (entry, stands)
                for entry, stands in zip(left, standing, strict=True)
                if stands.declaration != entry.fingerprint or stands.is_orphaned
            ]
            calls = [self._registering(entry, stands, now, is_declared=True) for entry, stands in pairs]
            verdicts = self._store.registered(calls)
            left = [entry for (entry, _), (verdict, _) in zip(pairs, verdicts, strict=True) if verdict == "STALE"]
            written += len(pairs) - len(left)
            if not left:
                break
        self._store.touch([entry.id for entry in entries])
        return written

    def _registering(self, entry: Registration, stands: Standing, now: int, **options: Any) -> Call:
        pending = stands.pending(now, self._grace)
        slot, due = self._timing.first(entry.id, entry.timetable, now, pending=pending)
        if slot is None and not options.get("is_declared"):
            raise InvalidSchedule(f"{entry.name}: {entry.timetable.schedule!r} names no moment from now on")
        return self._store.registering(entry, next_slot=slot, next_due=due, seen=stands.next_slot, **options)

    def touch(self) -> None:
        """Say that a live process declares this app's entries; one that was orphaned meanwhile goes on."""
        ids = [CronId.adopt(one.name) for one in self._declarations]
        if ids:
            self._store.touch(ids)
            if any(one.is_orphaned for one in self._store.standing(ids)):
                self.declare()
