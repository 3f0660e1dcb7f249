"""Event storms (F-37): inboxes fill to their limit, memory stays bounded, and runs take what is theirs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from dispatch_celery import RunState
from dispatch_celery.errors import StateConflict
from dispatch_celery.store.embedded import EmbeddedServer
from dispatch_celery.workflows.handle import RunHandle
from tests.support.eventually import eventually
from tests.support.flow_workers import FlowFleet, flow_fleet
from tests.support.history import check_history
from tests.support.servers import ask_server

pytestmark = [pytest.mark.slow, pytest.mark.faults, pytest.mark.timeout(180)]

EVENT_BYTES = 1_000
"""What one small event may take of the server's memory, with its place in the order of all."""
WORKER_BYTES = 50_000_000
"""By how much the processes of a worker may grow in a storm."""


@pytest.fixture
def fleet(namespace: str, killable_server: EmbeddedServer, tmp_path: Path) -> Iterator[FlowFleet]:
    """Return a fleet in a namespace of its own, on a server of this test alone."""
    with flow_fleet(namespace, killable_server.url, tmp_path, "tests.support.talk_flows") as made:
        yield made


def _memory(server: EmbeddedServer) -> int:
    lines = ask_server(server, "INFO", "memory").decode().splitlines()
    return next(int(line.partition(":")[2]) for line in lines if line.startswith("used_memory:"))


def _grown(pids: list[int]) -> int:
    return sum(psutil.Process(pid).memory_info().rss for pid in pids)


def _resting(fleet: FlowFleet, runs: int, count: int) -> list[RunHandle[list[int]]]:
    """Start runs that are to take so many numbers each, and wait until they rest."""
    made = [fleet.flows.collects.start(count) for _ in range(runs)]
    states = fleet.flows.dispatch.runs
    eventually(lambda: states.count()[RunState.WAITING] == runs, within=30, what="all rest")
    return made


def test_an_inbox_takes_ten_thousand_events_and_refuses_the_next(
    fleet: FlowFleet, killable_server: EmbeddedServer
) -> None:
    """F-37: the refusal says what to do and stores nothing; the run takes what it wants, in order."""
    worker = fleet.start("w1", "-c", "2")
    (run,) = _resting(fleet, 1, 3_000)
    before, pids = _memory(killable_server), [worker.pid, *worker.children()]
    grown = _grown(pids)

    assert fleet.flows.storm.enqueue(run.id, 20_000).result(timeout=60) == 10_000
    full = _memory(killable_server)
    with pytest.raises(StateConflict, match=r"holds 10000 events already: nothing was stored.*dispatch_max_inbox"):
        run.publish("number", 1)
    assert full - before < 10_000 * EVENT_BYTES
    assert _memory(killable_server) - full < EVENT_BYTES

    run.publish("begin", payload=True)
    assert run.result(timeout=60) == list(range(3_000))
    assert _grown(pids) - grown < WORKER_BYTES
    check_history(fleet)


def test_a_storm_on_a_hundred_runs_fills_each_inbox_and_no_more(
    fleet: FlowFleet, killable_server: EmbeddedServer
) -> None:
    """F-37: a thousand events for each of them, from several processes at once; each run takes its own, in order."""
    worker = fleet.start("w1", "-c", "4", DISPATCH_MAX_INBOX="1000")
    runs = _resting(fleet, 100, 10)
    before, pids = _memory(killable_server), [worker.pid, *worker.children()]
    grown = _grown(pids)

    storms = fleet.flows.dispatch.enqueue_many([fleet.flows.storm.bind(run.id, 1_001) for run in runs])
    assert {storm.result(timeout=120) for storm in storms} == {1_000}
    assert _memory(killable_server) - before < 100_000 * EVENT_BYTES
    for run in runs:
        run.publish("begin", payload=True)
    assert [run.result(timeout=60) for run in runs] == [list(range(10))] * 100
    assert _grown(pids) - grown < WORKER_BYTES
    check_history(fleet)
