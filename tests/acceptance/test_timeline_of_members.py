"""What a run has sent to the fleet is told by its timeline: in real workers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.flow_workers import FlowFleet, flow_fleet

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]


@pytest.fixture
def fleet(namespace: str, server_url: str, tmp_path: Path) -> Iterator[FlowFleet]:
    """Return a fleet in a namespace of its own, without workers yet."""
    with flow_fleet(namespace, server_url, tmp_path, "tests.support.family_flows") as made:
        yield made


def test_a_timeline_tells_why_members_failed(fleet: FlowFleet) -> None:
    """A job that failed, with its own error; one that was cancelled, with the reason."""
    fleet.start()
    run = fleet.flows.fails_fast.start()
    assert run.result(timeout=20) == "2 is even JobFailed"

    failures = [one.failure for one in fleet.flows.dispatch.runs.timeline(run.id) if one.kind == "job" and one.failure]
    assert "2 is even" in [failure.message for failure in failures]


def test_a_timeline_tells_of_children(fleet: FlowFleet) -> None:
    """One that failed, with its own error; those that completed, by their ids among what may have to be undone."""
    fleet.start()
    run = fleet.flows.children.start()
    run.result(timeout=20)

    calls = fleet.flows.dispatch.runs.timeline(run.id)
    assert [one.failure.message for one in calls if one.failure] == ["c fails"]
    undos = [(one.identity, one.status, str(one.value)[:4]) for one in calls if one.kind == "undo"]
    assert undos == [("undo:family.leaf#2", "open", "run_"), ("undo:family.leaf#1", "open", "run_")]
