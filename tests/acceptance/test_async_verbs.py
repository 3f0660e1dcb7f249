"""What async workflows make several calls with, in real workers: the verbs of the plain face, as promises."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dispatch_celery import JobState, RunCancelled, RunFailed, RunState
from tests.support.eventually import eventually
from tests.support.flow_workers import FlowFleet, flow_fleet

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]

POOLS = {"prefork": ("-c", "4"), "threads": ("-P", "threads", "-c", "4"), "gevent": ("-P", "gevent", "-c", "10")}


@pytest.fixture
def fleet(namespace: str, server_url: str, tmp_path: Path) -> Iterator[FlowFleet]:
    """Return a fleet in a namespace of its own, without workers yet."""
    with flow_fleet(namespace, server_url, tmp_path, "tests.support.async_flows") as made:
        yield made


def _words(fleet: FlowFleet) -> list[str]:
    return [line.split(" ", 1)[0] for line in fleet.effects_file.read_text().splitlines()]


@pytest.mark.parametrize("pool", POOLS)
def test_many_calls_are_made_at_once(pool: str, fleet: FlowFleet) -> None:
    """Map, gather, race and first_ok beside each other: jobs, children and steps, each once, results in order."""
    fleet.start("w1", *POOLS[pool])

    assert fleet.flows.crowds.start().result(timeout=30) == [
        "[0, 10, 20, 30, 40, 50, 60]",
        "[True, False]",
        "['m1', 'm2'] 2 leaf-g here",
        "1 2 1 7",
    ]
    assert [len(fleet.effects(name)) for name in ("m1", "m2", "g", "here", "resize-6")] == [1, 1, 1, 1, 1]
    jobs = fleet.flows.dispatch.jobs
    eventually(lambda: jobs.count(name="family.slow")[JobState.RUNNING] == 0, what="who has lost is told to stop")


@pytest.mark.parametrize("pool", POOLS)
def test_steps_that_are_awaited_together_run_at_the_same_time(pool: str, fleet: FlowFleet) -> None:
    """Sync and async ones, in tasks and as members, each with the context of the body; their threads end with them."""
    fleet.start("w1", *POOLS[pool])
    here, *others = fleet.flows.meets.start().result(timeout=25)

    assert here == "meet#1  set by the body"
    assert others == [
        "ameet#1",
        "ameet#2",
        "gather#1/meet#1  set by the body",
        "gather#1/ameet#1",
        "all have ended",
    ]


def test_the_first_failure_cancels_the_others(fleet: FlowFleet) -> None:
    """It is raised long before the slow one would have ended."""
    fleet.start("w1", "-c", "4")
    jobs = fleet.flows.dispatch.jobs

    assert fleet.flows.fails_fast.start().result(timeout=15) == "2 is even after"
    eventually(lambda: jobs.count(name="family.slow")[JobState.CANCELLED] == 1, what="the loser is cancelled")


def test_a_step_that_loses_a_race_is_undone(fleet: FlowFleet) -> None:
    """It finishes first; the rest of the run goes its way."""
    fleet.start()
    assert fleet.flows.loses.start().result(timeout=20) == ["1", "winner", "beside"]
    words = _words(fleet)

    assert words.count("forget-loser-loser") == 1
    assert words.index("winner") < words.index("forget-loser-loser")


def test_a_step_whose_task_was_cancelled_finishes(fleet: FlowFleet) -> None:
    """Nobody waits for it any more: it is recorded, and undone with its run."""
    fleet.start()
    run = fleet.flows.leaves.start()

    with pytest.raises(RunFailed, match="TaskGroup"):
        run.result(timeout=20)
    lines = {line.identity: line.status for line in fleet.flows.dispatch.runs.timeline(run.id)}
    assert lines == {"outlasts#1": "value", "task#2/gives_up#1": "error", "undo:outlasts#1": "undone"}
    assert _words(fleet) == ["behind", "forget-behind-behind"]


def test_several_events_are_waited_for(fleet: FlowFleet) -> None:
    """One of them, all of them, or none in time; each event is consumed once."""
    fleet.start()
    run = fleet.flows.hears.start("k")
    eventually(lambda: run.state() == RunState.WAITING, what="it waits")
    publish = fleet.flows.dispatch.events.publish
    publish("refused", "too late", key="k")
    for n in (2, 1):
        publish("order.approved", {"by": f"ann{n}"}, key=f"k{n}")

    assert run.result(timeout=20) == ["too late", "ann1", "ann2", "None"]
    lines = {line.identity: line.status for line in fleet.flows.dispatch.runs.timeline(run.id)}
    assert (lines["wait_for_any#1"], lines["wait_for_all#1"], lines["wait_for_any#2"]) == ("value", "value", "timeout")


def test_what_was_sent_can_be_called_off(fleet: FlowFleet) -> None:
    """A job and a child, also where nobody awaits it; what is sent and called off last is both as well."""
    fleet.start("w1", "-c", "4")
    *ends, misuse = fleet.flows.cancels.start().result(timeout=20)

    assert ends == ["JobCancelled", "RunCancelled"]
    assert "takes the promise of a job or child run, not <promise mark#1>" in misuse
    jobs = fleet.flows.dispatch.jobs
    eventually(lambda: jobs.count(name="shop.add")[JobState.COMPLETED] == 1, what="the last job was sent")
    assert jobs.count(name="shop.anap")[JobState.CANCELLED] == 1
    assert fleet.effects("unwanted") == []


def test_a_cancel_reaches_down_to_the_last_job(fleet: FlowFleet) -> None:
    """Members of a map, and the job of a child that was not awaited yet; what the run did is undone after that."""
    fleet.start("w1", "-c", "4")
    run = fleet.flows.sends.start()
    eventually(lambda: fleet.effects("h1") and fleet.effects("h2") and fleet.effects("held"), what="all are under way")

    run.cancel(reason="not needed")
    with pytest.raises(RunCancelled, match="not needed"):
        run.result(timeout=20)
    jobs, runs = fleet.flows.dispatch.jobs, fleet.flows.dispatch.runs
    assert jobs.count(name="shop.hold")[JobState.CANCELLED] == 2
    assert jobs.count(name="family.slow")[JobState.CANCELLED] == 1
    assert runs.count(name="family.middle")[RunState.CANCELLED] == 1
    assert _words(fleet)[-1] == "forget-before"


def test_steps_under_way_end_before_the_others_are_undone(fleet: FlowFleet) -> None:
    """So that none is undone while it runs; then the run goes on."""
    fleet.start()
    assert fleet.flows.compensates.start().result(timeout=20) == ["third"]
    words = _words(fleet)
    assert (sorted(words[:2]), words[2:]) == (["first", "second"], ["forget-first-first", "third"])


def test_nothing_follows_from_a_timeout_before_its_code_has_ended(fleet: FlowFleet) -> None:
    """That it has failed is on record at once, for its process may be ended; the run goes on when it has not to be."""
    fleet.start()
    run = fleet.flows.late.start()
    slow, beside, after = run.result(timeout=20)

    assert ("ran longer than its timeout" in slow, beside, after) == (True, "beside", "after")
    words = _words(fleet)
    assert (sorted(words[:2]), words[2:]) == (["beside", "slow"], ["slow-end", "after"])
    assert run.info().token == 1


@pytest.mark.faults
def test_a_killed_worker_loses_nothing_of_many_calls(fleet: FlowFleet) -> None:
    """F-02: what was done is not done again, whoever decided stays who decided."""
    first = fleet.start("w1", "-c", "4")
    run = fleet.flows.crowds.start()
    eventually(lambda: fleet.effects("resize-0"), what="it has begun")
    first.kill()
    fleet.start("w2", "-c", "4")

    assert run.result(timeout=30)[0] == "[0, 10, 20, 30, 40, 50, 60]"
    assert all(1 <= len(fleet.effects(f"resize-{n}")) <= 2 for n in range(7))
