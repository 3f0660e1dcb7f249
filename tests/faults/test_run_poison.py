"""Poison within a family of runs (F-13): a child that kills its processes, forward or undoing, stops only itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dispatch_celery import RunCancelled, RunFailed, RunState
from dispatch_celery.workflows.model import Run
from tests.support.eventually import eventually
from tests.support.flow_workers import FlowFleet, flow_fleet
from tests.support.history import check_history

pytestmark = [pytest.mark.slow, pytest.mark.faults, pytest.mark.timeout(60)]


@pytest.fixture
def fleet(namespace: str, server_url: str, tmp_path: Path) -> Iterator[FlowFleet]:
    """Return a fleet with a worker that parks what kills two of its processes in a row."""
    with flow_fleet(namespace, server_url, tmp_path, "tests.support.poison_flows") as made:
        made.start("w1", "-c", "2", DISPATCH_MAX_CRASHES="2")
        yield made


def _words(fleet: FlowFleet) -> list[str]:
    return [line.split(" ", 1)[0] for line in fleet.effects_file.read_text().splitlines()]


def _parked(fleet: FlowFleet, name: str, count: int = 1) -> list[Run]:
    """Wait until so many runs of a workflow wait for a person, because they kill; return them."""
    runs = fleet.flows.dispatch.runs
    eventually(lambda: runs.count(name=name)[RunState.PARKED] == count, within=20, what=f"{count} of {name} are parked")
    found = list(runs.list(name=name, state=RunState.PARKED))
    assert {run.reason for run in found} == {"it kills its processes"}
    return found


def _others_go_on(fleet: FlowFleet) -> None:
    others = [fleet.flows.other.start(f"other-{n}") for n in range(20)]
    assert [run.result(timeout=20) for run in others] == [f"other-{n}" for n in range(20)]


def test_children_that_kill_are_parked_and_mended_one_by_one(fleet: FlowFleet) -> None:
    """F-13: the parent waits, other work goes on, and resumed children give it their results, in order."""
    run = fleet.flows.family.start(["a", "b", "c"])
    _others_go_on(fleet)
    children = _parked(fleet, "poison.child", 3)

    assert run.state() == RunState.WAITING
    assert _words(fleet).count("try-a") == 2
    (fleet.folder / "mended").touch()
    for child in children:
        assert fleet.flows.dispatch.runs.resume(child.id) == RunState.PENDING
    assert run.result(timeout=20) == ["a", "b", "c"]
    assert [_words(fleet).count(name) for name in ("own", "a-first", "a", "try-a", "forget-a")] == [1, 1, 1, 3, 0]
    check_history(fleet)


def test_a_parent_of_children_that_kill_can_be_cancelled(fleet: FlowFleet) -> None:
    """F-13: the children undo what they had done without running the step that kills, then the parent does."""
    run = fleet.flows.family.start(["a", "b"])
    _parked(fleet, "poison.child", 2)

    run.cancel(reason="hopeless")
    with pytest.raises(RunCancelled, match="hopeless"):
        run.result(timeout=20)
    words = _words(fleet)
    assert [words.count(f"try-{name}") for name in "ab"] == [2, 2]
    assert sorted(words[-5:-1]) == ["forget-a", "forget-a-first", "forget-b", "forget-b-first"]
    assert words[-1] == "forget-own"
    assert fleet.flows.dispatch.runs.count(name="poison.child")[RunState.CANCELLED] == 2
    check_history(fleet)


@pytest.mark.parametrize("how", ["mended", "skipped"])
def test_a_childs_undo_that_kills_holds_its_parents_undos_back(how: str, fleet: FlowFleet) -> None:
    """F-13: the child is parked and the parent waits with what it did before it, until a person mends or skips."""
    run = fleet.flows.undoing_family.start()
    _others_go_on(fleet)
    (child,) = _parked(fleet, "poison.undoing_child")

    assert run.info().shown == "compensating"
    assert [_words(fleet).count(name) for name in ("forget-last", "try-forget-c", "forget-c-first", "forget-own")] == [
        1,
        2,
        0,
        0,
    ]
    runs = fleet.flows.dispatch.runs
    if how == "mended":
        (fleet.folder / "undo-mended").touch()
        assert runs.retry_undo(child.id) == RunState.PENDING
    else:
        assert runs.skip_undo(child.id, "remember_deadly#1") == RunState.PENDING
    with pytest.raises(RunFailed, match="not wanted any more"):
        run.result(timeout=20)
    undone = [word for word in _words(fleet) if word.startswith("forget")]
    mended = ["forget-c"] if how == "mended" else []
    assert undone == ["forget-last", *mended, "forget-c-first", "forget-own"]
    check_history(fleet)
