"""Rates of replays: when each of many new jobs is due.

Promises: the bulk replays of one choice at one rate stand in one line, whoever asks and however often. So one that was
interrupted goes on behind the last due time it gave, and two at once share the rate. The line is kept in the state for
as long as it reaches into the future, and written by the script that makes the new job: what was never replayed leaves
no gap.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
from hashlib import sha256
from typing import Final

from dispatch_celery.dlq.filters import DeadLetterFilter
from dispatch_celery.errors import ConfigurationError

__all__ = ["Pace", "due_times"]

_RATE: Final = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*/\s*(?:(\d+)\s*)?([smh])\s*$")
_UNITS: Final = {"s": 1_000, "m": 60_000, "h": 3_600_000}
_MOVING: Final = ("died_after", "died_before", "replayed")
"""Filters that the second of two calls may give otherwise, and mean the same: "of the last two hours"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """A line of due times."""

    line: str
    """A digest of what is chosen, where it goes, and how fast."""
    interval: float
    """Milliseconds from one to the next."""

    @classmethod
    def of(cls, rate: str, chosen: DeadLetterFilter, queue: str | None) -> Pace:
        """Return the line of a choice that is replayed at a rate, into another queue where one is given.

        Raises:
            ConfigurationError: it is no rate.
        """
        interval = _interval(rate)
        words = {one.name: str(getattr(chosen, one.name)) for one in fields(chosen) if one.name not in _MOVING}
        told = json.dumps([words, queue, interval], sort_keys=True)
        return cls(line=sha256(told.encode()).hexdigest()[:32], interval=interval)


def due_times(rate: str | None, *, done: int = 0) -> Iterator[int | None]:
    """Yield the delays of one replay after another, in ms, behind those that were ``done``: none without a rate.

    For who replays one after the other himself, and remembers how many.

    Raises:
        ConfigurationError: it is no rate.
    """
    if rate is None:
        return iter(lambda: None, 0)
    return _spread(_interval(rate), done)


def _interval(rate: str) -> float:
    found = _RATE.match(rate) if isinstance(rate, str) else None
    if found is None or float(found[1]) == 0:
        raise ConfigurationError(f"a rate is a number of jobs per second, minute or hour, such as '10/s', not {rate!r}")
    return _UNITS[found[3]] * int(found[2] or 1) / float(found[1])


def _spread(interval: float, place: int) -> Iterator[int | None]:
    while True:
        yield math.floor(place * interval) or None
        place += 1
