"""Which slots are fired now: those on time, and of the missed ones what the policy says."""

from __future__ import annotations

from itertools import pairwise

import pytest

from dispatch_celery.cron.model import Misfire
from dispatch_celery.cron.plan import Step, plan
from dispatch_celery.cron.schedule import Interval, Window, parse_schedule

MINUTE = 60_000
EVERY = Window(schedule=parse_schedule("* * * * *"))


def _plan(
    now: int, misfire: str = "once", window: Window = EVERY, *, slot: int = MINUTE, jitter: int = 0
) -> list[Step]:
    return plan(window, slot, Misfire.parse(misfire), now=now, grace=MINUTE, jitter=jitter)


def test_a_slot_on_time_is_fired_and_leads_to_the_next() -> None:
    """One step, whatever the policy."""
    for misfire in ("skip", "once", "all(5)"):
        assert _plan(MINUTE + 500, misfire) == [Step(MINUTE, MINUTE, 2 * MINUTE)]


def test_slots_within_the_grace_are_all_fired() -> None:
    """Each of them, the oldest first, as one chain."""
    window = Window(schedule=Interval(seconds=20))
    steps = _plan(MINUTE, "skip", window, slot=20_000)

    assert steps == [
        Step(20_000, 20_000, 40_000),
        Step(40_000, 40_000, MINUTE),
        Step(MINUTE, MINUTE, 80_000),
    ]


@pytest.mark.parametrize(
    ("misfire", "fired"),
    [("skip", [9, 10]), ("once", [8, 9, 10]), ("all(1)", [8, 9, 10]), ("all(4)", [5, 6, 7, 8, 9, 10])],
)
def test_missed_slots_follow_the_policy(misfire: str, fired: list[int]) -> None:
    """Those older than the grace; the first step begins where the entry stands, whatever it passes over."""
    steps = _plan(10 * MINUTE, misfire)

    assert [step.fired for step in steps] == [number * MINUTE for number in fired]
    assert steps[0].slot == MINUTE
    assert steps[-1].next == 11 * MINUTE
    assert all(one.next == two.slot for one, two in pairwise(steps))


def test_all_fires_no_slot_before_the_one_that_is_next() -> None:
    """However many it may."""
    assert [step.fired for step in _plan(10 * MINUTE, "all(99)", slot=7 * MINUTE)] == [
        number * MINUTE for number in (7, 8, 9, 10)
    ]


def test_with_nothing_to_fire_the_entry_moves_on() -> None:
    """A daily slot, missed by an hour, under ``skip``."""
    window = Window(schedule=parse_schedule("0 0 * * *"))

    assert _plan(90 * MINUTE, "skip", window, slot=0) == [Step(0, None, 1_440 * MINUTE)]


def test_the_last_slot_leads_nowhere() -> None:
    """An end date, on time and after a standstill."""
    window = Window(schedule=parse_schedule("* * * * *"), end=3 * MINUTE)

    assert _plan(3 * MINUTE, slot=3 * MINUTE, window=window) == [Step(3 * MINUTE, 3 * MINUTE, None)]
    assert _plan(99 * MINUTE, slot=2 * MINUTE, window=window) == [Step(2 * MINUTE, 3 * MINUTE, None)]


def test_a_slot_that_jitter_delays_is_not_late() -> None:
    """And a slot whose delay is not over is not fired with the one before it."""
    assert _plan(MINUTE + 100_000, slot=MINUTE, jitter=110_000) == [Step(MINUTE, MINUTE, 2 * MINUTE)]


@pytest.mark.parametrize("misfire", ["", "never", "all", "all(0)", "all(5000)", "all(-1)", "ONCE", None, 3])
def test_a_policy_that_is_none_is_refused(misfire: object) -> None:
    """By name."""
    with pytest.raises(Exception, match="misfire must be"):
        Misfire.parse(misfire)  # type: ignore[arg-type]  # what is tested


@pytest.mark.parametrize("misfire", ["skip", "once", "all(7)"])
def test_a_policy_is_stored_as_it_was_written(misfire: str) -> None:
    """And read again."""
    assert str(Misfire.parse(misfire)) == misfire
    assert Misfire.parse(Misfire.parse(misfire)) == Misfire.parse(misfire)
