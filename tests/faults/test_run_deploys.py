"""A release with new workflows and versions is rolled out under load (F-55): runs wait for who knows them."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from dispatch_celery import RunState
from dispatch_celery.workflows.handle import RunHandle
from tests.support.eventually import eventually
from tests.support.flow_workers import FlowFleet, flow_fleet
from tests.support.history import check_history

pytestmark = [pytest.mark.slow, pytest.mark.faults, pytest.mark.timeout(120)]

KINDS = ("one", "two", "novelty", "nap")
"""A version that both releases know, one that only the new one knows, a new workflow, and one that has not changed."""


@pytest.fixture
def fleet(namespace: str, server_url: str, tmp_path: Path) -> Iterator[FlowFleet]:
    """Return a fleet in a namespace of its own, without workers yet."""
    with flow_fleet(namespace, server_url, tmp_path) as made:
        yield made


def _start(fleet: FlowFleet, n: int) -> RunHandle[Any]:
    flows, kind = fleet.flows, KINDS[n % len(KINDS)]
    if kind == "one":
        return flows.side_one.start(0.2)
    if kind == "two":
        return flows.dispatch.start("flows.side", seconds=0.2)
    return flows.novelty.start() if kind == "novelty" else flows.nap.start(f"nap-{n}", 0.2)


@contextmanager
def _load(fleet: FlowFleet) -> Iterator[list[RunHandle[Any]]]:
    """Go on starting runs of every kind for the length of a block; yield those so far."""
    runs: list[RunHandle[Any]] = []
    stop = threading.Event()

    def go_on() -> None:
        while not stop.wait(0.1):
            runs.append(_start(fleet, len(runs)))

    thread = threading.Thread(target=go_on, name="load")
    thread.start()
    try:
        yield runs
    finally:
        stop.set()
        thread.join()


def _completed(fleet: FlowFleet, name: str) -> int:
    return fleet.flows.dispatch.runs.count(name=name)[RunState.COMPLETED]


def test_a_release_is_rolled_out_under_load(fleet: FlowFleet) -> None:
    """F-55: what only the new release knows waits and is parked; side by side each run is done once, on its version."""
    states = fleet.flows.dispatch.runs
    old = [fleet.start(name, FLOWS_RELEASE="old", DISPATCH_UNKNOWN_GRACE="2") for name in ("old-1", "old-2")]
    with _load(fleet) as runs:
        eventually(lambda: states.count()[RunState.PARKED] >= 4, within=30, what="some are parked for want of a worker")
        assert _completed(fleet, "flows.nap") > 0
        assert _completed(fleet, "flows.novelty") == 0
        assert fleet.effects("two") == []
        for n, worker in enumerate(old):
            assert worker.terminate(within=40) == 0
            fleet.start(f"new-{n}", FLOWS_RELEASE="new", DISPATCH_UNKNOWN_GRACE="2")
            before = len(fleet.effects("two"))
            eventually(lambda before=before: len(fleet.effects("two")) > before + 2, within=30, what="they go on")

    eventually(lambda: states.count()[RunState.COMPLETED] == len(runs), within=60, what="all are completed")
    for n, run in enumerate(runs):
        kind = KINDS[n % len(KINDS)]
        assert run.result(timeout=5) == (f"nap-{n}-after" if kind == "nap" else kind)
        info = run.info()
        assert (info.crashes, info.version) == (0, 2 if kind == "two" else 1)
    kinds = Counter(KINDS[n % len(KINDS)] for n in range(len(runs)))
    assert {kind: len(fleet.effects(kind)) for kind in ("one", "two", "novelty")} == {
        kind: kinds[kind] for kind in ("one", "two", "novelty")
    }
    check_history(fleet)
