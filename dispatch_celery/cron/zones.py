"""What a change of clocks does to the times of a calendar: the rules of Debian's cron.

==========================================  ===========================  ====================================
                                            the hour is skipped          the hour comes twice
==========================================  ===========================  ====================================
a time of day (``30 2 * * *``)              when the clocks have moved   the first time only
an interval (``*/30 * * * *``, ``0 * ...``)  not in that hour             each time: it counts real hours
==========================================  ===========================  ====================================

Which of them an expression is, its first fields say: an interval is one whose minutes or hours begin with a star.
Moments are whole seconds since 1970; ``fold`` is that of PEP 495.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from dispatch_celery.cron.expression import Calendar
from dispatch_celery.errors import InvalidSchedule

__all__ = ["ZonedCalendar", "zone_of"]

_SECOND: Final = timedelta(seconds=1)
_EARLIEST: Final = -2_000_000_000
_LATEST: Final = 200_000_000_000


@lru_cache(maxsize=1_000)
def zone_of(name: str) -> ZoneInfo:
    """Return a time zone by its name.

    Raises:
        InvalidSchedule: there is none of that name.
    """
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError, TypeError):
        raise InvalidSchedule(
            f"there is no time zone {name!r}: use a name of the IANA database, such as 'Europe/Berlin' or 'UTC'"
        ) from None


class ZonedCalendar:
    """The moments of a calendar in a zone. Safe for threads."""

    def __init__(self, calendar: Calendar, zone: ZoneInfo) -> None:
        self._calendar = calendar
        self._zone = zone

    def after(self, moment: int) -> int | None:
        """Return the first moment later than another; None where there is none in fifty years."""
        if not _EARLIEST < moment < _LATEST:
            return None
        return self._repeating_after(moment) if self._calendar.repeats else self._daily_after(moment)

    def before(self, moment: int) -> int | None:
        """Return the last moment earlier than another."""
        if not _EARLIEST < moment < _LATEST:
            return None
        return self._repeating_before(moment) if self._calendar.repeats else self._daily_before(moment)

    # -- times of day: each wall time has one moment, and those are in order

    def _daily_after(self, moment: int) -> int | None:
        wall: datetime | None = self._wall(moment).replace(fold=0)
        while wall is not None and (wall := self._calendar.after(wall)) is not None:
            found = self._moment_of(wall)
            if found > moment:
                return found
        return None

    def _daily_before(self, moment: int) -> int | None:
        local = self._wall(moment)
        # In the hour that comes again, wall times that are still ahead have had their moment.
        wall: datetime | None = local.replace(fold=0) + (self._shift(local) if local.fold else timedelta())
        while wall is not None and (wall := self._calendar.before(wall)) is not None:
            found = self._moment_of(wall)
            if found < moment:
                return found
        return None

    def _moment_of(self, wall: datetime) -> int:
        if self._is_skipped(wall):
            return self._change(wall)
        return self._exact(wall, fold=0)

    # -- intervals: the walls of each hour that really passes

    def _repeating_after(self, moment: int) -> int | None:
        local = self._wall(moment)
        wall = self._calendar.after(local.replace(fold=0))
        if self._is_twice(local) and not local.fold:
            if wall is not None and self._is_same_hour(wall, local):
                return self._exact(wall, fold=0)
            again = self._wall(self._change(local)).replace(fold=0)  # the hour begins once more
            wall = self._calendar.after(again - _SECOND)
            return None if wall is None else self._exact(wall, fold=int(self._is_same_hour(wall, local)))
        while wall is not None and self._is_skipped(wall):
            wall = self._calendar.after(self._wall(self._change(wall)).replace(fold=0) - _SECOND)
        return None if wall is None else self._exact(wall, fold=int(local.fold and self._is_same_hour(wall, local)))

    def _repeating_before(self, moment: int) -> int | None:
        local = self._wall(moment)
        wall = self._calendar.before(local.replace(fold=0))
        if local.fold:
            if wall is not None and self._is_same_hour(wall, local):
                return self._exact(wall, fold=1)
            ended = self._wall(self._change(local) - 1).replace(fold=0)
            wall = self._calendar.before(ended + _SECOND)
            return None if wall is None else self._exact(wall, fold=int(not self._is_same_hour(wall, local)))
        while wall is not None and self._is_skipped(wall):
            wall = self._calendar.before(self._wall(self._change(wall) - 1).replace(fold=0) + _SECOND)
        return None if wall is None else self._exact(wall, fold=int(not self._is_same_hour(wall, local)))

    # -- walls and moments

    def _wall(self, moment: int) -> datetime:
        return datetime.fromtimestamp(moment, self._zone).replace(tzinfo=None)

    def _shift(self, wall: datetime) -> timedelta:
        """Return how much more the clocks are ahead before a change than after; none where there is no change."""
        aware = wall.replace(tzinfo=self._zone)
        first, second = aware.replace(fold=0).utcoffset(), aware.replace(fold=1).utcoffset()
        return (first or timedelta()) - (second or timedelta())

    def _is_skipped(self, wall: datetime) -> bool:
        return self._shift(wall) < timedelta()

    def _is_twice(self, wall: datetime) -> bool:
        return self._shift(wall) > timedelta()

    def _is_same_hour(self, one: datetime, other: datetime) -> bool:
        """Whether two wall times come twice for the same change of clocks."""
        return self._is_twice(one) and self._is_twice(other) and self._change(one) == self._change(other)

    def _exact(self, wall: datetime, *, fold: int) -> int:
        return int(wall.replace(tzinfo=self._zone, fold=fold).timestamp())

    def _change(self, wall: datetime) -> int:
        """Return the moment at which the clocks change that skips a wall time or brings it twice."""
        low, high = sorted((self._exact(wall, fold=0), self._exact(wall, fold=1)))
        low, high = low - 1, high + 1
        before = self._offset(low)
        while high - low > 1:
            middle = (low + high) // 2
            if self._offset(middle) == before:
                low = middle
            else:
                high = middle
        return high

    def _offset(self, moment: int) -> timedelta:
        return datetime.fromtimestamp(moment, UTC).astimezone(self._zone).utcoffset() or timedelta()
