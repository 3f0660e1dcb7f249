"""Reads stored timetables: what cron expressions are made of, and the kinds of schedule that other rooms bring."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from dispatch_celery.clock import from_ms
from dispatch_celery.cron.model import CronEntry, Timetable
from dispatch_celery.cron.schedule import Reader, Window

__all__ = ["Timing"]


class Timing:
    """Turns timetables into the moments they name."""

    def __init__(self, readers: Mapping[str, Reader] | None = None) -> None:
        self._readers = dict(readers or {})

    def window(self, timetable: Timetable) -> Window:
        """Return the schedule of a timetable, within its dates.

        Raises:
            InvalidSchedule: it is none that this process can read.
        """
        return timetable.window(self._readers)

    def first(
        self, cron_id: str, timetable: Timetable, now: int, *, pending: int | None = None
    ) -> tuple[int | None, int | None]:
        """Return the first slot after a moment, and when it is to be fired; or the pending one, if it is one."""
        window = self.window(timetable)
        keeps = pending is not None and window.after(pending - 1) == pending
        slot = pending if keeps else window.after(now)
        return slot, None if slot is None else timetable.due(cron_id, slot)

    def upcoming(self, entry: CronEntry, moment: datetime, count: int) -> list[datetime]:
        """Return the next moments of an entry's schedule after one."""
        window = self.window(entry.timetable)
        found: list[datetime] = []
        at: int | None = int(moment.timestamp() * 1000)
        while len(found) < count and at is not None and (at := window.after(at)) is not None:
            found.append(from_ms(at))
        return found
