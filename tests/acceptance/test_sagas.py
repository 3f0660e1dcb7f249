"""What a run has done is undone, in reverse, when it fails, is cancelled or is out of time: in real workers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dispatch_celery import RunCancelled, RunFailed, RunParked, scope
from dispatch_celery.errors import StateConflict
from dispatch_celery.workflows.model import RunPhase, RunState
from tests.support.eventually import eventually
from tests.support.flow_workers import FlowFleet, flow_fleet

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]

POOLS = {"prefork": ("-c", "2"), "threads": ("-P", "threads", "-c", "4"), "solo": ("-P", "solo")}


@pytest.fixture
def fleet(namespace: str, server_url: str, tmp_path: Path) -> Iterator[FlowFleet]:
    """Return a fleet in a namespace of its own, without workers yet."""
    with flow_fleet(namespace, server_url, tmp_path, "tests.support.sagas") as made:
        yield made


def words(fleet: FlowFleet) -> list[str]:
    """Return every effect, in order."""
    lines = fleet.effects_file.read_text().splitlines() if fleet.effects_file.exists() else []
    return [word for line in lines if not (word := line.split(" ", 1)[0]).startswith("key=")]


@pytest.mark.parametrize("pool", POOLS)
def test_a_failed_run_is_undone_in_reverse(pool: str, fleet: FlowFleet) -> None:
    """With what the steps returned, under the run's scope; then the run fails with its own error."""
    fleet.start("w1", *POOLS[pool])
    with scope(app_id="shop", org_id="acme"):
        run = fleet.flows.order.start("o", refused=True)

    with pytest.raises(RunFailed, match="no shipping"):
        run.result(timeout=15)
    assert words(fleet) == [
        "reserve-o",
        "charge-o",
        "refuse",
        "refund-o-True-undo:charge#1-shop/acme",
        "release-o-seat-of-o",
    ]
    timeline = {promise.identity: promise.status for promise in fleet.flows.dispatch.runs.timeline(run.id)}
    assert timeline["undo:charge#1"] == timeline["undo:reserve#1"] == "undone"
    assert run.info().phase == RunPhase.UNDOING


def test_a_run_that_completes_undoes_nothing(fleet: FlowFleet) -> None:
    """Its undos stay open in the timeline, and nobody carries them out."""
    fleet.start()
    run = fleet.flows.order.start("o", refused=False)

    assert run.result(timeout=15) == "shipped-o"
    assert words(fleet) == ["reserve-o", "charge-o", "shipped-o"]
    assert run.info().phase == RunPhase.FORWARD


def test_a_step_that_failed_is_undone_too(fleet: FlowFleet) -> None:
    """Nobody knows how far it came: its undo is given None, and must bear that nothing has happened."""
    fleet.start()
    with pytest.raises(RunFailed, match="connection broke"):
        fleet.flows.half.start("h").result(timeout=15)
    assert words(fleet) == ["reserve-h", "release-h-None"]


def test_a_cancelled_run_is_undone_where_it_rests(fleet: FlowFleet) -> None:
    """At once, not when its sleep is over; it is cancelled when it is undone."""
    fleet.start()
    run = fleet.flows.waiting.start("w")
    eventually(lambda: run.state() == RunState.WAITING, what="it sleeps")

    assert run.cancel(reason="not needed") == RunState.PENDING
    with pytest.raises(RunCancelled, match="not needed"):
        run.result(timeout=15)
    assert words(fleet) == ["reserve-w", "release-w-seat-of-w"]


@pytest.mark.parametrize("pool", POOLS)
def test_a_cancelled_run_is_undone_where_it_runs(pool: str, fleet: FlowFleet) -> None:
    """Its step is interrupted where that can be; the undo is not interrupted with it."""
    fleet.start("w1", *POOLS[pool])
    run = fleet.flows.held.start("h")
    eventually(lambda: fleet.effects("h"), what="the step runs")

    assert run.cancel(reason="not needed") == RunState.RUNNING
    eventually(lambda: run.state() != RunState.RUNNING or run.info().phase == RunPhase.UNDOING, what="it is told")
    (fleet.folder / "go").touch()
    with pytest.raises(RunCancelled, match="not needed"):
        run.result(timeout=20)
    assert words(fleet) == ["reserve-h", "h", "release-h-seat-of-h"]


def test_a_run_out_of_time_is_undone(fleet: FlowFleet) -> None:
    """A timeout is a cancel."""
    fleet.start()
    run = fleet.flows.waiting.options(timeout=1).start("t")

    with pytest.raises(RunCancelled, match="timeout"):
        run.result(timeout=15)
    assert words(fleet) == ["reserve-t", "release-t-seat-of-t"]


def test_an_undo_is_tried_again_without_a_worker(fleet: FlowFleet) -> None:
    """By its own policy; the ones before it wait for it."""
    fleet.start()
    run = fleet.flows.late.start("l")

    eventually(lambda: run.state() == RunState.WAITING and run.info().shown == "compensating", what="it waits")
    with pytest.raises(RunFailed, match="not wanted"):
        run.result(timeout=20)
    assert words(fleet) == ["reserve-first-l", "reserve-l", "release-l", "release-l", "release-first-l-seat-of-first-l"]


def test_an_undo_that_is_given_up_waits_for_a_person(fleet: FlowFleet) -> None:
    """The run is parked with the list of what is open; the others wait; tried again, it goes on where it was."""
    fleet.start()
    run = fleet.flows.stuck.start("s")

    with pytest.raises(RunParked, match=r"the warehouse is closed; still to be undone: reserve_stuck#1 .*, reserve#1"):
        run.result(timeout=15)
    assert words(fleet) == ["reserve-first-s", "reserve-s", "try-s"]
    runs = fleet.flows.dispatch.runs
    with pytest.raises(StateConflict, match="undoes what it has done already"):
        runs.cancel(run.id)
    (fleet.folder / "mended").touch()
    assert runs.retry_undo(run.id) == RunState.PENDING
    eventually(lambda: run.state() == RunState.FAILED, what="it is undone")
    assert words(fleet)[-3:] == ["try-s", "release-s", "release-first-s-seat-of-first-s"]
    with pytest.raises(StateConflict, match="no undo of it was given up"):
        runs.retry_undo(run.id)


def test_an_undo_can_be_skipped(fleet: FlowFleet) -> None:
    """By hand it was done: the others go on, and the timeline says so."""
    fleet.start()
    run = fleet.flows.stuck.start("s")
    eventually(lambda: run.state() == RunState.PARKED, what="it is stuck")
    runs = fleet.flows.dispatch.runs

    with pytest.raises(StateConflict, match="no open undo 'other#1'"):
        runs.skip_undo(run.id, "other#1")
    assert runs.skip_undo(run.id, "undo:reserve_stuck#1") == RunState.PENDING
    with pytest.raises(RunFailed, match="not wanted"):
        run.result(timeout=15)
    assert words(fleet)[-1] == "release-first-s-seat-of-first-s"
    timeline = {promise.identity: promise.status for promise in runs.timeline(run.id)}
    assert (timeline["undo:reserve_stuck#1"], timeline["undo:reserve#1"]) == ("skipped", "undone")


def test_effects_are_left_only_on_a_persons_word(fleet: FlowFleet) -> None:
    """``discard_undo`` ends the run at once, whatever is open."""
    fleet.start()
    run = fleet.flows.stuck.start("s")
    eventually(lambda: run.state() == RunState.PARKED, what="it is stuck")

    assert fleet.flows.dispatch.runs.cancel(run.id, reason="by hand", discard_undo=True) == RunState.CANCELLED
    with pytest.raises(RunCancelled, match="by hand"):
        run.result(timeout=5)
    assert words(fleet) == ["reserve-first-s", "reserve-s", "try-s"]


def test_a_process_that_dies_within_an_undo_loses_none(fleet: FlowFleet) -> None:
    """F-47: the undo runs again, at least once and in its place, and what was undone stays undone."""
    fleet.start()
    run = fleet.flows.deadly.start("d")

    with pytest.raises(RunFailed, match="not wanted"):
        run.result(timeout=20)
    assert words(fleet) == ["reserve-first-d", "reserve-d", "release-d", "release-d", "release-first-d-seat-of-first-d"]


@pytest.mark.faults
def test_a_killed_worker_loses_no_undo(fleet: FlowFleet) -> None:
    """F-02, F-09: another worker undoes what this one has done."""
    first = fleet.start("w1")
    run = fleet.flows.held.start("k")
    eventually(lambda: fleet.effects("k"), what="the step runs")
    fleet.start("w2")
    first.kill()
    run.cancel(reason="not needed")
    (fleet.folder / "go").touch()

    with pytest.raises(RunCancelled, match="not needed"):
        run.result(timeout=25)
    assert words(fleet)[-1] == "release-k-seat-of-k"
    assert words(fleet).count("release-k-seat-of-k") == 1


def test_what_is_no_step_can_be_undone(fleet: FlowFleet) -> None:
    """``add_undo`` puts it on record before it is done."""
    fleet.start()
    with pytest.raises(RunFailed, match="not wanted"):
        fleet.flows.added.start("a").result(timeout=15)
    assert words(fleet) == ["a", "forget-a-2"]


def test_a_run_can_make_amends_and_go_on(fleet: FlowFleet) -> None:
    """``compensate`` undoes once what is open so far; a replay does not do it again."""
    fleet.start()
    assert fleet.flows.amends.start("m").result(timeout=15) == "seat-of-other-m"
    assert words(fleet) == ["reserve-m", "refuse", "release-m-seat-of-m", "reserve-other-m"]
