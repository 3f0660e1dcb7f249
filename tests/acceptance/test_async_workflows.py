"""Workflows written as ``async def``: tasks, gather, timeouts, and what they may not do, in real workers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dispatch_celery import RunFailed
from dispatch_celery.workflows.model import RunState
from tests.support.eventually import eventually
from tests.support.flow_workers import FlowFleet, flow_fleet

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]

POOLS = {"prefork": ("-c", "2"), "threads": ("-P", "threads", "-c", "4"), "solo": ("-P", "solo")}


@pytest.fixture
def fleet(namespace: str, server_url: str, tmp_path: Path) -> Iterator[FlowFleet]:
    """Return a fleet in a namespace of its own, without workers yet."""
    with flow_fleet(namespace, server_url, tmp_path, "tests.support.async_flows") as made:
        yield made


@pytest.mark.parametrize("pool", POOLS)
def test_an_async_workflow_runs_like_any_other(pool: str, fleet: FlowFleet) -> None:
    """Steps, sleeps, jobs and children, each once, in every pool."""
    fleet.start("w1", *POOLS[pool])
    words = fleet.flows.sequence.start("s").result(timeout=20).split()

    assert words[:3] == ["s-a", "3", "leaf-s-leaf"]
    assert len(fleet.effects("s-a")) == len(fleet.effects("s-leaf")) == 1


def test_several_are_awaited_together(fleet: FlowFleet) -> None:
    """By ``asyncio.gather`` and by a task group."""
    fleet.start()
    assert fleet.flows.gathers.start().result(timeout=20) == ["one", "2", "None", "four", "1", "2", "3"]
    assert len(fleet.effects("one")) == len(fleet.effects("four")) == 1


def test_tasks_go_the_same_ways_on_each_replay(fleet: FlowFleet) -> None:
    """The order in which outcomes were handed out is that of the first pass."""
    fleet.start()
    run = fleet.flows.branches.start()
    order = run.result(timeout=20)

    lines = fleet.flows.dispatch.runs.timeline(run.id)
    assert order == [line.value for line in lines if line.kind == "step"]
    assert sorted(order) == ["x-1", "x-2", "y-1", "y-2", "z-1", "z-2"]
    assert all(len(fleet.effects(name)) == 1 for name in order)


def test_a_wait_can_be_limited(fleet: FlowFleet) -> None:
    """By ``asyncio.wait_for``: its time is a durable timer."""
    fleet.start()
    heard, unheard = fleet.flows.waits.start("h"), fleet.flows.waits.start("u")
    eventually(lambda: heard.state() == RunState.WAITING, what="it waits")
    fleet.flows.dispatch.events.publish("order.approved", {"by": "ann"}, key="h")

    assert heard.result(timeout=10) == "ann"
    assert unheard.result(timeout=15) == "nobody"


def test_who_waited_too_long_goes_on(fleet: FlowFleet) -> None:
    """The job it waited for goes on as well."""
    fleet.start()
    assert fleet.flows.times_out.start().result(timeout=15) == "after"
    assert len(fleet.effects("slow")) == 1


def test_an_async_run_is_undone_when_it_fails(fleet: FlowFleet) -> None:
    """Its async steps have undos like any."""
    fleet.start()
    with pytest.raises(RunFailed, match="2 is even"):
        fleet.flows.fails.start().result(timeout=15)
    assert len(fleet.effects("forget-done")) == 1


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("sleeps_wrongly", r"asyncio\.sleep in the workflow async\.sleeps_wrongly .*await wf\.sleep"),
        ("threads_wrongly", r"reaches outside \(loop\.run_in_executor\).*wf\.step"),
        ("foreign", r"awaits something that is none of wf's verbs"),
    ],
)
def test_what_a_replay_cannot_repeat_is_refused(name: str, words: str, fleet: FlowFleet) -> None:
    """With the name of the verb to write instead."""
    fleet.start()
    with pytest.raises(RunFailed, match=words) as failed:
        getattr(fleet.flows, name).start().result(timeout=15)
    assert failed.value.error_type.endswith("WorkflowMisuse")


def test_who_blocks_the_loop_is_told(fleet: FlowFleet) -> None:
    """In the worker's log; the run goes on."""
    worker = fleet.start()
    assert fleet.flows.blocks.start().result(timeout=15) == "blocked"
    assert "blocking work belongs in a step" in worker.words


def test_a_step_that_is_tried_again_later_holds_up_nobody(fleet: FlowFleet) -> None:
    """The one beside it is done meanwhile."""
    fleet.start()
    assert fleet.flows.retries.start().result(timeout=20) == [2, "beside"]
    assert (len(fleet.effects("late")), len(fleet.effects("beside"))) == (2, 1)


def test_an_async_run_leaves_in_order_when_it_rests(fleet: FlowFleet) -> None:
    """Its ``finally`` runs at each suspension, as in a plain workflow."""
    fleet.start()
    assert fleet.flows.tidies.start().result(timeout=15) == "end"
    assert len(fleet.effects("leaves")) == 2


def test_a_killed_worker_loses_nothing_of_it(fleet: FlowFleet) -> None:
    """F-02: what was done is not done again, and the order stays."""
    first = fleet.start("w1")
    run = fleet.flows.branches.start()
    eventually(lambda: fleet.effects("x-1"), what="it has begun")
    first.kill()
    fleet.start("w2")

    assert sorted(run.result(timeout=25)) == ["x-1", "x-2", "y-1", "y-2", "z-1", "z-2"]
    assert len(fleet.effects("y-2")) == 1
