"""Two clocks with names that say what they are for, and one unit: integer milliseconds.

``monotonic_ms`` measures how long something took or may still take in this process; it decides whether a
lease may still be trusted. ``wall_ms`` is for people to read. Neither decides anything that is stored:
stored times come from the state server (ARCHITECTURE 1.5).
"""

from __future__ import annotations

import math
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
    """Return a duration as whole milliseconds, rounded up so that a positive wait never becomes none.

    Raises:
        ValueError: it is no number of seconds, not finite, or immense.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | timedelta):
        raise ValueError(f"a duration is seconds as a number, or a timedelta, not {value!r}")  # noqa: TRY004 - one kind of refusal
    try:
        milliseconds = value / timedelta(milliseconds=1) if isinstance(value, timedelta) else float(value) * 1000
    except OverflowError:
        milliseconds = math.inf
    if not math.isfinite(milliseconds):
        raise ValueError("a duration must be a finite number of seconds, and not an immense one")
    # 2.007 s times a thousand is a little more than 2007: rounding up must not see the noise of the product.
    return math.ceil(round(milliseconds, 6))


def from_ms(value: int) -> datetime:
    """Return a stored time as an aware UTC ``datetime``."""
    return datetime.fromtimestamp(value / 1000, UTC)
