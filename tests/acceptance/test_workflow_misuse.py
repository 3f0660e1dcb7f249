"""Durable verbs where a workflow must use those of ``wf``: refused in its body, fine in its steps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dispatch_celery import JobState, RunFailed
from tests.support.eventually import eventually
from tests.support.flow_workers import FlowFleet, flow_fleet

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]

APP = "tests.support.step_flows"
POOLS = {"prefork": ("-c", "3"), "threads": ("-P", "threads", "-c", "4"), "gevent": ("-P", "gevent", "-c", "10")}


@pytest.fixture
def fleet(namespace: str, server_url: str, tmp_path: Path) -> Iterator[FlowFleet]:
    """Return a fleet in a namespace of its own, without workers yet."""
    with flow_fleet(namespace, server_url, tmp_path, APP) as made:
        yield made


def test_a_body_is_told_what_to_write_instead(fleet: FlowFleet) -> None:
    """Each verb names itself, the workflow, and the verb of ``wf``; nothing is stored, and the body may go on."""
    fleet.start()
    told = fleet.flows.misuses.start().result(timeout=20)

    assert {name: words for name, words in told.items() if not words.startswith("WorkflowMisuse: ")} == {}
    assert {
        name: words for name, words in told.items() if "in the body of the workflow steps.misuses" not in words
    } == {}
    assert told["enqueue"] == (
        "WorkflowMisuse: add.enqueue() in the body of the workflow steps.misuses would happen again at each replay:"
        " use wf.enqueue(add, ...), or wf.run_job(add, ...) to wait for its result"
    )
    instead = {
        "a step": "use wf.step(mark, ...)",
        "a job": "use wf.run_job(add, ...)",
        "delay": "use wf.enqueue(add, ...)",
        "start": "use wf.run_child(nap, ...)",
        "dispatch.enqueue": "use wf.enqueue or wf.run_job of a @dispatch.remote('shop.add')",
        "dispatch.start": "use wf.run_child or wf.spawn_child",
        "result": "wait with wf.run_job",
        "cancel": "use wf.cancel(promise)",
        "publish": "use wf.publish(...)",
        "publish to a run": "do it in a step: wf.step(",
        "purge": "do it in a step: wf.step(",
    }
    assert {name: told[name] for name, words in instead.items() if words not in told[name]} == {}
    assert sum(fleet.flows.dispatch.jobs.count().values()) == 0
    assert sum(fleet.flows.dispatch.runs.count().values()) == 1


def test_a_run_that_does_not_catch_it_fails(fleet: FlowFleet) -> None:
    """Between two steps, and also where it would be hidden by the rest that ``finally`` follows."""
    fleet.start()
    careless, tidy = fleet.flows.careless.start(), fleet.flows.tidies_up.start()

    for run in (careless, tidy):
        with pytest.raises(RunFailed, match=r"WorkflowMisuse: touch\.enqueue\(\) in the body of the workflow"):
            run.result(timeout=15)
    assert len(fleet.effects("before")) == 1
    assert fleet.effects("after") == fleet.effects("never") == []


@pytest.mark.parametrize("pool", POOLS)
def test_a_step_may_send_and_wait(pool: str, fleet: FlowFleet) -> None:
    """In its own functions, threads and loops, by our verbs and Celery's; and so may an undo."""
    fleet.start("w1", *POOLS[pool])
    fleet.start("w2")
    run, failing = fleet.flows.sending.start("s"), fleet.flows.fails.start("f")

    done = run.result(timeout=30)
    assert done == ["s-bare", "s-here", "s-job", "job_", "s-applied", "s-run-after", "s-thread", "s-async"]
    with pytest.raises(RunFailed, match="not wanted any more"):
        failing.result(timeout=20)
    eventually(lambda: fleet.effects("s-delayed"), what="the delayed job has run")
    assert [len(fleet.effects(name)) for name in ("s-applied", "f-forgotten")] == [1, 1]


def test_what_hooks_do_is_none_of_the_body_s_doing(fleet: FlowFleet) -> None:
    """An extension that enqueues a job when a step has completed may do so."""
    fleet.start(STEP_SEAMS="1")
    with pytest.raises(RunFailed):
        fleet.flows.careless.start().result(timeout=15)

    jobs = fleet.flows.dispatch.jobs
    eventually(lambda: jobs.count()[JobState.COMPLETED] == 1, what="the job of the hook has run")
    assert len(fleet.effects("hook-mark")) == 1


def test_a_bare_thread_of_a_body_is_not_known_to_be_of_it(fleet: FlowFleet) -> None:
    """Python gives it an empty context: what it does is not refused, which the guide says."""
    fleet.start()
    assert fleet.flows.threads.start().result(timeout=15) == ["2"]
