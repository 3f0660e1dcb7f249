"""Runs that work with the fleet: jobs, children, gather, map, race, in real workers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dispatch_celery import JobState, RunCancelled, RunFailed, RunParked, scope
from dispatch_celery.workflows.model import RunState
from tests.support.eventually import eventually
from tests.support.flow_workers import FlowFleet, flow_fleet

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]

POOLS = {"prefork": ("-c", "2"), "threads": ("-P", "threads", "-c", "4"), "solo": ("-P", "solo")}


@pytest.fixture
def fleet(namespace: str, server_url: str, tmp_path: Path) -> Iterator[FlowFleet]:
    """Return a fleet in a namespace of its own, without workers yet."""
    with flow_fleet(namespace, server_url, tmp_path, "tests.support.family_flows") as made:
        yield made


@pytest.mark.parametrize("pool", POOLS)
def test_a_run_waits_for_jobs_without_holding_a_worker(pool: str, fleet: FlowFleet) -> None:
    """Also on a worker with one slot, which the job needs; typed, under the run's scope, each exactly one."""
    fleet.start("w1", *POOLS[pool])
    with scope(app_id="shop", org_id="acme"):
        run = fleet.flows.jobs.start()

    total, job_id, thumb = run.result(timeout=15)
    assert (total, thumb) == ("3", "30 shop/acme")
    job = fleet.flows.dispatch.jobs.get(job_id)
    assert (job.state, job.scope.path) == (JobState.COMPLETED, "shop/acme")
    assert len(fleet.effects("resize-3")) == len(fleet.effects("between")) == 1


def test_several_at_once_are_gathered(fleet: FlowFleet) -> None:
    """Jobs, a child and a step, results in order."""
    fleet.start()
    total, thumb, child, here = fleet.flows.gathers.start().result(timeout=15)

    assert (total, thumb.n, child, here) == (2, 10, "leaf-g", "here")
    assert len(fleet.effects("g")) == len(fleet.effects("here")) == 1


def test_the_first_failure_cancels_the_others(fleet: FlowFleet) -> None:
    """It is raised as a JobFailed, long before the slow one would have ended."""
    fleet.start("w1", "-c", "4")
    assert fleet.flows.fails_fast.start().result(timeout=15) == "2 is even JobFailed"
    eventually(lambda: sum(fleet.flows.dispatch.jobs.count(name="family.slow").values()) > 0, what="the loser is known")
    eventually(
        lambda: fleet.flows.dispatch.jobs.count(name="family.slow")[JobState.CANCELLED] == 1,
        what="the loser is cancelled",
    )


@pytest.mark.parametrize(("count", "width"), [(1, 50), (60, 7), (200, 50), (0, 5)])
def test_a_job_is_mapped_over_items(count: int, width: int, fleet: FlowFleet) -> None:
    """In order, each once, however many are under way at a time."""
    fleet.start("w1", "-c", "2")
    assert fleet.flows.maps.start(count, width).result(timeout=30) == count
    assert sum(len(fleet.effects(f"resize-{n}")) for n in range(count)) == count


def test_failures_can_be_collected(fleet: FlowFleet) -> None:
    """Values and errors, in order."""
    fleet.start()
    assert fleet.flows.collects.start().result(timeout=15) == ["1", "2 is even", "3"]


def test_the_quick_one_wins_and_so_does_the_one_that_succeeds(fleet: FlowFleet) -> None:
    """Losers are cancelled."""
    fleet.start("w1", "-c", "4")
    assert fleet.flows.races.start().result(timeout=15) == ["1 2", "1 7"]
    eventually(
        lambda: fleet.flows.dispatch.jobs.count(name="family.slow")[JobState.CANCELLED] == 1,
        what="the loser is cancelled",
    )


def test_children_run_once_and_tell_how_they_end(fleet: FlowFleet) -> None:
    """Their results are the parent's, their failures too, as RunFailed."""
    fleet.start()
    assert fleet.flows.children.start().result(timeout=15) == ["leaf-a", "leaf-b", "c fails"]
    assert [len(fleet.effects(name)) for name in "abc"] == [1, 1, 1]
    assert len(fleet.effects("forget-c")) == 1
    assert fleet.effects("forget-a") == []


def test_a_failed_parent_takes_back_what_its_children_did(fleet: FlowFleet) -> None:
    """A child that has completed is undone, before what the parent did before it."""
    fleet.start()
    run = fleet.flows.parent.start()

    with pytest.raises(RunFailed, match="not wanted"):
        run.result(timeout=20)
    words = [line.split(" ", 1)[0] for line in fleet.effects_file.read_text().splitlines()]
    assert words == ["own", "child", "forget-child", "forget-own"]


def test_an_undo_given_up_before_a_child_is_undone_parks(fleet: FlowFleet) -> None:
    """The child is among what is still to be undone; once the undo is skipped, it is."""
    fleet.start()
    run = fleet.flows.stuck.start()
    with pytest.raises(RunParked, match=r"the bank is closed; still to be undone: charge#1 .*, family\.leaf#1"):
        run.result(timeout=15)

    fleet.flows.dispatch.runs.skip_undo(run.id, "charge#1")
    eventually(lambda: run.state() == RunState.FAILED, what="it is undone")
    assert len(fleet.effects("forget-child")) == 1


def test_a_cancel_reaches_down_to_the_last_job(fleet: FlowFleet) -> None:
    """Child, grandchild job; each is cancelled, and what they did is undone, the last first."""
    fleet.start("w1", "-c", "2")
    run = fleet.flows.waits.start()
    eventually(lambda: fleet.effects("held"), what="the job runs")

    run.cancel(reason="enough")
    with pytest.raises(RunCancelled, match="enough"):
        run.result(timeout=25)
    words = [line.split(" ", 1)[0] for line in fleet.effects_file.read_text().splitlines()]
    assert [word for word in words if word.startswith("forget")] == ["forget-middle", "forget-own"]
    assert fleet.flows.dispatch.jobs.count(name="family.slow")[JobState.CANCELLED] == 1


def test_a_detached_child_is_spared(fleet: FlowFleet) -> None:
    """It goes on when its parent is cancelled."""
    fleet.start("w1", "-c", "2")
    run = fleet.flows.waits.start(detached=True)
    eventually(lambda: fleet.effects("held"), what="the job runs")

    run.cancel()
    with pytest.raises(RunCancelled):
        run.result(timeout=20)
    assert fleet.flows.dispatch.runs.count(name="family.middle")[RunState.WAITING] == 1


def test_a_killed_worker_loses_no_member(fleet: FlowFleet) -> None:
    """F-02: the job runs again elsewhere, and the run that waits for it goes on, once."""
    first = fleet.start("w1")
    run = fleet.flows.holds.start()
    eventually(lambda: fleet.effects("held"), what="the job runs")
    fleet.start("w2")
    first.kill()
    (fleet.folder / "go").touch()

    assert run.result(timeout=25) == "held-after"
    assert len(fleet.effects("held-after")) == 1


def test_a_poisonous_member_fails_and_its_run_is_told(fleet: FlowFleet) -> None:
    """F-13: the job is dead-lettered after max_crashes, and the run goes on with that."""
    fleet.start("w1", "-c", "2", DISPATCH_MAX_CRASHES="2")
    assert fleet.flows.poisoned.start().result(timeout=30).endswith("WorkerCrashed")


def test_a_members_own_retries_come_first(fleet: FlowFleet) -> None:
    """The run is told of its last attempt only."""
    fleet.start()
    assert fleet.flows.retries.start().result(timeout=15) == 2


def test_what_was_sent_can_be_cancelled(fleet: FlowFleet) -> None:
    """Its promise then fails."""
    fleet.start()
    assert fleet.flows.changes_mind.start().result(timeout=15) == "JobCancelled"


def test_children_of_children_twenty_deep(fleet: FlowFleet) -> None:
    """F-41: all of them end, and nothing is done twice."""
    fleet.start("w1", "-c", "2")
    assert fleet.flows.nested.start(20).result(timeout=40) == 21
    assert sum(len(fleet.effects(f"level-{n}")) for n in range(21)) == 21


def test_a_member_that_is_never_started_is_told_to_its_run(fleet: FlowFleet) -> None:
    """One that a worker finds expired, and one whose name nobody has known for too long."""
    # Two workers stand still at once with one process each; what is sent waits until it has expired.
    fleet.start("w1", "-P", "solo", DISPATCH_UNKNOWN_GRACE="1")
    busy = [fleet.flows.slow.enqueue("busy", 1.0)]
    run = fleet.flows.in_vain.start("ann")
    busy += [fleet.flows.slow.enqueue(f"busy-{n}", 0.5) for n in range(6)]

    assert run.result(timeout=40) == "JobCancelled JobFailed"
    assert {handle.result(timeout=20) for handle in busy}
