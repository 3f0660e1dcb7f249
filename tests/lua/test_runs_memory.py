"""A server whose memory is full lets every run go on that needs no new work, and refuses whole what does."""

from __future__ import annotations

import pytest

from tests.lua.resending import Case, named
from tests.lua.run_cases import CASES
from tests.lua.run_world import RunWorld, awaits

GROWS = ("runs/start", "runs/spawn", "runs/intend", "runs/rearm")
"""What begins something new; and the timer of a run, which the leader sets when it looks again."""


@pytest.mark.parametrize("case", [case for case in CASES if case.script not in GROWS], ids=named)
def test_a_run_goes_on_when_memory_is_full(full: RunWorld, case: Case[RunWorld]) -> None:
    """It is taken, records, rests, is woken, turns, undoes and ends, or the memory would never be freed."""
    act = case.prepare(full)
    full.fill()

    assert act() == case.first


def test_an_event_wakes_a_run_when_memory_is_full(full: RunWorld) -> None:
    """It was stored while there was room, and whoever waits for it may be told."""
    claim = full.suspended([awaits("awaiting", 9_000, "e#1")])
    full.fill()

    assert full.runs.nudge([(claim.ref, "e#1")])[0].verdict == "READY"


@pytest.mark.parametrize("case", [case for case in CASES if case.script in GROWS], ids=named)
def test_what_is_new_is_refused_whole_when_memory_is_full(full: RunWorld, case: Case[RunWorld]) -> None:
    """The answer is "not now", nothing is left behind, and the same is good once there is room."""
    act = case.prepare(full)

    full.refuses_whole(act)
    assert act() == case.first
