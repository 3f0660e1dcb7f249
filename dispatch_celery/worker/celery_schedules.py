"""Celery's schedule objects as cron entries have them: ``crontab`` and ``schedule`` become ours, ``solar`` is asked.

What is stored is text, so that any process can read it. A subclass of somebody else's is no such text; it stays where
it works, in ``beat_schedule``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Any, Final

from celery.exceptions import ImproperlyConfigured
from celery.schedules import crontab, schedule, solar

from dispatch_celery.clock import from_ms
from dispatch_celery.cron.definition import Spelled
from dispatch_celery.cron.schedule import Interval, Reader, Schedule
from dispatch_celery.errors import InvalidSchedule

__all__ = ["READERS", "Solar", "spell"]

_DAY: Final = 86_400_000
_FARTHEST: Final = 400 * _DAY


def spell(value: Spelled) -> str:
    """Return a schedule as text.

    Raises:
        InvalidSchedule: it is of no kind that can be stored.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, timedelta):
        return _every(value)
    given: Any = value
    if type(given) is crontab:
        return _crontab(given)
    if type(given) is solar:
        return f"solar {given.event} {given.lat} {given.lon}"
    if type(given) is schedule:
        return _every(given.run_every)
    if isinstance(value, Schedule):
        return value.text
    raise InvalidSchedule(
        f"a schedule is a cron expression, a timedelta, or Celery's crontab, schedule or solar, not {value!r};"
        " any other object of Celery's works in beat_schedule"
    )


def _every(interval: timedelta) -> str:
    if interval % timedelta(seconds=1):
        raise InvalidSchedule(f"an interval is whole seconds, not {interval.total_seconds()}")
    return Interval(seconds=int(interval.total_seconds())).text


def _crontab(value: Any) -> str:
    fields = (
        (value._orig_minute, value.minute, 60, 0),  # noqa: SLF001 - the only place where Celery keeps what was written
        (value._orig_hour, value.hour, 24, 0),  # noqa: SLF001 - as above
        (value._orig_day_of_month, value.day_of_month, 31, 1),  # noqa: SLF001 - as above
        (value._orig_month_of_year, value.month_of_year, 12, 1),  # noqa: SLF001 - as above
        (value._orig_day_of_week, value.day_of_week, 7, 0),  # noqa: SLF001 - as above
    )
    return "crontab " + " ".join(_field(*field) for field in fields)


def _field(written: Any, values: set[int], size: int, first: int) -> str:
    """Return a field as cron has it; one that begins with a star is an interval, and has to go on being one."""
    if isinstance(written, str) and re.fullmatch(r"\*(/\d+)?", written):
        return written
    if values == set(range(first, first + size)):
        return "*"
    return ",".join(str(one) for one in sorted(values))


@dataclass(frozen=True, kw_only=True)
class Solar:
    """The moments of an event of the sun, such as ``sunset``, at a place."""

    event: str
    latitude: float
    longitude: float

    @property
    def text(self) -> str:
        """The word ``solar``, the event, and where."""
        return f"solar {self.event} {self.latitude} {self.longitude}"

    def after(self, moment: int) -> int | None:
        """Return the first moment later than another."""
        asked = moment
        while (found := self._next(asked)) is not None:
            if found > moment:
                return found
            asked += 1_000  # what was found is the event we began at, less its microseconds
        return None

    def before(self, moment: int) -> int | None:
        """Return the last moment earlier than another."""
        span = 2 * _DAY
        while span < 2 * _FARTHEST:
            last, at = None, self.after(moment - span)
            while at is not None and at < moment:
                last, at = at, self.after(at)
            if last is not None:
                return last
            span *= 4
        return None

    def _next(self, moment: int) -> int | None:
        celestial: Any = _solar(self.event, self.latitude, self.longitude)
        start = celestial.ephem.Date(from_ms(moment).replace(tzinfo=None))
        found = celestial._next_event(start).datetime()  # noqa: SLF001 - its only answer that asks no clock
        stamp = int(found.replace(tzinfo=from_ms(0).tzinfo).timestamp() * 1000)
        return stamp if stamp - moment < _FARTHEST else None


@lru_cache(maxsize=1_000)
def _solar(event: str, latitude: float, longitude: float) -> Any:
    try:
        return solar(event, latitude, longitude)
    except (ImproperlyConfigured, ValueError) as error:
        raise InvalidSchedule(f"solar {event} {latitude} {longitude}: {error}") from None


def _read_solar(words: str) -> Schedule:
    try:
        event, latitude, longitude = words.split(" ")
        found = Solar(event=event, latitude=float(latitude), longitude=float(longitude))
    except ValueError:
        raise InvalidSchedule(f"'solar {words}': an event, a latitude and a longitude are expected") from None
    _solar(found.event, found.latitude, found.longitude)
    return found


READERS: Final[dict[str, Reader]] = {"solar": _read_solar}
"""The kinds of stored schedule that need Celery to be read."""
