"""Behaviours of the Go package's workflows that no other test of ours shows: played by the testing kit.

`docs/parity.md` has a row for each of its tests; most name tests that were there before.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from celery import Celery

from dispatch_celery import (
    Dispatch,
    Extension,
    Fail,
    Retry,
    RunFailed,
    RunId,
    RunRef,
    RunState,
    Workflow,
    current_step,
)
from dispatch_celery.testing import Kit

HOUR = 3_600
ONCE = Retry(1)


@pytest.fixture
def dispatch() -> Dispatch:
    """Return an app without jobs or workflows; nobody listens at its broker."""
    return Dispatch(Celery("parity", broker="redis://127.0.0.1:1/0"))


@pytest.fixture
def kit(dispatch: Dispatch, server_url: str) -> Iterator[Kit]:
    """Lend the app to a test, in a namespace of its own."""
    with Kit(dispatch, server_url) as made:
        yield made


# -- several at once


def test_members_that_have_ended_are_not_made_again(dispatch: Dispatch, kit: Kit) -> None:
    """Parallel_CheckpointSkip: wherever the run dies, at most the member that was not on record yet runs again."""

    @dispatch.job
    def post(n: int) -> str:
        return f"job {n}"

    def here(n: int) -> str:
        return f"step {n}"

    @dispatch.workflow
    def child(wf: Workflow, n: int) -> str:
        wf.sleep(HOUR)
        return f"child {n}"

    step = dispatch.step(here)

    @dispatch.workflow
    def parallel(wf: Workflow) -> tuple[str, ...]:
        return wf.gather(step.bind(1), post.bind(2), child.bind(3), step.bind(4))

    report = kit.crash_everywhere(parallel)

    report.assert_all_completed()
    report.assert_same_outcome()
    assert report.undisturbed.result == ["step 1", "job 2", "child 3", "step 4"]
    calm = sum(report.undisturbed.executions.values())
    repeated = {crash.call for crash in report.crashes if sum(crash.executions.values()) > calm}
    assert repeated == {"runs/record gather#1/here#1", "runs/record gather#1/here#2", "jobs/complete"}


# -- children


def test_a_child_is_one_child_wherever_its_parent_dies(dispatch: Dispatch, kit: Kit) -> None:
    """RunChild_CheckpointResume; defect 15: no crash of a parent doubles a child or loses it, awaited or spawned."""

    def leave(name: str) -> str:
        kit.effect(f"{name} of {current_step().run_id}")
        return name

    step = dispatch.step(leave)

    @dispatch.workflow
    def child(wf: Workflow, name: str) -> str:
        wf.sleep(HOUR)
        return wf.step(step, name)

    @dispatch.workflow
    def parent(wf: Workflow) -> list[str]:
        first = wf.run_child(child, "awaited")
        spawned = wf.spawn_child(child, "spawned")
        wf.step(step, "own")
        return [first, spawned.result()]

    report = kit.crash_everywhere(parent)

    report.assert_all_completed()
    report.assert_same_outcome()
    for crash in (report.undisturbed, *report.crashes):
        assert len(crash.effects) == 3, f"{crash.when} {crash.call}: {crash.effects}"


def test_a_spawned_child_outlives_its_parent(dispatch: Dispatch, kit: Kit) -> None:
    """SpawnChild_FireAndForget: the parent completes at once with its id, and the child goes on to its own end."""

    @dispatch.workflow
    def child(wf: Workflow) -> str:
        wf.sleep(HOUR)
        return "grown up"

    @dispatch.workflow
    def parent(wf: Workflow) -> str:
        return wf.spawn_child(child).id

    child_id = RunId(kit.result(parent.start()))

    kit.assert_run(child_id, state="waiting")
    assert kit.result(dispatch.runs.handle(child_id)) == "grown up"


def test_children_are_mapped_in_the_order_of_their_items(dispatch: Dispatch, kit: Kit) -> None:
    """FanOut_CollectsAllResults: results come by item, whichever child ends first, and no child is run twice."""

    @dispatch.workflow
    def child(wf: Workflow, n: int) -> int:
        wf.sleep(HOUR * (5 - n))
        return n * n

    @dispatch.workflow
    def parent(wf: Workflow) -> list[int]:
        return wf.map(child, range(5))

    assert kit.result(parent.start()) == [0, 1, 4, 9, 16]
    ends = [run.finished_at for run in kit.runs_started(child)]
    assert len(set(ends)) == len(ends) == 5


def test_a_child_that_fails_ends_the_map_and_its_siblings(dispatch: Dispatch, kit: Kit) -> None:
    """FanOut_OneChildFails, RunChild_ChildFailure: the error is the child's own; who was under way is cancelled."""

    @dispatch.workflow
    def child(wf: Workflow, n: int) -> int:
        wf.sleep(HOUR * n)
        if n == 2:
            raise Fail("two is refused")
        return n

    @dispatch.workflow
    def parent(wf: Workflow) -> str:
        try:
            wf.map(child, [1, 2, 3, 4])
        except RunFailed as failed:
            return failed.error_message
        return "none"

    assert kit.result(parent.start()) == "two is refused"
    kit.advance(HOUR * 9)
    counted = {state: n for state, n in dispatch.runs.count(name=child.name).items() if n}
    assert counted == {RunState.COMPLETED: 1, RunState.FAILED: 1, RunState.CANCELLED: 2}


# -- what extensions are told


def test_extensions_hear_every_moment_of_a_run(dispatch: Dispatch, kit: Kit) -> None:
    """WorkflowFailedExtensions, AllWorkflowHooksFire: of a run that fails and one that completes, each moment once."""
    told: list[str] = []

    class Listening(Extension):
        def on_run_started(self, run: RunRef) -> None:
            told.append(f"{run.name} started")

        def on_run_step_completed(self, run: RunRef, step: str) -> None:
            told.append(f"{run.name} {step} completed")

        def on_run_step_failed(self, run: RunRef, step: str, error: BaseException) -> None:
            told.append(f"{run.name} {step} failed: {error}")

        def on_run_completed(self, run: RunRef, elapsed: float) -> None:
            assert elapsed >= 0
            told.append(f"{run.name} completed")

        def on_run_failed(self, run: RunRef, error: BaseException | None) -> None:
            told.append(f"{run.name} failed: {error}")

    dispatch.add_extension(Listening())

    @dispatch.step(retry=ONCE)
    def check(n: int) -> int:
        if n > 1:
            raise ValueError(f"{n} is too much")
        return n

    @dispatch.workflow(name="checked")
    def checked(wf: Workflow, n: int) -> int:
        wf.step(check, 0)
        wf.sleep(HOUR)
        return wf.step(check, n)

    kit.run_until(checked.start(1))
    assert told == ["checked started", *["checked check completed"] * 2, "checked completed"]
    told.clear()
    kit.run_until(checked.start(2))
    failed = ["checked check failed: 2 is too much", "checked failed: 2 is too much"]
    assert told == ["checked started", "checked check completed", *failed]
