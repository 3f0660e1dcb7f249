"""Times in words people use, and back: ``2026-01-31 12:00:00 UTC (3 min ago)``; ``2h`` for two hours ago."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

import click

from dispatch_celery.cron.zones import zone_of
from dispatch_celery.errors import InvalidSchedule
from dispatch_celery.retry import MAX_DELAY

__all__ = ["duration", "local", "moment", "moment_ahead", "moment_to_come", "span", "stamp", "when"]

_UNITS: Final = (("day", 86_400), ("h", 3_600), ("min", 60))
_SECONDS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_LENGTH: Final = re.compile(r"(\d+(?:\.\d+)?)([smhd])")


def span(length: timedelta) -> str:
    """Return a length of time in one unit, rounded down: ``3 min``, ``2 days``."""
    seconds = abs(length.total_seconds())
    for unit, size in _UNITS:
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {unit}{'s' if unit == 'day' and count > 1 else ''}"
    return f"{int(seconds)} s" if seconds >= 10 else f"{seconds:.1f} s"


def stamp(at: datetime | None) -> str:
    """Return a time to the second, in UTC; empty for none."""
    return "" if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def when(at: datetime | None, now: datetime) -> str:
    """Return a time and how far from now it is; empty for none."""
    if at is None:
        return ""
    distance = span(at - now)
    return f"{stamp(at)} UTC ({f'in {distance}' if at > now else f'{distance} ago'})"


def local(at: datetime | None, zone: str) -> str:
    """Return a time as clocks of a zone show it, with a comma before it; empty where they show UTC, or for none."""
    if at is None or zone == "UTC":
        return ""
    try:
        there = at.astimezone(zone_of(zone))
    except InvalidSchedule:  # whoever registered it knows more zones than this machine
        return ""
    day = "" if there.date() == at.astimezone(UTC).date() else f"{there:%Y-%m-%d} "
    return f", {day}{there:%H:%M:%S} {zone}"


def duration(words: str) -> timedelta:
    """Return a length of time of the command line: ``90s``, ``15m``, ``2h``, ``3d``."""
    found = _LENGTH.fullmatch(words.strip())
    if found is None or not 0 < (seconds := float(found[1]) * _SECONDS[found[2]]) <= MAX_DELAY:
        raise click.BadParameter(f"{words!r} is no length of time: give 90s, 15m, 2h or 3d, up to ten years")
    return timedelta(seconds=seconds)


def moment(words: str) -> datetime:
    """Return a time of the command line: ISO 8601 (UTC where it names no zone), or how long ago."""
    return _moment(words, -1, "how long ago")


def moment_ahead(words: str) -> datetime:
    """Return a time of the command line: ISO 8601 (UTC where it names no zone), or how long from now on."""
    return _moment(words, 1, "how long from now on")


def moment_to_come(words: str) -> datetime:
    """Return a time of the command line as ``moment_ahead`` does, unless it is over."""
    found = moment_ahead(words)
    if found <= datetime.now(UTC):
        raise click.BadParameter(f"{words!r} is over: it was {stamp(found)} UTC")
    return found


def _moment(words: str, sign: int, what: str) -> datetime:
    length = _LENGTH.fullmatch(words.strip())
    try:
        if length:
            return datetime.now(UTC) + sign * timedelta(seconds=float(length[1]) * _SECONDS[length[2]])
        found = datetime.fromisoformat(words.strip())
    except (ValueError, OverflowError):
        raise click.BadParameter(
            f"{words!r} is no time: give ISO 8601 (2026-01-31T12:00, in UTC) or {what} (90s, 15m, 2h, 3d)"
        ) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
