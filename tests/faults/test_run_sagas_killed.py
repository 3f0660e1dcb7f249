"""What undoes is killed or stopped at every boundary, forward and back (F-09, F-47): no undo is lost or misplaced."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from dispatch_celery import RunFailed, RunState
from dispatch_celery.workflows.handle import RunHandle
from tests.support.boundary_flows import BOOKINGS, UNDO_WHERE, WHERE
from tests.support.eventually import eventually
from tests.support.flow_workers import FlowFleet, flow_fleet
from tests.support.history import check_history

pytestmark = [pytest.mark.slow, pytest.mark.faults, pytest.mark.timeout(90)]

PLACES = [f"{n}-{where}" for n in range(1, BOOKINGS + 1) for where in (*WHERE, *UNDO_WHERE)]
ALL = ("-c", str(len(PLACES)))


@pytest.fixture
def fleet(namespace: str, server_url: str, tmp_path: Path) -> Iterator[FlowFleet]:
    """Return a fleet in a namespace of its own, without workers yet."""
    with flow_fleet(namespace, server_url, tmp_path, "tests.support.boundary_flows") as made:
        yield made


def _expected(name: str, place: str, times: int) -> list[str]:
    """Return the effects of a saga that stops ``times`` times at a place: what had happened there happens again."""
    forward = [(f"{n}-end", f"{name}-{n}") for n in range(1, BOOKINGS + 1)]
    back = [(f"{n}-undo-end", f"{name}-undo-{n}") for n in range(BOOKINGS, 0, -1)]
    return [word for at, word in (*forward, *back) for _ in range(1 + (times if at == place else 0))]


def _check(fleet: FlowFleet, runs: dict[str, RunHandle[object]], times: int) -> None:
    """Fail unless each run has failed as its code says, after exactly these effects in this order."""
    for place, run in runs.items():
        with pytest.raises(RunFailed, match="not wanted any more"):
            run.result(timeout=40)
        name = f"s{place}"
        words = [line.split(" ", 1)[0] for line in fleet.effects_file.read_text().splitlines()]
        assert [word for word in words if word.startswith(f"{name}-")] == _expected(name, place, times), place
        assert (run.state(), run.info().token) == (RunState.FAILED, 1 + times)
        undos = {line.identity: line.status for line in fleet.flows.dispatch.runs.timeline(run.id)}
        assert [undos[f"undo:book#{n}"] for n in range(1, BOOKINGS + 1)] == ["undone"] * BOOKINGS
    check_history(fleet)


def _start(fleet: FlowFleet, times: int) -> dict[str, RunHandle[object]]:
    return {place: fleet.flows.saga.start(f"s{place}", place, times) for place in PLACES}


def _all_there(fleet: FlowFleet, time: int) -> list[int]:
    """Wait until every run stays at its place for the n-th time; return the processes."""
    return [
        eventually(lambda place=place: fleet.effects(f"at-s{place}")[time - 1 :], within=20, what=place)[0]
        for place in PLACES
    ]


@pytest.mark.parametrize("times", [1, 2])
def test_a_process_killed_at_any_boundary_loses_no_undo(times: int, fleet: FlowFleet) -> None:
    """F-47: before, in and after each step and in each undo, once and twice: all is undone, the last effect first."""
    fleet.start("w1", *ALL)
    runs = _start(fleet, times)
    for time in range(1, times + 1):
        for pid in _all_there(fleet, time):
            os.kill(pid, signal.SIGKILL)

    _check(fleet, runs, times)


@pytest.mark.parametrize("victim", ["main process", "whole worker"])
def test_a_worker_killed_at_every_boundary_loses_no_undo(victim: str, fleet: FlowFleet) -> None:
    """F-02, F-47: the other worker goes on with all of them, each where it was."""
    first = fleet.start("w1", *ALL)
    runs = _start(fleet, 1)
    _all_there(fleet, 1)
    fleet.start("w2", *ALL)
    first.kill() if victim == "whole worker" else os.kill(first.pid, signal.SIGKILL)

    _check(fleet, runs, 1)


def test_a_worker_stopped_at_every_boundary_loses_no_undo(fleet: FlowFleet) -> None:
    """F-09: SIGTERM, with less grace than a step or undo needs: another worker goes on, and no crash is counted."""
    leaving = fleet.start("w1", *ALL, DISPATCH_SHUTDOWN_GRACE="1")
    runs = _start(fleet, 1)
    _all_there(fleet, 1)
    assert leaving.terminate(within=20) == 0
    assert {run.info().crashes for run in runs.values()} == {0}
    fleet.start("w2", *ALL)

    _check(fleet, runs, 1)
