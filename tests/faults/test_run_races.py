"""Two things that happen to a run within milliseconds (F-36, F-38, F-39): one order holds, for it and its callers."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dispatch_celery import RunState
from dispatch_celery.errors import StateConflict
from dispatch_celery.workflows.handle import RunHandle
from tests.support.eventually import eventually
from tests.support.flow_workers import FlowFleet, flow_fleet
from tests.support.history import check_history
from tests.support.moments import Collision, at

pytestmark = [pytest.mark.slow, pytest.mark.faults, pytest.mark.timeout(120)]

TRIALS = 500


@pytest.fixture
def fleet(namespace: str, server_url: str, tmp_path: Path) -> Iterator[FlowFleet]:
    """Return a fleet in a namespace of its own, with one worker."""
    with flow_fleet(namespace, server_url, tmp_path, "tests.support.talk_flows") as made:
        made.start("w1", "-c", "4")
        yield made


def _waits(run: RunHandle[str]) -> None:
    eventually(lambda: run.state() == RunState.WAITING, within=20, what="it waits")


def test_an_event_is_heard_however_it_meets_its_wait(fleet: FlowFleet) -> None:
    """F-36: before the wait begins, within it, and while it is being registered: each run hears its own word once."""
    flows, collision = fleet.flows, Collision(36, first=0.005)

    def trial(n: int) -> tuple[str, bool]:
        run: RunHandle[str] = flows.hears.start(f"k{n}", n % 3)
        if n % 5 == 0:
            _waits(run)
        else:
            at(time.time() + collision.next())
        flows.dispatch.events.publish(flows.word, f"word {n}", key=f"k{n}")
        heard, rested = run.result(timeout=20), run.info().token > 1
        collision.was_early(not rested)
        return heard, rested

    with ThreadPoolExecutor(2) as callers:
        told = list(callers.map(trial, range(TRIALS)))

    assert [word for word, _ in told] == [f"word {n}" for n in range(TRIALS)]
    assert 50 < sum(rested for _, rested in told) < TRIALS - 50
    check_history(fleet)


def test_an_event_or_a_timeout_wins_and_the_other_is_not_lost(fleet: FlowFleet) -> None:
    """F-38: a word comes within milliseconds of the end of a wait: it is heard now, if in time, or by the next one."""
    flows, collision = fleet.flows, Collision(38, first=0.0)

    def trial(n: int) -> tuple[list[str], bool, bool]:
        run: RunHandle[list[str]] = flows.patient.start(f"k{n}", 0.4)
        (wait,) = eventually(lambda: flows.dispatch.runs.timeline(run.id), within=20, what="it waits")
        due = (wait.due_at or wait.resolved_at).timestamp()
        at(due + collision.next())
        begun = time.time()
        flows.dispatch.events.publish(flows.word, f"word {n}", key=f"k{n}")
        accepted = time.time()
        told = run.result(timeout=20)
        collision.was_early(told[0] == "in time")
        return told, accepted < due, wait.due_at is not None and begun > due + 0.001

    with ThreadPoolExecutor(8) as callers:
        trials = list(callers.map(trial, range(TRIALS)))

    assert [word for (_, word), _, _ in trials] == [f"word {n}" for n in range(TRIALS)]
    orders = Counter(order for (order, _), _, _ in trials)
    assert orders["in time"] + orders["too late"] == TRIALS
    assert min(orders.values()) > 20
    assert {order for (order, _), in_time, _ in trials if in_time} == {"in time"}
    assert {order for (order, _), _, late in trials if late} == {"too late"}
    check_history(fleet)


def test_an_event_in_time_is_heard_though_no_process_is_free(fleet: FlowFleet) -> None:
    """F-38: the run is taken up long after the end of its patience; what it waited for had come before."""
    flows = fleet.flows
    run = flows.patient.start("k", 4.0)
    _waits(run)
    (wait,) = flows.dispatch.runs.timeline(run.id)
    fleet.shop.hold.enqueue_many([(f"held-{n}",) for n in range(4)])
    eventually(lambda: all(fleet.effects(f"held-{n}") for n in range(4)), what="every process is busy")
    flows.dispatch.events.publish(flows.word, "hello", key="k")
    assert time.time() < wait.due_at.timestamp()

    at(wait.due_at.timestamp() + 1.0)
    (fleet.folder / "go").touch()
    assert run.result(timeout=20) == ["in time", "hello"]
    check_history(fleet)


def test_a_cancel_or_the_end_wins_and_the_caller_is_told_which(fleet: FlowFleet) -> None:
    """F-39: what cancel answers, or refuses with, is how the run ends; both happen, and nothing in between."""
    flows, collision = fleet.flows, Collision(39, first=0.01)
    answers: dict[str, RunState | None] = {}
    """What each cancel answered; None where it was refused."""

    def trial(_: int) -> None:
        run = flows.brief.start()
        at(time.time() + collision.next())
        try:
            answers[run.id] = run.cancel()
        except StateConflict:
            answers[run.id] = None
        collision.was_early(answers[run.id] is not None)

    with ThreadPoolExecutor(2) as callers:
        list(callers.map(trial, range(TRIALS)))

    found = check_history(fleet)
    ends = {run_id: found.runs[run_id]["state"] for run_id in answers}
    assert ends == {one: "completed" if said is None else "cancelled" for one, said in answers.items()}
    assert min(Counter(ends.values()).values()) > 20
    finals = Counter(entry["id"] for entry in found.journal if entry["to"] in ("completed", "cancelled"))
    assert set(finals.values()) == {1}
    # Cancelled while it was held, not only before: that is the race of the two.
    assert any(said == RunState.RUNNING for said in answers.values())
