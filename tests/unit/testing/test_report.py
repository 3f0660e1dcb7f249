"""The report of crashes: its table, and what its assertions say."""

from __future__ import annotations

from typing import Any

import pytest

from dispatch_celery.testing import Crash, CrashReport


def world(number: int, when: str, **told: Any) -> Crash:
    """Return one world that completed with 1 and charged once, unless told otherwise."""
    usual: dict[str, Any] = {
        "call": f"write {number}",
        "state": "completed",
        "result": 1,
        "executions": {"charge": 1},
        "effects": {"charged": 1},
    }
    return Crash(number=number, when=when, **{**usual, **told})


def report(*crashes: Crash, **undisturbed: Any) -> CrashReport:
    """Return a report of crashes beside an undisturbed world."""
    return CrashReport("shop.pay", world(0, "", call="-", **undisturbed), crashes)


def test_a_report_without_a_flaw_passes() -> None:
    """Every assertion holds where all worlds are alike."""
    fine = report(world(1, "before"), world(1, "after"))

    fine.assert_all_completed()
    fine.assert_same_outcome()
    fine.assert_effects_exactly(1)
    fine.assert_effects_at_most(1, "charged")
    fine.assert_executions_at_most(1, "charge")


def test_the_table_shows_one_world_a_line() -> None:
    """The undisturbed one first; an outcome is spelled out where it is another."""
    shown = str(report(world(1, "before"), world(1, "after", state="failed", result=None, failure="Boom: no")))

    assert shown.splitlines() == [
        "shop.pay: 2 crashes at 1 writes",
        "#  write    crash   outcome           executions and effects",
        "-  -        none    completed 1       charge 1, charged 1",
        "1  write 1  before  the same          charge 1, charged 1",
        "1  write 1  after   failed: Boom: no  charge 1, charged 1",
    ]


def test_a_world_that_did_not_complete_is_named() -> None:
    """By its place; the undisturbed one counts too."""
    with pytest.raises(AssertionError, match=r"1 of 2 worlds did not complete: after 1 \(write 1\)\nshop.pay: "):
        report(world(1, "after", state="parked")).assert_all_completed()
    with pytest.raises(AssertionError, match="did not complete: without a crash"):
        report(world(1, "after"), state="failed").assert_all_completed()


@pytest.mark.parametrize("told", [{"state": "failed"}, {"result": 2}, {"failure": "why"}, {"reached": False}])
def test_another_outcome_is_named(told: dict[str, Any]) -> None:
    """State, result and error are compared with the undisturbed world, and a crash must have happened."""
    with pytest.raises(AssertionError, match="1 of 3 worlds ended otherwise: before 2"):
        report(world(1, "after"), world(2, "before", **told)).assert_same_outcome()


def test_counts_are_held_against_every_world() -> None:
    """Too often, too rarely, and never: each is found where it is asked about."""
    doubled = report(world(1, "before", executions={"charge": 2}, effects={"charged": 2}))
    lost = report(world(1, "before", effects={}))

    doubled.assert_executions_at_most(2)
    with pytest.raises(AssertionError, match="had charge more than 1 times: before 1"):
        doubled.assert_executions_at_most(1)
    with pytest.raises(AssertionError, match="had charged more than 1 times"):
        doubled.assert_effects_at_most(1, "charged")
    with pytest.raises(AssertionError, match="had charged not exactly 1 times"):
        lost.assert_effects_exactly(1)
    lost.assert_effects_at_most(1)


def test_a_name_nobody_has_seen_is_no_assertion() -> None:
    """A misspelt name must not pass for an effect that never happened too often."""
    with pytest.raises(ValueError, match=r"shop\.pay has no effects chraged; seen: charged"):
        report(world(1, "before")).assert_effects_at_most(1, "chraged")
    with pytest.raises(ValueError, match=r"shop\.pay has no effects at all; seen: none"):
        report(world(1, "before", effects={}), effects={}).assert_effects_exactly(1)
