"""States and the moves between them."""

from __future__ import annotations

import pytest

from dispatch_celery.ids import JobId
from dispatch_celery.jobs.model import ENDED, TRANSITIONS, JobRef, JobState


def test_every_state_has_its_moves() -> None:
    """The table knows each state, and names no other."""
    assert set(TRANSITIONS) == {"new", *JobState}
    assert set().union(*TRANSITIONS.values()) <= {"gone", *JobState}


@pytest.mark.parametrize("state", sorted(ENDED))
def test_nothing_ended_runs_again_by_itself(state: JobState) -> None:
    """From an ended state only retention leads on, and from a failed one an operator."""
    assert TRANSITIONS[state] - {"gone"} == ({"pending"} if state == JobState.FAILED else set())


def test_every_state_can_be_reached_and_left() -> None:
    """No state is a trap, and none is unreachable from a new job."""
    reached, edge = {"new"}, {"new"}
    while edge:
        edge = set().union(*(TRANSITIONS.get(state, frozenset()) for state in edge)) - reached
        reached |= edge

    assert reached == {"new", "gone", *JobState}


def test_a_lane_is_queue_and_priority() -> None:
    """A queue may hold a colon: the priority is what follows the last one."""
    ref = JobRef(id=JobId.mint(), name="n", queue="a:b", priority=3)

    assert ref.lane == "a:b:3"
    assert ref.lane.rpartition(":")[0] == "a:b"
