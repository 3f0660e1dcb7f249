"""Cron expressions: five fields, or six with the seconds first; what is wrong with one is told with its position.

croniter parses and finds the matching times of a plain calendar, one without a zone. What a change of clocks does to
them is decided in ``zones``. Where days of the month and of the week are both given, either may match, as in every
cron; where one of them begins with a star, both must (crontab(5), notes). Celery's ``crontab`` asks for both always.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import Final

from croniter import CroniterBadDateError, CroniterError, croniter

from dispatch_celery.errors import InvalidSchedule

__all__ = ["ALIASES", "Calendar", "calendar_of"]

ALIASES: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}

_FIELDS: Final = (
    ("second", "0-59"),
    ("minute", "0-59"),
    ("hour", "0-23"),
    ("day of the month", "1-31"),
    ("month", "1-12, jan-dec"),
    ("day of the week", "0-7, sun-sat"),
)
_RANDOM: Final = re.compile(r"[hr](\(|/|$)", re.IGNORECASE)
_ONE: Final = re.compile(r"(?<![\w#])(\w+)-\1(?:/\d+)?(?!\w)")
"""A range from a value to itself, which croniter takes for the whole cycle and every cron for that value."""
_ANY: Final = ("*", "?")
_LONGEST: Final = 500


class Calendar:
    """The matching times of an expression on a calendar without a zone. Safe for threads."""

    def __init__(self, expression: str, *, either_day: bool) -> None:
        fields = expression.split()
        self._found = croniter(
            _ONE.sub(r"\1", expression.lower()),
            datetime(2000, 1, 1),  # noqa: DTZ001 - a calendar without a zone is what is asked for
            ret_type=datetime,
            day_or=either_day,
            implement_cron_bug=True,
            second_at_beginning=True,
        )
        self.repeats = any(field.startswith("*") for field in fields[:-3])
        """Whether it names an interval rather than times of day: its seconds, minutes or hours begin with a star."""

    def after(self, moment: datetime) -> datetime | None:
        """Return the first matching time after another; None where there is none in fifty years."""
        return self._step(moment, is_prev=False)

    def before(self, moment: datetime) -> datetime | None:
        """Return the last matching time before another."""
        return self._step(moment, is_prev=True)

    def _step(self, moment: datetime, *, is_prev: bool) -> datetime | None:
        found = copy.copy(self._found)  # it keeps its place, and others may be asking
        try:
            step = found.get_prev if is_prev else found.get_next
            moved: datetime = step(datetime, start_time=moment)
        except (CroniterBadDateError, OverflowError, ValueError):
            return None
        return moved


@lru_cache(maxsize=10_000)
def calendar_of(expression: str, *, either_day: bool = True) -> Calendar:
    """Return the calendar of an expression.

    Raises:
        InvalidSchedule: it is none, and where it is wrong.
    """
    expanded = ALIASES.get(expression.lower(), expression)
    if len(expression) > _LONGEST:
        raise InvalidSchedule(f"a cron expression has at most {_LONGEST} characters, not {len(expression)}")
    if expression.startswith("@") and expanded is expression:
        raise InvalidSchedule(
            f"cron expression {expression!r}: unknown word at character 1; there are {', '.join(ALIASES)} and"
            " '@every 30s'",
            position=1,
        )
    _check(expanded)
    if either_day:
        _check_days(expanded)
    try:
        return Calendar(expanded, either_day=either_day)
    except CroniterError as error:
        raise InvalidSchedule(f"cron expression {expression!r}: {error}") from None


def _check(expression: str) -> None:
    found = list(re.finditer(r"\S+", expression))
    if len(found) not in (5, 6):
        position = found[6].start() + 1 if len(found) > 6 else len(expression.rstrip()) + 1
        raise InvalidSchedule(
            f"cron expression {expression!r}: five fields (minute hour day month weekday) or six (second first) are"
            f" expected, not {len(found)}; at character {position}",
            position=position,
        )
    for number, field in enumerate(found):
        _check_field(expression, number, field, [match[0] for match in found])


def _check_field(expression: str, number: int, field: re.Match[str], fields: Sequence[str]) -> None:
    name, allowed = _FIELDS[number + 6 - len(fields)]
    whole = field[0].isascii() and _accepts(number, field[0], len(fields))
    if whole:
        return
    start = field.start()
    for part in field[0].split(","):
        if not part.isascii() or not _accepts(number, part, len(fields)):
            break
        start += len(part) + 1
    else:  # each part is right, but not with the others
        start, part = field.start(), field[0]
    raise InvalidSchedule(
        f"cron expression {expression!r}: {part!r} is no {name} ({allowed}), at character {start + 1}"
        f" (field {number + 1})",
        position=start + 1,
    )


def _check_days(expression: str) -> None:
    """Refuse the pairs of days of which croniter finds no moment, or forgets one."""
    *_, day, _, weekday = re.finditer(r"\S+", expression)
    nearest = "w" in day[0].lower() and weekday[0] not in _ANY
    counted = set("#lL") & set(weekday[0]) and not day[0].startswith(_ANY)
    if nearest or counted:
        one, other = (day, weekday) if nearest else (weekday, day)
        position = one.start() + 1
        raise InvalidSchedule(
            f"cron expression {expression!r}: {one[0]!r} cannot stand beside {other[0]!r}, at character {position}:"
            " register an entry for each, or one whose job looks at the day",
            position=position,
        )


def _accepts(number: int, text: str, count: int) -> bool:
    if not text or _RANDOM.match(text):  # each process would draw another time
        return False
    probe = ["*"] * count
    probe[number] = text
    try:
        croniter.expand(" ".join(probe), second_at_beginning=True)
    except (CroniterError, ValueError, KeyError, IndexError):
        return False
    return True
