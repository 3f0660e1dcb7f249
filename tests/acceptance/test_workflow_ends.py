"""Runs that do not end as they began: cancelled, timed out, their code changed, their rules broken."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dispatch_celery import RunCancelled, RunFailed, RunParked
from dispatch_celery.errors import StateConflict
from dispatch_celery.workflows.model import RunState
from tests.support.eventually import eventually
from tests.support.flow_workers import FlowFleet, flow_fleet

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]

POOLS = {"prefork": ("-c", "2"), "threads": ("-P", "threads", "-c", "4"), "solo": ("-P", "solo")}


@pytest.fixture
def fleet(namespace: str, server_url: str, tmp_path: Path) -> Iterator[FlowFleet]:
    """Return a fleet in a namespace of its own, without workers yet."""
    with flow_fleet(namespace, server_url, tmp_path) as made:
        yield made


def test_a_run_is_cancelled_in_its_sleep(fleet: FlowFleet) -> None:
    """At once, with its reason, and nothing of it runs any more."""
    fleet.start()
    run = fleet.flows.nap.start("n", 1.0)
    eventually(lambda: run.state() == RunState.WAITING, what="it sleeps")

    assert run.cancel(reason="not needed") == RunState.CANCELLED
    assert run.cancel() == RunState.CANCELLED
    with pytest.raises(RunCancelled, match="not needed"):
        run.result(timeout=5)
    other = fleet.flows.nap.start("other", 1.5)
    assert other.result(timeout=10) == "other-after"
    assert fleet.effects("n-after") == []
    with pytest.raises(StateConflict, match="completed"):
        other.cancel()


@pytest.mark.parametrize("on_loop", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("pool", POOLS)
def test_a_run_is_cancelled_while_a_step_runs(pool: str, fleet: FlowFleet, *, on_loop: bool) -> None:
    """Its last attempt too is interrupted where that can be, and the run is cancelled for its reason, not failed."""
    fleet.start("w1", *POOLS[pool])
    run = fleet.flows.holding.start("h", on_loop=on_loop)
    eventually(lambda: fleet.effects("h"), what="the step runs")

    assert run.cancel(reason="not needed") == RunState.RUNNING
    eventually(lambda: run.state() != RunState.RUNNING, what="the step is interrupted, or its run taken from it")
    (fleet.folder / "go").touch()  # the one slot of a solo worker is free when its code ends
    with pytest.raises(RunCancelled, match="not needed"):
        run.result(timeout=15)
    assert fleet.effects("h-after") == []


def test_work_outside_of_a_step_is_cancelled_for_good(fleet: FlowFleet) -> None:
    """A function that is busy between its calls is ended, and not begun again only to find that it was cancelled."""
    fleet.start()
    run = fleet.flows.busy.start(30)
    eventually(lambda: fleet.effects("busy"), what="it is busy")

    assert run.cancel(reason="not needed") == RunState.RUNNING
    with pytest.raises(RunCancelled, match="not needed"):
        run.result(timeout=10)
    assert len(fleet.effects("busy")) == 1


def test_a_run_past_its_time_is_cancelled(fleet: FlowFleet) -> None:
    """In its sleep and in a step alike; the reason says that its time was up."""
    fleet.start()
    sleeping = fleet.flows.nap.options(timeout=0.5).start("n", 60)
    holding = fleet.flows.holding.options(timeout=1).start("h")

    for run in (sleeping, holding):
        with pytest.raises(RunCancelled, match="timeout"):
            run.result(timeout=15)
    assert fleet.effects("n-after") == fleet.effects("h-after") == []


@pytest.mark.faults
def test_changed_code_parks_a_run_until_the_old_code_is_back(fleet: FlowFleet) -> None:
    """The run is told apart with both sequences and nothing of it executed; resumed under its old code it goes on."""
    old = fleet.start("old", FLOWS_RELEASE="old")
    run = fleet.flows.change.start(2.0)
    eventually(lambda: run.state() == RunState.WAITING, what="it sleeps")
    old.terminate()
    new = fleet.start("new")

    with pytest.raises(RunParked, match="its code has changed") as parked:
        run.result(timeout=15)
    assert "recorded: step mark#1, sleep sleep#1\ncode:     step check#1" in str(parked.value)
    assert fleet.effects("zero") == []
    assert run.state() == RunState.PARKED
    new.terminate()
    fleet.start("old-again", FLOWS_RELEASE="old")
    assert fleet.flows.dispatch.runs.resume(run.id) == RunState.PENDING
    assert run.result(timeout=15) == "two"
    assert (len(fleet.effects("one")), len(fleet.effects("two"))) == (1, 1)
    with pytest.raises(StateConflict, match="completed, not parked"):
        fleet.flows.dispatch.runs.resume(run.id)


def test_code_that_lost_its_uuid_parks_a_run(fleet: FlowFleet) -> None:
    """A call that records nothing is part of the sequence: without it, recorded steps must not run again."""
    old = fleet.start("old", FLOWS_RELEASE="old")
    run = fleet.flows.gap.start(2.0)
    eventually(lambda: run.state() == RunState.WAITING, what="it sleeps")
    old.terminate()
    fleet.start("new")

    with pytest.raises(RunParked, match="its code has changed"):
        run.result(timeout=10)
    assert len(fleet.effects("one")) == 1


def test_a_run_stays_on_its_version(fleet: FlowFleet) -> None:
    """Versions stand side by side; who only knows the old one gives the new one's runs back, uncounted."""
    old = fleet.start("old", FLOWS_RELEASE="old")
    one, two = fleet.flows.side_one.start(1.0), fleet.flows.dispatch.start("flows.side", seconds=1.0)
    assert (one.info().version, two.info().version) == (1, 2)

    assert one.result(timeout=10) == "one"
    assert two.state() != RunState.COMPLETED
    assert fleet.effects("two") == []
    fleet.start("new")
    assert two.result(timeout=15) == "two"
    assert old.process.poll() is None
    assert fleet.flows.dispatch.runs.handle(one.id).result(timeout=1) == "one"
    assert two.info().crashes == 0


def test_an_unknown_workflow_waits_for_a_worker_that_knows_it(fleet: FlowFleet) -> None:
    """A rolling deploy parks nothing: a worker without the workflow gives the run back, one with it takes it."""
    old = fleet.start("old", FLOWS_RELEASE="old")
    run = fleet.flows.novelty.start()
    assert fleet.shop.add.enqueue(1).result(timeout=10) == 2
    assert run.state() == RunState.PENDING
    assert old.process.poll() is None
    fleet.start("new")

    assert run.result(timeout=20) == "novelty"
    assert old.process.poll() is None


def test_a_version_nobody_knows_is_parked_and_revived(fleet: FlowFleet) -> None:
    """As with a name: after the grace it is parked and says what is missing; a worker that knows it lets it go on."""
    fleet.start("old", FLOWS_RELEASE="old", DISPATCH_UNKNOWN_GRACE="2")
    run = fleet.flows.dispatch.start("flows.side", seconds=0.1)

    with pytest.raises(RunParked, match=r"no live worker has known version 2 of the workflow 'flows\.side'"):
        run.result(timeout=20)
    assert run.info().token == 0
    fleet.start("new")
    eventually(lambda: run.state() != RunState.PARKED, what="it is revived")
    assert run.result(timeout=20) == "two"


def test_a_run_that_kills_its_processes_is_parked(fleet: FlowFleet) -> None:
    """After max_crashes without a step in between only a person can go on; other work did meanwhile."""
    fleet.start("w1", "-c", "2", DISPATCH_MAX_CRASHES="3")
    run = fleet.flows.poison.start("poison")
    assert fleet.flows.nap.start("n", 0.1).result(timeout=20) == "n-after"

    with pytest.raises(RunParked, match=r"it kills its processes: .*3 crashes in all"):
        run.result(timeout=30)
    assert len(fleet.effects("poison")) == 3
    assert run.cancel() == RunState.CANCELLED


def test_a_swallowed_suspension_is_reported(fleet: FlowFleet) -> None:
    """A workflow that catches BaseException does not go on by halves: its run fails, and says what to write instead."""
    fleet.start()
    run = fleet.flows.swallow.start()

    with pytest.raises(RunFailed, match="catch Exception instead") as failed:
        run.result(timeout=15)
    assert failed.value.error_type.endswith("WorkflowMisuse")
    assert len(fleet.effects("swallowed")) == 1


def test_a_durable_call_within_a_step_is_refused(fleet: FlowFleet) -> None:
    """A step is recorded as a whole: what is recorded inside of it could not be found again on a replay."""
    fleet.start()

    with pytest.raises(RunFailed, match="step") as failed:
        fleet.flows.nest.start().result(timeout=10)
    assert failed.value.error_type.endswith("WorkflowMisuse")
    assert fleet.effects("inner") == []


def test_a_run_is_let_go_of_when_its_function_has_left(fleet: FlowFleet) -> None:
    """No other process takes a suspended run up while a ``finally`` of its function still runs."""
    fleet.start()

    assert fleet.flows.tidy.start().result(timeout=15) == "next"
    words = [line.split(" ", 1)[0] for line in fleet.effects_file.read_text().splitlines()]
    assert words == ["leaving", "left", "leaving", "left", "next"]


def test_a_result_that_does_not_fit_fails_the_run(fleet: FlowFleet) -> None:
    """What a workflow returns is held to its annotation."""
    fleet.start()

    with pytest.raises(RunFailed, match="valid integer"):
        fleet.flows.liar.start().result(timeout=15)
    assert len(fleet.effects("liar")) == 1
