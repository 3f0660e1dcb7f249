"""Ten thousand runs asleep cost nothing, and wake in the same second without one being left behind (F-42)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest

from dispatch_celery import RunState
from dispatch_celery.store.embedded import EmbeddedServer
from tests.support.eventually import eventually
from tests.support.flow_workers import FlowFleet, flow_fleet
from tests.support.history import check_history

pytestmark = [pytest.mark.slow, pytest.mark.faults, pytest.mark.timeout(180)]

SLEEPERS = 1_500
"""Runs that have begun and rest; the others rest until they begin."""
LATER = 8_500


@pytest.fixture
def fleet(namespace: str, server_url: str, tmp_path: Path) -> Iterator[FlowFleet]:
    """Return a fleet in a namespace of its own, without workers yet."""
    with flow_fleet(namespace, server_url, tmp_path, "tests.support.many_flows") as made:
        yield made


def _processor_time(pids: list[int]) -> float:
    """Return the seconds of processor time that processes have used so far."""
    return sum(sum(psutil.Process(pid).cpu_times()[:2]) for pid in pids)


def _past(moment: datetime) -> bool:
    return datetime.now(UTC) > moment


def test_ten_thousand_sleepers_wake_at_once(fleet: FlowFleet, server: EmbeddedServer) -> None:
    """F-42: the fleet is idle while they sleep; then all are done, none too early, and no timer is left."""
    workers = [fleet.start("w1"), fleet.start("w2")]
    runs, sleeps = fleet.flows.dispatch.runs, fleet.flows.sleeps
    moment = datetime.now(UTC) + timedelta(seconds=20)
    handles = [sleeps.start(moment) for _ in range(SLEEPERS)]
    handles += [sleeps.options(run_at=moment).start(moment) for _ in range(LATER)]
    eventually(lambda: runs.count()[RunState.WAITING] == len(handles), within=18, every=0.2, what="all rest")

    pids = [server.pid, *(pid for worker in workers for pid in (worker.pid, *worker.children()))]
    before, since = _processor_time(pids), datetime.now(UTC)
    eventually(lambda: _past(min(since + timedelta(seconds=3), moment - timedelta(seconds=1))), within=5, every=0.2)
    used, passed = _processor_time(pids) - before, (datetime.now(UTC) - since).total_seconds()
    assert runs.count()[RunState.WAITING] == len(handles)
    assert used / passed < 0.1  # of one core, for six processes and the server

    eventually(lambda: runs.count()[RunState.COMPLETED] == len(handles), within=90, every=0.5, what="all are done")
    found = check_history(fleet)
    assert found.ordered.get("timers", {}) == {}
    assert {record["result"] for record in found.runs.values()} == {"true"}
    assert sorted(found.runs) == sorted(handle.id for handle in handles)
