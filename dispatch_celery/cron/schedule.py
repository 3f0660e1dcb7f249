"""Schedules: frozen values that answer which moment comes next, and which came last. Milliseconds since 1970, UTC.

A schedule is a pure function of time, so every process computes the same moments, and none of them is lost or doubled
when another takes over. ``@every`` counts from 1970, or from the start date of its entry.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Protocol, runtime_checkable

from dispatch_celery.clock import from_ms
from dispatch_celery.cron.expression import calendar_of
from dispatch_celery.cron.zones import ZonedCalendar, zone_of
from dispatch_celery.errors import InvalidSchedule

__all__ = ["CronExpression", "Interval", "Reader", "Schedule", "Window", "parse_schedule"]


@runtime_checkable
class Schedule(Protocol):
    """A rule that names moments."""

    @property
    def text(self) -> str:
        """The rule as it is stored and shown; ``parse_schedule`` reads it."""
        ...

    def after(self, moment: int) -> int | None:
        """Return the first moment later than another; None where there is none."""
        ...

    def before(self, moment: int) -> int | None:
        """Return the last moment earlier than another; None where there is none."""
        ...


Reader = Callable[[str], Schedule]
"""Reads the words behind the name of a kind of schedule that another room brings, such as ``solar``."""

_BOTH: Final = "crontab"
_LONGEST_INTERVAL: Final = 10 * 365 * 86_400
_UNITS: Final = {"w": 604_800, "d": 86_400, "h": 3_600, "m": 60, "s": 1}
_EVERY: Final = re.compile(r"(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class CronExpression:
    """The moments of a cron expression in a zone."""

    expression: str
    zone: str = "UTC"
    either_day: bool = True
    """Whether a day of the month *or* one of the week is enough; Celery's ``crontab`` asks for both."""

    def __post_init__(self) -> None:
        zone_of(self.zone)
        calendar_of(self.expression, either_day=self.either_day)

    @property
    def text(self) -> str:
        """The expression; behind the word ``crontab`` where both days must match."""
        return self.expression if self.either_day else f"{_BOTH} {self.expression}"

    def after(self, moment: int) -> int | None:
        """Return the first moment later than another."""
        return _after(self, moment // 1000)

    def before(self, moment: int) -> int | None:
        """Return the last moment earlier than another."""
        found = _zoned(self).before(-(-moment // 1000))
        return None if found is None else found * 1000


@lru_cache(maxsize=10_000)
def _zoned(schedule: CronExpression) -> ZonedCalendar:
    return ZonedCalendar(calendar_of(schedule.expression, either_day=schedule.either_day), zone_of(schedule.zone))


@lru_cache(maxsize=20_000)
def _after(schedule: CronExpression, second: int) -> int | None:
    """Find the next moment; thousands of entries share few schedules, and are due together."""
    found = _zoned(schedule).after(second)
    return None if found is None else found * 1000


@dataclass(frozen=True, kw_only=True)
class Interval:
    """Every so many seconds, counted from an anchor."""

    seconds: int
    anchor: int = 0
    """Milliseconds since 1970."""

    def __post_init__(self) -> None:
        if not 1 <= self.seconds <= _LONGEST_INTERVAL:
            raise InvalidSchedule(f"an interval is 1 second to ten years, not {self.seconds} seconds")

    @property
    def text(self) -> str:
        """``@every`` and the interval."""
        left, words = self.seconds, ""
        for unit, size in _UNITS.items():
            count, left = divmod(left, size)
            words += f"{count}{unit}" if count else ""
        return f"@every {words}"

    def after(self, moment: int) -> int | None:
        """Return the first moment later than another."""
        size = self.seconds * 1000
        return self.anchor + ((moment - self.anchor) // size + 1) * size

    def before(self, moment: int) -> int | None:
        """Return the last moment earlier than another."""
        size = self.seconds * 1000
        return self.anchor + (-((self.anchor - moment) // size) - 1) * size


@dataclass(frozen=True, kw_only=True)
class Window:
    """A schedule from a start to an end date, both included; None is open."""

    schedule: Schedule
    start: int | None = None
    end: int | None = None

    def after(self, moment: int) -> int | None:
        """Return the first moment of the window later than another."""
        if self.start is not None:
            moment = max(moment, self.start - 1)
        found = self.schedule.after(moment)
        return found if found is not None and (self.end is None or found <= self.end) else None

    def before(self, moment: int) -> int | None:
        """Return the last moment of the window earlier than another."""
        if self.end is not None:
            moment = min(moment, self.end + 1)
        found = self.schedule.before(moment)
        return found if found is not None and (self.start is None or found >= self.start) else None

    def check(self) -> None:
        """See that it names a moment at all.

        Raises:
            InvalidSchedule: it cannot ever fire.
        """
        if self.start is not None and self.end is not None and self.end < self.start:
            raise InvalidSchedule(
                f"the end date ({from_ms(self.end)}) is before the start date ({from_ms(self.start)})"
            )
        if self.after(-1 if self.start is None else self.start - 1) is None:
            within = "" if self.start is None and self.end is None else " between its start and end dates"
            raise InvalidSchedule(f"{self.schedule.text!r} names no moment{within}: it could never fire")


def parse_schedule(
    text: str, *, zone: str = "UTC", anchor: int | None = None, readers: Mapping[str, Reader] | None = None
) -> Schedule:
    """Return the schedule that a text names: a cron expression, ``@hourly`` and kin, or ``@every 1h30m``.

    Raises:
        InvalidSchedule: it is none, and where it is wrong; or there is no such zone.
    """
    if not isinstance(text, str):
        raise InvalidSchedule(f"a schedule is a cron expression as text, or a schedule object, not {text!r}")
    zone_of(zone)
    words = " ".join(text.split()) if text.isascii() else text
    head, _, rest = words.partition(" ")
    if head.lower() == "@every":
        return Interval(seconds=_seconds(text, rest), anchor=anchor or 0)
    if head == _BOTH:
        return CronExpression(expression=rest, zone=zone, either_day=False)
    if readers and head in readers:
        return readers[head](rest)
    return CronExpression(expression=words if words == text.strip() else text, zone=zone)


def _seconds(text: str, words: str) -> int:
    found = _EVERY.fullmatch(words.replace(" ", ""))
    if not words or found is None:
        position = len(text) - len(text.lstrip()) + len("@every ") + 1
        raise InvalidSchedule(
            f"schedule {text!r}: '@every' takes a time such as 30s, 5m or 1h30m, at character {position}",
            position=position,
        )
    return sum(int(count or 0) * size for count, size in zip(found.groups(), _UNITS.values(), strict=True))
