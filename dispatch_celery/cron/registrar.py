"""Makes entries out of what code declares and callers give, and registers those of code when a process starts."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Final

from dispatch_celery.cron.definition import CronDeclarations, CronOptions, Declared, Spelled, Target
from dispatch_celery.cron.model import Misfire, Overlap
from dispatch_celery.cron.records import Registration
from dispatch_celery.cron.store import CronStore
from dispatch_celery.cron.templates import Templates
from dispatch_celery.cron.timing import Timing
from dispatch_celery.errors import DispatchError, StoreUnavailable
from dispatch_celery.ids import CronId
from dispatch_celery.scope import Scope

__all__ = ["Registrar"]

logger = logging.getLogger(__name__)

_BATCH: Final = 500


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
    ) -> None:
        self._store = store
        self._templates = templates
        self._timing = timing
        self._declarations = declarations
        self._spell = spell
        self._default_zone = default_zone

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

    def _declare(self, entries: Sequence[Registration]) -> int:
        now, calls = self._store.time(), []
        for entry, (declaration, orphaned) in zip(
            entries, self._store.declared([one.id for one in entries]), strict=True
        ):
            if declaration == entry.fingerprint and not orphaned:
                continue
            slot, due = self._timing.first(entry.id, entry.timetable, now)
            calls.append(self._store.registering(entry, next_slot=slot, next_due=due, is_declared=True))
        self._store.registered(calls)
        self._store.touch([entry.id for entry in entries])
        return len(calls)

    def touch(self) -> None:
        """Say that a live process declares this app's entries; one that was orphaned meanwhile goes on."""
        ids = [CronId.adopt(one.name) for one in self._declarations]
        if ids:
            self._store.touch(ids)
            if any(orphaned for _, orphaned in self._store.declared(ids)):
                self.declare()
