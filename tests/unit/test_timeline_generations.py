"""How a run is drawn that has begun anew, or was forked: which generation, since when, and what it says of itself."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from dispatch_celery.cli.stretches import begin_of
from dispatch_celery.cli.timeline import Timeline
from dispatch_celery.ids import RunId
from dispatch_celery.workflows.model import PromiseRecord, Run, RunState
from tests.support.run_views import ID, NOW, ago, call, run

ANEW = run(RunState.WAITING, started_at=ago(days=90), generation=7, status="asks the bank")
BEFORE = [call("ask#1", begun_at=ago(minutes=5), resolved_at=ago(minutes=4)), call("sleep#1", "sleep", "value")]


def drawn(of: Run, promises: list[PromiseRecord], **options: Any) -> list[str]:
    """Return the lines that are drawn at 80 columns."""
    made = Timeline(run=of, promises=promises, now=NOW, width=80, **options)
    return [line.plain for line in made.lines()]


def test_a_generation_is_drawn_in_its_own_time() -> None:
    """Of a run that has gone on for months, the bars are those of the generation at hand."""
    asked = call("ask#1", begun_at=ago(seconds=100), resolved_at=ago(seconds=50))
    lines = drawn(ANEW, [asked], since=ago(seconds=100))

    assert lines[:2] == [f"{ID} (checkout, version 2, generation 7): waiting", "status: asks the bank"]
    assert lines[2].startswith("began 2026-02-03 12:00:00 UTC (90 days ago), 90 days so far; generation 7 began")
    assert lines[2].endswith(" began 2026-05-04 11:58:20 UTC (1 min ago)")
    (row,) = [line for line in lines if "ask#1" in line]
    (head,) = [line for line in lines if "tries" in line]
    assert head.endswith("1 min")
    assert row.index("█") == head.index(" 0 ") + 1
    assert row.count("█") == pytest.approx((len(head) - head.index(" 0 ")) / 2, abs=1.5)


def test_what_was_set_aside_is_drawn_as_over() -> None:
    """It says of which generation it is; what was open then waits for nothing now, and the run's end is not told."""
    stopped = run(RunState.PARKED, started_at=ago(days=90), generation=7, reason="why", status="asks the bank")
    lines = drawn(stopped, [*BEFORE, call("paid#1", "event", "awaiting")], since=ago(minutes=5), is_previous=True)

    assert lines[1] == "what generation 6 had recorded until 2026-05-04 11:56:00 UTC (4 min ago); undos are not kept"
    assert any("paid#1" in line for line in lines)
    assert not any("waits" in line or "asks the bank" in line or line == "why" for line in lines)
    (head,) = [line for line in lines if "tries" in line]
    assert head.endswith(" 1 min")


def test_nothing_that_was_set_aside_is_said_in_words() -> None:
    """A run that has begun once, and a generation that recorded nothing."""
    once = drawn(run(RunState.WAITING, started_at=ago(minutes=1)), [], is_previous=True)
    empty = drawn(ANEW, [], is_previous=True)

    assert once[1] == "it has begun once only: nothing of it was set aside"
    assert empty[1] == "generation 6 had recorded nothing"


def test_a_run_that_has_ended_waits_for_nothing() -> None:
    """A wait that a cancel has ended is drawn, without a word of its timeout."""
    waits = [call("paid#1", "event", "awaiting"), call("sleep#1", "sleep", "sleeping", due_at=NOW + timedelta(days=1))]
    over = drawn(run(RunState.CANCELLED, started_at=ago(minutes=2), finished_at=ago(minutes=1), reason="rain"), waits)

    assert any(line.split()[1:3] == ["paid#1", "awaiting"] for line in over)
    assert not any(line.startswith("    ") for line in over)
    assert over[-1] == "rain"


def test_whose_child_and_whose_fork_it_is_is_told() -> None:
    """With their ids, for the next command."""
    parent, first = RunId.mint(), RunId.mint()
    lines = drawn(run(RunState.WAITING, started_at=ago(minutes=1), parent=parent, forked_from=first), [])

    assert lines[1:3] == [f"child of: {parent}", f"forked from: {first}"]


def test_a_generation_begins_with_its_first_call_or_where_the_one_before_ended() -> None:
    """The begin of a rest is not stored: then it is the end of what went before."""
    worked = call("ask#1", begun_at=ago(seconds=9), resolved_at=ago(seconds=5))
    rested = call("sleep#1", "sleep", resolved_at=ago(seconds=3))
    waits = call("paid#1", "event", "awaiting")
    at_once = call("now#1", "now", resolved_at=ago(seconds=20))

    assert begin_of([worked, waits], BEFORE) == ago(seconds=9)
    assert begin_of([at_once, rested], BEFORE) == ago(seconds=20)
    assert begin_of([rested, replace(worked, begun_at=ago(seconds=2), resolved_at=ago(seconds=1))], BEFORE) == ago(
        minutes=4
    )
    assert begin_of([waits], BEFORE) == ago(minutes=4)
    assert begin_of([rested], []) == ago(seconds=3)
    assert begin_of([waits], []) is None


@pytest.mark.parametrize(
    ("state", "heading"), [(RunState.COMPLETED, "can still be undone"), (RunState.WAITING, "to be undone")]
)
def test_what_a_completed_run_did_can_still_be_undone(state: RunState, heading: str) -> None:
    """Of one that goes on it is what would be undone, should it fail."""
    lines = drawn(run(state, started_at=ago(minutes=1)), [call("undo:charge#1", "undo", "open", value="shop:refund")])

    assert f"{heading}, the last effect first" in lines
