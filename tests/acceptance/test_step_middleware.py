"""What surrounds a step in a real worker: middleware, progress, ``sys.exit``, and how large it may be."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dispatch_celery import RunFailed
from tests.support.eventually import eventually
from tests.support.flow_workers import FlowFleet, flow_fleet
from tests.support.workers import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]

APP = "tests.support.step_flows"
POOLS = {"prefork": ("-c", "2"), "threads": ("-P", "threads", "-c", "4"), "gevent": ("-P", "gevent", "-c", "10")}


@pytest.fixture
def fleet(namespace: str, server_url: str, tmp_path: Path) -> Iterator[FlowFleet]:
    """Return a fleet in a namespace of its own, without workers yet."""
    with flow_fleet(namespace, server_url, tmp_path, APP) as made:
        yield made


def layers(fleet: FlowFleet) -> list[str]:
    """Return what the layers saw, in order."""
    words = [line.split(" ", 1)[0] for line in fleet.effects_file.read_text().splitlines()]
    return [word for word in words if word.startswith(("first:", "second:", "async:"))]


@pytest.mark.parametrize("pool", POOLS)
def test_middleware_wraps_each_attempt_of_a_step(pool: str, fleet: FlowFleet) -> None:
    """In the order added, sync around async, none on a replay; what it sets reaches the step and not the body."""
    fleet.start("w1", *POOLS[pool], STEP_SEAMS="1")
    seen = fleet.flows.wrapped.start().result(timeout=20)

    assert seen == [
        ["first sees", "second sees"],
        ["first asees", "async asees"],
        ["first sees", "second sees"],
        ["unset", "unset"],
    ]
    attempts = ["sees:sees#1:1", "sees:sees#1:2", "asees:asees#1:1", "sees:sees#2:1"]
    expected = [f"{layer}:StepContext:{attempt}" for attempt in attempts for layer in ("first", "second")]
    expected.insert(6, "async:StepContext:asees:asees#1:1")
    assert layers(fleet) == expected


def test_middleware_wraps_undos_and_the_jobs_beside_them(fleet: FlowFleet) -> None:
    """An undo is told by its function's name; a middleware that was written for jobs bears steps."""
    fleet.start("w1", "-c", "3", STEP_SEAMS="1")
    with pytest.raises(RunFailed, match="not wanted any more"):
        fleet.flows.fails.start("f").result(timeout=20)

    seen = [word for word in layers(fleet) if word.startswith("first:")]
    assert seen[:2] == ["first:StepContext:remember:remember#1:1", "first:undo:forget:undo:remember#1:1"]
    assert seen[2].startswith("first:JobContext:shop.touch:job_")
    assert len(seen) == 3


def _progress(run: Any) -> dict[str, Any]:
    return dict(run.info().progress or {})


def _says(fleet: FlowFleet, *words: str) -> str:
    command = [sys.executable, "-m", "celery", "-A", APP, "dispatch", *words]
    environment = {**os.environ, **fleet.environment}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout


def test_a_step_reports_how_far_it_has_come(fleet: FlowFleet) -> None:
    """``runs.get`` and the command line show it while the attempt runs, and not after."""
    fleet.start()
    run = fleet.flows.reporting.start()
    eventually(lambda: _progress(run), what="the first attempt reports")

    half = ("half way" * 100)[:500]
    assert _progress(run) == {"step": "reports#1", "attempt": 1, "done": 1, "total": 4, "message": half}
    assert "attempt 1 of step reports#1, which has done 1 of 4 (half way" in _says(fleet, "explain", run.id)
    assert ", at attempt 1 of step reports#1, which has done 1 of 4 (half" in _says(fleet, "runs", "timeline", run.id)
    assert '"done": 1' in _says(fleet, "runs", "get", run.id)
    (fleet.folder / "go1").touch()
    eventually(lambda: _progress(run).get("attempt") == 2, what="the second attempt reports")
    (fleet.folder / "go2").touch()
    eventually(lambda: _progress(run).get("step") == "areports#1", what="the step on the loop reports")
    assert _progress(run) == {"step": "areports#1", "attempt": 1, "done": 0.5, "total": None, "message": ""}
    (fleet.folder / "go3").touch()
    assert run.result(timeout=10) == "done"
    assert run.info().progress is None


def test_an_undo_reports_too(fleet: FlowFleet) -> None:
    """Under the identity of what it undoes."""
    fleet.start()
    run = fleet.flows.unreporting.start()
    eventually(lambda: _progress(run), what="the undo reports")

    assert _progress(run)["step"] == "undo:add_undo#1"
    assert "attempt 1 of undo:add_undo#1, which has done 1 of 1" in _says(fleet, "explain", run.id)
    (fleet.folder / "go4").touch()
    with pytest.raises(RunFailed):
        run.result(timeout=10)
    assert run.info().progress is None


@pytest.mark.parametrize("on_loop", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("pool", [*POOLS, "solo"])
def test_sys_exit_is_an_error_of_its_step(pool: str, fleet: FlowFleet, *, on_loop: bool) -> None:
    """It is not tried again, the workflow can catch it, and neither run, process nor event loop ends by it."""
    worker = fleet.start("w1", *{**POOLS, "solo": ("-P", "solo")}[pool])
    children = worker.children()

    assert fleet.flows.exiting.start(on_loop=on_loop).result(timeout=20) == "SystemExit: 3"
    assert [len(fleet.effects(name)) for name in ("exits", "after")] == [1, 1]
    assert worker.children() == children


@pytest.mark.parametrize(("limit", "fits"), [("4000000", True), ("1048576", False)])
def test_a_step_is_as_large_as_any_payload(fleet: FlowFleet, limit: str, *, fits: bool) -> None:
    """``dispatch_max_payload`` of the worker's app holds for a step's arguments and its result."""
    fleet.start(DISPATCH_MAX_PAYLOAD=limit)
    arguments, result = fleet.flows.large.start(2_000_000).result(timeout=20)

    if fits:
        assert (arguments, result) == ("2000000", "2000000")
    else:
        assert "step echo: arguments takes 2,000,0" in arguments
        assert "step echo: result takes 2,000,002 bytes" in result
        assert all("dispatch_max_payload is 1,048,576" in words for words in (arguments, result))
