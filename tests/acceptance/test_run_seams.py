"""What workers tell of runs: each moment once, to log, signal and hook, with the signal of Celery beside it."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from types import ModuleType

import pytest

from dispatch_celery import RunState
from tests.support.eventually import eventually
from tests.support.listening import Listener, Notebook
from tests.support.workers import Fleet, Worker

pytestmark = [pytest.mark.slow, pytest.mark.timeout(90)]

MODULE = "tests.support.heard_flows"
POOLS = {"prefork": ("-c", "2"), "threads": ("-P", "threads", "-c", "4")}
BEGUN, ENDED = ["celery task_prerun"], ["celery task_postrun"]


@pytest.fixture
def heard(shop: Fleet) -> Notebook:
    """Return the notebook in which this test's workers write."""
    return Notebook(shop.folder / "heard.txt")


@pytest.fixture
def said(shop: Fleet) -> Notebook:
    """Return the notebook of the caller."""
    notebook = Notebook(shop.folder / "said.txt")
    shop.shop.dispatch.add_extension(Listener(notebook))
    return notebook


@pytest.fixture
def flows(shop: Fleet) -> Iterator[ModuleType]:
    """Return the workflows as their callers see them."""
    for name in (MODULE, "tests.support.listening"):
        sys.modules.pop(name, None)
    os.environ["SHOP_EFFECTS"] = str(shop.effects_file)
    yield importlib.import_module(MODULE)
    del os.environ["SHOP_EFFECTS"]
    sys.modules.pop(MODULE, None)


def told(*moments: str) -> list[str]:
    """Return how each of these is told: in the log, by its signal, to the hook."""
    return [f"{who} run_{moment}" for moment in moments for who in ("log", "signal", "hook")]


def _start(shop: Fleet, heard: Notebook, *arguments: str) -> Worker:
    return shop.start("w1", *arguments, "-I", MODULE, SHOP_HEARD=str(heard.path))


@pytest.mark.parametrize("pool", POOLS)
def test_every_moment_of_a_run_is_told_once(
    pool: str, shop: Fleet, heard: Notebook, said: Notebook, flows: ModuleType
) -> None:
    """A run that completes, one that fails and is undone, one that parks, one that is cancelled while it waits."""
    worker = _start(shop, heard, *POOLS[pool])
    done, failed, parked, waiting = (
        flow.start("x") for flow in (flows.completes, flows.fails, flows.parks, flows.waits)
    )
    ends = ((done, RunState.COMPLETED), (failed, RunState.FAILED), (parked, RunState.PARKED))
    for run, state in (*ends, (waiting, RunState.WAITING)):
        eventually(lambda run=run, state=state: run.state() == state, within=25, what=f"{run.id} is {state}")
    eventually(lambda: heard.notices("celery", waiting.id, "task_postrun"), what="its slice has ended")
    assert waiting.cancel() == RunState.CANCELLED
    assert worker.terminate() == 0

    tellers = ("log", "signal", "hook", "celery")
    rest = [*told("waiting"), "celery task_retry", *ENDED]
    completed = [*told("completed"), "celery task_success", *ENDED]
    story = [*told("started"), *BEGUN, *told("step_completed"), *rest]
    assert heard.story(done.id, *tellers) == [*story, *told("resumed"), *BEGUN, *completed]

    forward = [*told("started"), *BEGUN, *told("step_completed", "step_failed", "compensating")]
    assert heard.story(failed.id, *tellers) == [*forward, *told("failed"), "celery task_failure", *ENDED]
    story = heard.story(parked.id, *tellers)
    assert story[: len(forward)] == forward
    assert [notice for notice in story if notice.endswith("run_parked")] == told("parked")
    assert "celery task_success" not in story

    assert heard.story(waiting.id, *tellers) == [*told("started"), *BEGUN, *rest]
    assert said.story(waiting.id, "hook") == ["hook run_enqueued", "hook run_cancelled"]
    assert said.story(done.id, "hook") == ["hook run_enqueued"]


def test_a_run_whose_process_dies_is_told_as_recovered(shop: Fleet, heard: Notebook, flows: ModuleType) -> None:
    """It is taken back once, by the main process, and goes on as one that is resumed or started again."""
    worker = _start(shop, heard, "-c", "2")
    run = flows.dies.start("crash")
    assert run.result(timeout=25) == "crash"
    assert worker.terminate() == 0

    story = heard.story(run.id, "log", "signal", "hook")
    assert [notice for notice in story if "recovered" in notice] == told("recovered")
    assert [notice for notice in story if "completed" in notice] == told("step_completed", "completed")
    (recovered,) = heard.notices("hook", run.id, "run_recovered")
    assert recovered[3]["pid"] == worker.pid
