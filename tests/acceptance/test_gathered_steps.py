"""Steps of one run that are under way at the same time, in real workers: each waits for what another one has done."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dispatch_celery import RunCancelled, RunState, scope
from tests.support.eventually import eventually
from tests.support.flow_workers import FlowFleet, flow_fleet

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]

POOLS = {
    "prefork": ("-c", "2"),
    "threads": ("-P", "threads", "-c", "4"),
    "solo": ("-P", "solo"),
    "gevent": ("-P", "gevent", "-c", "10"),
}


@pytest.fixture
def fleet(namespace: str, server_url: str, tmp_path: Path) -> Iterator[FlowFleet]:
    """Return a fleet in a namespace of its own, without workers yet."""
    with flow_fleet(namespace, server_url, tmp_path, "tests.support.crowd_flows") as made:
        yield made


@pytest.mark.parametrize("pool", POOLS)
def test_gathered_steps_run_at_the_same_time(pool: str, fleet: FlowFleet) -> None:
    """Sync and async ones, each as its own current step with the body's context; their threads end with them."""
    fleet.start("w1", *POOLS[pool])
    with scope(app_id="shop"):
        run = fleet.flows.meets.start()

    assert run.result(timeout=25) == [
        "gather#1/meet#1 shop/ set by the body",
        "gather#1/meet#2 shop/ set by the body",
        "gather#1/ameet#1",
        "gather#1/ameet#2",
        "all have ended",
    ]
    assert [len(fleet.effects(name)) for name in "abcd"] == [1, 1, 1, 1]


def test_a_map_has_no_more_steps_under_way_than_it_may(fleet: FlowFleet) -> None:
    """Nor more than eight; results in order, each step once."""
    fleet.start()
    assert fleet.flows.maps.start(12, 4).result(timeout=25) == [f"map#1/pair#{n + 1}" for n in range(12)]
    assert _most_at_once(fleet) in (2, 3, 4)

    fleet.effects_file.unlink()
    assert len(fleet.flows.maps.start(24, 50).result(timeout=25)) == 24
    assert _most_at_once(fleet) <= 8


def _most_at_once(fleet: FlowFleet) -> int:
    most = now = 0
    for line in fleet.effects_file.read_text().splitlines():
        now += 1 if line.startswith("begin") else -1
        most = max(most, now)
    return most


def test_who_has_lost_finishes_and_is_undone(fleet: FlowFleet) -> None:
    """Of a failed gather and of a race; with its result, before the body goes on; who has won stays."""
    fleet.start()
    assert fleet.flows.fails_fast.start().result(timeout=20) == "no money after"
    assert _words(fleet) == ["loser", "forget-loser-loser", "after"]

    fleet.effects_file.unlink()
    assert fleet.flows.races.start().result(timeout=20) == ["1 winner", "1 second"]
    assert _words(fleet) == ["loser", "winner", "forget-loser-loser", "second"]


def test_a_job_that_fails_beside_a_step_undoes_the_step(fleet: FlowFleet) -> None:
    """The step finishes first: it cannot be called off."""
    fleet.start()
    run = fleet.flows.mixes.start()
    eventually(lambda: fleet.effects("beside"), what="the step runs")
    eventually(lambda: sum(fleet.flows.dispatch.jobs.count(name="family.odd", state="failed").values()), what="failed")
    (fleet.folder / "go").touch()

    assert run.result(timeout=20) == ["2 is even", "after"]
    assert _words(fleet) == ["beside", "beside-end", "forget-beside-beside", "after"]


def _words(fleet: FlowFleet) -> list[str]:
    return [line.split(" ", 1)[0] for line in fleet.effects_file.read_text().splitlines()]


def test_gathered_steps_are_tried_again_each_by_itself(fleet: FlowFleet) -> None:
    """At once in the worker, later without one; nobody else runs again for it."""
    fleet.start("w1", "-c", "1")
    run = fleet.flows.retries.start()
    eventually(lambda: run.state() == RunState.WAITING, what="only the late one is left")

    lines = {line.identity: line.status for line in fleet.flows.dispatch.runs.timeline(run.id)}
    assert lines == {"gather#1/soon#1": "value", "gather#1/later#1": "retrying", "gather#1/mark#1": "value"}
    assert fleet.shop.add.enqueue(1).result(timeout=10) == 2
    assert run.result(timeout=15) == ["2", "2", "mark"]
    assert [len(fleet.effects(name)) for name in ("soon", "later", "mark")] == [2, 2, 1]


def test_what_a_gathered_step_raises_is_its_own(fleet: FlowFleet) -> None:
    """Also ``sys.exit``, and a durable call of the body that it makes."""
    worker = fleet.start()
    call, left, fine = fleet.flows.collects.start().result(timeout=15)

    assert "inside the step map#1/nested#1" in call
    assert (left, fine) == ("it leaves", "fine")
    assert fleet.effects("inner") == []
    assert worker.process.poll() is None


@pytest.mark.parametrize("pool", ["prefork", "threads"])
@pytest.mark.parametrize("how", ["naps", "sleeps", "asleeps"])
def test_a_gathered_step_past_its_time_fails(pool: str, how: str, fleet: FlowFleet) -> None:
    """As a TimeoutError, whatever becomes of its code: told where it can be, else its process is ended."""
    fleet.start("w1", *POOLS[pool])
    run = fleet.flows.late.start(how)
    words, after = run.result(timeout=25)

    was_told = how == "asleeps" or (pool == "prefork" and how == "naps")
    assert (run.info().token == 1) == was_told
    assert ("ran longer than its timeout" in words, after) == (True, "after")
    assert [len(fleet.effects(name)) for name in ("slow", "slow-end", "beside", "after")] == [1, 0, 1, 1]


@pytest.mark.faults
def test_a_timeout_that_cost_the_process_has_used_up_an_attempt(fleet: FlowFleet) -> None:
    """So that a step which hangs each time fails in the end, and kills no process for ever."""
    fleet.start()
    words, after = fleet.flows.late.start("sleeps_twice").result(timeout=25)

    assert ("ran longer than its timeout" in words, after) == (True, "after")
    assert [len(fleet.effects(name)) for name in ("slow-1", "slow-2", "beside")] == [1, 1, 1]


@pytest.mark.parametrize("pool", ["prefork", "threads", "gevent"])
def test_a_run_is_cancelled_in_gathered_steps(pool: str, fleet: FlowFleet) -> None:
    """All of them are told, or left behind with a void token; what they did is undone, each once."""
    fleet.start("w1", *POOLS[pool])
    run = fleet.flows.holding.start("h")
    eventually(lambda: fleet.effects("h-1") and fleet.effects("h-2"), what="both run")

    assert run.cancel(reason="not needed") == RunState.RUNNING
    with pytest.raises(RunCancelled, match="not needed"):
        run.result(timeout=20)
    assert [len(fleet.effects(f"forget-h-{n}-None")) for n in (1, 2)] == [1, 1]
    assert {line.status for line in fleet.flows.dispatch.runs.timeline(run.id)} == {"undone"}
    assert fleet.effects("h-after") == fleet.effects("h-1-end") == []


@pytest.mark.faults
@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_a_worker_that_stops_hands_gathered_steps_on(pool: str, fleet: FlowFleet) -> None:
    """It ends although they do not; no crash is counted, and only what has no outcome runs again."""
    leaving = fleet.start("w1", *POOLS[pool], DISPATCH_SHUTDOWN_GRACE="1")
    run = fleet.flows.holding.start("h")
    eventually(lambda: fleet.effects("h-1") and fleet.effects("h-2"), what="both run")

    assert leaving.terminate(within=20) == 0
    assert (run.state(), run.info().crashes) == (RunState.PENDING, 0)
    (fleet.folder / "go").touch()
    fleet.start("w2", *POOLS[pool])
    assert run.result(timeout=15) == ["h-1", "h-2", "h-after"]
    assert [len(fleet.effects(name)) for name in ("h-1", "h-2", "h-after")] == [2, 2, 1]


@pytest.mark.faults
def test_a_killed_worker_loses_no_gathered_step(fleet: FlowFleet) -> None:
    """F-02: both run again elsewhere, under the same idempotency keys."""
    first = fleet.start("w1")
    run = fleet.flows.holding.start("h")
    eventually(lambda: fleet.effects("h-1") and fleet.effects("h-2"), what="both run")
    first.kill()
    (fleet.folder / "go").touch()
    fleet.start("w2")

    assert run.result(timeout=25) == ["h-1", "h-2", "h-after"]
    assert [len(fleet.effects(name)) for name in ("h-1", "h-2", "h-after")] == [2, 2, 1]
