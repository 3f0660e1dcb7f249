"""Schedules against an independent oracle: cronsim, which follows Debian's cron, over ten years and five zones.

A seeded sample runs with every suite; the long walk is marked ``faults``. What the two read differently is left out:
six fields with a time of day (the oracle gives such an expression no rule for the change of clocks), zones whose clocks
change by half an hour (it steps over the half hour), and the ``L``
of a weekday, which they spell differently.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim, CronSimError

from dispatch_celery.cron.schedule import CronExpression

ZONES = ("Europe/Berlin", "America/New_York", "Asia/Kolkata", "America/Santiago", "Africa/Casablanca")
START = int(datetime(2020, 1, 1, tzinfo=UTC).timestamp())
TEN_YEARS = 10 * 365 * 86_400
CHANGES = (
    *(datetime(2026, 3, 28, 20, tzinfo=UTC), datetime(2026, 10, 24, 20, tzinfo=UTC)),  # Berlin
    *(datetime(2026, 3, 8, 3, tzinfo=UTC), datetime(2026, 11, 1, 1, tzinfo=UTC)),  # New York
    *(datetime(2026, 2, 14, 22, tzinfo=UTC), datetime(2026, 3, 21, 22, tzinfo=UTC)),  # Casablanca: around Ramadan
    *(datetime(2026, 4, 4, 20, tzinfo=UTC), datetime(2026, 9, 5, 20, tzinfo=UTC)),  # Santiago: at midnight
)


def _field(draw: random.Random, low: int, high: int) -> str:
    kind = draw.randrange(8)
    if kind < 3:
        return "*"
    if kind == 3:
        return f"*/{draw.randint(1, max(1, (high - low) // 2))}"
    if kind == 4:
        first = draw.randint(low, high)
        return f"{first}-{draw.randint(first, high)}" if first < high else str(first)
    if kind == 5:
        return ",".join(str(one) for one in sorted(draw.sample(range(low, high + 1), 3)))
    return str(draw.randint(low, high))


def _expression(draw: random.Random) -> str:
    day, weekday = _field(draw, 1, 28), _field(draw, 0, 6)
    if draw.randrange(3):
        weekday = "*"
    if draw.randrange(12) == 0:
        day, weekday = draw.choice([("L", "*"), ("*", "mon#1"), ("*", "5#5"), ("29", "*"), ("31", "*"), ("13", "fri")])
    hour = draw.choice([_field(draw, 0, 23), "2", "1,2,3", "0", "*/2"])
    return f"{_field(draw, 0, 59)} {hour} {day} {_field(draw, 1, 12)} {weekday}"


def _starts(draw: random.Random, count: int) -> list[int]:
    near = [int(moment.timestamp()) + draw.randrange(86_400) for moment in CHANGES]
    return [*near, *(START + draw.randrange(TEN_YEARS) for _ in range(count))]


def _oracle(expression: str, zone: str, moment: int, count: int) -> list[int]:
    try:
        found = CronSim(expression, datetime.fromtimestamp(moment, ZoneInfo(zone)))
    except CronSimError:  # it says at once that there is no such day
        return []
    moments: list[int] = []
    while len(moments) < count:
        one = next(found, None)
        if one is None:
            break
        stamp = int(one.timestamp())
        # The oracle starts from a wall time, which may have come twice; and where midnight is skipped it may name it.
        wall = datetime.fromtimestamp(stamp, ZoneInfo(zone))
        if stamp > moment and (wall.hour, wall.minute) == (one.hour, one.minute):
            moments.append(stamp)
    return moments


def _ours(schedule: CronExpression, moment: int, count: int) -> list[int]:
    moments: list[int] = []
    at: int | None = moment * 1000
    while len(moments) < count and (at := schedule.after(at)) is not None:
        moments.append(at // 1000)
    return moments


def _compare(seed: int, count: int, *, length: int) -> None:
    draw = random.Random(seed)
    for _ in range(count):
        expression, zone = _expression(draw), draw.choice(ZONES)
        schedule = CronExpression(expression=expression, zone=zone)
        for moment in _starts(draw, 2):
            ours = _ours(schedule, moment, length)
            assert ours == _oracle(expression, zone, moment, length), (expression, zone, moment)
            _walk_back(schedule, ours)


def _walk_back(schedule: CronExpression, moments: list[int]) -> None:
    for earlier, later in pairwise(moments):
        assert schedule.before(later * 1000) == earlier * 1000, (schedule, earlier, later)
        assert schedule.before(later * 1000 - 1) == earlier * 1000, (schedule, earlier, later)


@pytest.mark.parametrize("seed", range(4))
def test_schedules_agree_with_debians_cron(seed: int) -> None:
    """Random expressions in five zones name the same moments, forwards and back, around every change of clocks."""
    _compare(seed, 12, length=8)


@pytest.mark.faults
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(100, 110))
def test_schedules_agree_with_debians_cron_for_ten_years(seed: int) -> None:
    """As above, many more of them, and further on."""
    _compare(seed, 60, length=40)
