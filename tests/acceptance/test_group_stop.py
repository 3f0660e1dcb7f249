"""A stop that reaches every process of a worker, as systemd sends it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.eventually import eventually
from tests.support.flow_workers import FlowFleet, flow_fleet

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]


@pytest.fixture
def fleet(namespace: str, server_url: str, tmp_path: Path) -> Iterator[FlowFleet]:
    """Return a fleet in a namespace of its own, without workers yet."""
    with flow_fleet(namespace, server_url, tmp_path) as made:
        yield made


def test_a_run_survives_a_stop_of_the_whole_process_group(fleet: FlowFleet) -> None:
    """SIGTERM to the children too (systemd's default) releases the run; it goes on elsewhere."""
    worker = fleet.start("w1", DISPATCH_SHUTDOWN_GRACE="1")
    run = fleet.flows.holding.start("g")
    eventually(lambda: len(fleet.effects("g")) == 1)
    worker.signal(signal.SIGTERM)
    worker.process.wait(timeout=30)
    assert run.state() == "pending", (run.state(), run.info().failure)


def test_a_job_survives_a_stop_of_the_whole_process_group(fleet: FlowFleet) -> None:
    """It is released as well, and no attempt is used up."""
    worker = fleet.start("w1", DISPATCH_SHUTDOWN_GRACE="1")
    job = fleet.shop.hold.enqueue("g")
    eventually(lambda: len(fleet.effects("g")) == 1)
    worker.signal(signal.SIGTERM)
    worker.process.wait(timeout=30)
    assert (job.state(), job.info().attempt) == ("pending", 1), (job.state(), job.info().attempts)
