"""Two clocks with names that say what they are for, and one unit: integer milliseconds.

``monotonic_ms`` measures how long something took or may still take in this process; it decides whether a
lease may still be trusted. ``wall_ms`` is for people to read. Neither decides anything that is stored:
stored times come from the state server (ARCHITECTURE 1.5).
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

__all__ = ["Duration", "from_ms", "monotonic_ms", "to_ms", "wall_ms"]

Duration = float | timedelta
"""Seconds, or a ``timedelta``."""


def monotonic_ms() -> int:
    """Return milliseconds that never go back; comparable within this process and its forks only."""
    return time.monotonic_ns() // 1_000_000


def wall_ms() -> int:
    """Return milliseconds since 1970 by this machine's clock."""
    return time.time_ns() // 1_000_000


def to_ms(value: Duration) -> int:
    """Return a duration as whole milliseconds, rounded up so that a positive wait never becomes none."""
    seconds = value.total_seconds() if isinstance(value, timedelta) else float(value)
    if seconds != seconds or seconds in (float("inf"), float("-inf")):  # noqa: PLR0124 - the test for NaN
        raise ValueError(f"a duration must be a finite number of seconds, not {value!r}")
    return -int(-seconds * 1000 // 1)


def from_ms(value: int) -> datetime:
    """Return a stored time as an aware UTC ``datetime``."""
    return datetime.fromtimestamp(value / 1000, UTC)
