"""Runs in real workers, from a decorator to an end: what is recorded is not done again, whatever dies or changes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from dispatch_celery import IdempotencyConflict, RunFailed, RunId, RunNotFound, WorkflowNotFound
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


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.every_pool
def test_steps_run_once_and_types_come_back(pool: str, fleet: FlowFleet) -> None:
    """Sync and async steps run once however often the function does; models, decimals and times are what they were."""
    fleet.start("w1", *POOLS[pool])
    flows = fleet.flows
    order = flows.Order(id="o1", amount=Decimal("1.10"), data=b"\xff\x00")

    run = flows.checkout.start(order)
    done = run.result(timeout=15)

    assert isinstance(done, flows.Confirmation)
    assert (done.order, done.total, done.kinds) == (order, Decimal("2.20"), ["Decimal", "datetime", "Order", "last"])
    assert timedelta(hours=23) < done.due - run.info().created_at < timedelta(hours=25)
    assert [len(fleet.effects(name)) for name in ("price", "promise", "check", "last", "pass")] == [1, 1, 1, 1, 2]
    lines = flows.dispatch.runs.timeline(run.id)
    assert [(line.identity, line.kind, line.status) for line in lines] == [
        ("price#1", "step", "value"),
        ("now#1", "now", "value"),
        ("promise#1", "step", "value"),
        ("check#1", "step", "value"),
        ("same#1", "step", "value"),
        ("sleep#1", "sleep", "value"),
        ("last#1", "step", "value"),
    ]
    assert (lines[0].value, lines[0].attempts) == ("2.20", 1)


@pytest.mark.parametrize("pool", POOLS)
def test_a_sleeping_run_holds_no_worker(pool: str, fleet: FlowFleet) -> None:
    """A worker with one slot runs other work while runs sleep, and takes them up when they are due."""
    fleet.start("w1", *({"threads": ("-P", "threads"), "solo": ("-P", "solo")}.get(pool, ())), "-c", "1")
    flows = fleet.flows
    runs = [flows.nap.start(f"n{n}", 2.0) for n in range(3)]
    eventually(lambda: {run.state() for run in runs} == {RunState.WAITING}, what="all sleep")

    assert fleet.shop.add.enqueue(2, 3).result(timeout=10) == 5
    assert {run.state() for run in runs} == {RunState.WAITING}
    assert [run.result(timeout=15) for run in runs] == [f"n{n}-after" for n in range(3)]
    assert [len(fleet.effects(f"n{n}-before")) for n in range(3)] == [1, 1, 1]


def test_a_sleep_outlives_its_worker(fleet: FlowFleet) -> None:
    """The deadline is stored: another worker takes the run up, and the sleep does not begin again."""
    first = fleet.start()
    run = fleet.flows.nap.start("n", 3.0)
    eventually(lambda: run.state() == RunState.WAITING, what="it sleeps")
    (due,) = [line.due_at for line in fleet.flows.dispatch.runs.timeline(run.id) if line.kind == "sleep"]
    first.kill()
    fleet.start("w2")

    assert run.result(timeout=20) == "n-after"
    (slept,) = [line for line in fleet.flows.dispatch.runs.timeline(run.id) if line.kind == "sleep"]
    assert slept.resolved_at >= due
    assert run.info().finished_at - due < timedelta(seconds=5)
    assert (len(fleet.effects("n-before")), len(fleet.effects("n-after"))) == (1, 1)


def test_a_failed_step_is_caught_by_its_class_on_every_pass(fleet: FlowFleet) -> None:
    """Class, arguments, attributes and remote traceback are the same before and after a replay."""
    fleet.start()

    run = fleet.flows.catch.start()

    assert run.result(timeout=15) == [
        "no money",
        "3",
        "True",
        "step refuse#1 failed: tests.support.flows.Refused: no money",
    ]
    assert len(fleet.effects("refuse")) == 1
    failed = fleet.flows.dispatch.runs.timeline(run.id)[0]
    assert (failed.status, failed.failure.type) == ("error", "tests.support.flows.Refused")


def test_a_failed_step_that_nobody_catches_fails_the_run(fleet: FlowFleet) -> None:
    """The caller sees which step, and why."""
    fleet.start()

    with pytest.raises(RunFailed, match="no money") as failed:
        fleet.flows.uncaught.start().result(timeout=15)
    assert "raise Refused" in failed.value.remote_traceback


def test_a_step_is_tried_again_in_place_or_through_the_timer(fleet: FlowFleet) -> None:
    """A short wait is spent in the worker, a long one without: each try leaves the steps before it alone."""
    fleet.start("w1", "-c", "1")
    retry = fleet.flows.retry

    assert retry.start("short", 2, long=False).result(timeout=10) == 3
    long = retry.start("long", 1, long=True)
    eventually(lambda: long.state() == RunState.WAITING, what="it waits for its next try")
    (waiting,) = [line for line in fleet.flows.dispatch.runs.timeline(long.id) if line.status == "retrying"]
    assert (waiting.identity, waiting.attempts) == ("later#1", 1)
    assert fleet.shop.add.enqueue(1).result(timeout=10) == 2
    assert long.result(timeout=10) == 2
    with pytest.raises(RunFailed, match="not yet"):
        retry.start("never", 9, long=True).result(timeout=10)
    assert [len(fleet.effects(name)) for name in ("short", "long", "never", "long-before")] == [3, 2, 2, 1]


def test_a_step_past_its_time_is_ended(fleet: FlowFleet) -> None:
    """A step's timeout holds for a plain function, and is caught as TimeoutError."""
    fleet.start()

    assert fleet.flows.slowly.start().result(timeout=15) == "timed out"
    assert fleet.effects("slow-end") == []


def test_a_process_that_dies_in_a_step_repeats_that_step_only(fleet: FlowFleet) -> None:
    """The step runs again under the same idempotency key; what was recorded before it does not."""
    fleet.start()
    run = fleet.flows.dying.start("d", 1)

    assert run.result(timeout=20) == 2
    assert fleet.keys() == [f"{run.id}:0:die#1"] * 2
    assert [len(fleet.effects(name)) for name in ("d-before", "d", "d-after")] == [1, 2, 1]
    assert (run.info().state, run.info().token) == (RunState.COMPLETED, 2)


@pytest.mark.parametrize("pool", POOLS)
def test_a_worker_that_dies_in_a_step_loses_nothing(pool: str, fleet: FlowFleet) -> None:
    """What a killed worker held goes on elsewhere, from its last record."""
    first = fleet.start("w1", *POOLS[pool])
    run = fleet.flows.holding.start("h")
    eventually(lambda: fleet.effects("h"), what="the step runs")
    fleet.start("w2", *POOLS[pool])
    first.kill()
    (fleet.folder / "go").touch()

    assert run.result(timeout=25) == "h-after"
    assert fleet.keys() == [f"{run.id}:0:hold#1"] * 2
    assert [len(fleet.effects(name)) for name in ("h-before", "h", "h-after")] == [1, 2, 1]


def test_a_stopping_worker_hands_its_run_on(fleet: FlowFleet) -> None:
    """A deploy counts as no crash and no attempt: the step that did not end in time runs again elsewhere."""
    leaving = fleet.start("w1", "-c", "2", DISPATCH_SHUTDOWN_GRACE="1")
    run = fleet.flows.holding.start("h")
    eventually(lambda: fleet.effects("h"), what="the step runs")

    assert leaving.terminate(within=20) == 0
    assert (run.state(), run.info().crashes) == (RunState.PENDING, 0)
    (fleet.folder / "go").touch()
    fleet.start("w2")
    assert run.result(timeout=15) == "h-after"
    assert [len(fleet.effects(name)) for name in ("h-before", "h", "h-after")] == [1, 2, 1]


def test_one_key_is_one_run(fleet: FlowFleet) -> None:
    """A known key returns the first run, also after its end, or a conflict that names it."""
    nap = fleet.flows.nap.options(idempotency_key="k")
    first = nap.start("n", 0.1)

    assert nap.start("n", 0.1).id == first.id
    with pytest.raises(IdempotencyConflict) as conflict:
        nap.start("n", 0.2)
    assert conflict.value.existing_id == first.id
    fleet.start()
    assert first.result(timeout=10) == "n-after"
    assert nap.start("n", 0.1).result(timeout=5) == "n-after"
    assert len(fleet.effects("n-before")) == 1


def test_runs_are_started_by_name_listed_and_counted(fleet: FlowFleet) -> None:
    """By name the arguments are checked as ever; lists are by state and name, newest first, page by page."""
    flows, runs = fleet.flows, fleet.flows.dispatch.runs
    with pytest.raises(WorkflowNotFound, match=r"flows\.nap"):
        flows.dispatch.start("flows.nobody")
    with pytest.raises(RunNotFound):
        runs.get(RunId.mint())
    naps = [flows.dispatch.start("flows.nap", name=f"n{n}", seconds=0.1) for n in range(2)]
    naps.append(asyncio.run(flows.dispatch.astart("flows.nap", name="n2", seconds=0.1)))
    later = flows.nap.options(delay=60).start("later", 0.1)

    assert (later.state(), naps[0].state()) == (RunState.WAITING, RunState.PENDING)
    assert runs.count()[RunState.PENDING] == runs.count(name="flows.nap")[RunState.PENDING] == 3
    fleet.start()
    assert [run.result(timeout=15) for run in naps] == ["n0-after", "n1-after", "n2-after"]
    page = runs.list(state="completed", name="flows.nap", limit=2)
    rest = runs.list(state="completed", name="flows.nap", limit=2, cursor=page.next_cursor)
    created = [run.created_at for run in (*page, *rest)]
    assert created == sorted(created, reverse=True)
    assert {run.id for run in (*page, *rest)} == {run.id for run in naps}
    assert {run.id for run in runs.list()} == {run.id for run in (*naps, later)}
    assert (runs.count()[RunState.COMPLETED], runs.count()[RunState.WAITING]) == (3, 1)
    last = runs.get(naps[2].id)
    assert (last.arguments, last.result) == ({"name": "n2", "seconds": 0.1}, "n2-after")


def test_a_paused_queue_holds_its_runs_until_it_is_resumed(fleet: FlowFleet) -> None:
    """A run that is ready waits in its lane, and its wake-ups are not published over and over; then it goes on."""
    flows = fleet.flows
    flows.dispatch.queues.pause(flows.app.conf.task_default_queue)
    run = flows.checkout.start(flows.Order(id="o1", amount=Decimal("1.10"), data=b""))
    fleet.start("w1", "-P", "threads", "-c", "2")
    eventually(flows.dispatch.workers.leader, within=10, what="somebody leads")
    assert run.state() == RunState.PENDING

    flows.dispatch.queues.resume(flows.app.conf.task_default_queue)

    assert run.result(timeout=15).total == Decimal("2.20")
