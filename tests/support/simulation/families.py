"""The kinds of simulated workflows that send jobs and child runs to the fleet."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dispatch_celery.errors import JobFailed, RunFailed
from dispatch_celery.jobs.definition import JobDefinition
from dispatch_celery.retry import Retry
from dispatch_celery.workflows.context import Workflow
from dispatch_celery.workflows.definition import WorkflowDefinition
from dispatch_celery.workflows.step_definition import StepDefinition
from tests.support.simulation.flows import FlowExpectation

if TYPE_CHECKING:
    from tests.support.simulation.stage import Stage

TAKEN_BACK = {"flow_parent": ("a", "leaf"), "flow_abandons": ("a",)}
"""The effects of each kind, its children's among them, that are undone when its run fails or is cancelled."""


class _Parts:
    """What simulated families are made of."""

    def __init__(self, world: Stage) -> None:
        self.world = world

        def do(flow: str, step: str) -> int:
            return world.effect(f"{flow}/{step}")

        def fail(flow: str, step: str) -> int:
            world.effect(f"{flow}/{step}")
            raise KeyError("never")

        def undo(result: int | None, flow: str, step: str) -> None:
            world.effect(f"{flow}/undo-{step}")

        self.doing = StepDefinition(do)
        self.undone = StepDefinition(do, name="done", undo=undo)
        self.failing = StepDefinition(fail, retry=Retry(1))

    def job(self, kind: str) -> JobDefinition[..., Any, Any]:
        """Return a simulated job."""
        definition = self.world.registry.get(kind)
        assert definition is not None
        return definition

    def child(self, name: str) -> WorkflowDefinition[..., Any]:
        """Return a simulated workflow, to be run as a child."""
        return self.world.child(name)


def family_kinds(world: Stage) -> dict[str, tuple[Callable[..., Any], FlowExpectation]]:
    """The kinds of workflows that have members."""
    parts = _Parts(world)
    return {**_with_jobs(parts), **_with_children(parts)}


def _with_jobs(parts: _Parts) -> dict[str, tuple[Callable[..., Any], FlowExpectation]]:
    def flow_jobs(wf: Workflow, flow: str) -> str:
        first = wf.run_job(parts.job("succeed"), job=f"{flow}/a")
        bound = [parts.job(kind).bind(job=f"{flow}/{name}") for kind, name in (("fail_once", "b"), ("succeed", "c"))]
        second, third = wf.gather(*bound)
        return f"{first} {second} {third} {wf.step(parts.doing, flow, 'd')}"

    def flow_map(wf: Workflow, flow: str) -> int:
        return len(wf.map(parts.job("succeed"), [f"{flow}/{n}" for n in range(5)], max_parallel=2))

    def flow_fails_fast(wf: Workflow, flow: str) -> str:
        try:
            wf.gather(parts.job("fail_always").bind(job=f"{flow}/a"), parts.job("later").bind(job=f"{flow}/b"))
        except JobFailed as error:
            return f"{error.error_message} {wf.step(parts.doing, flow, 'c')}"
        return "not reached"

    def flow_race(wf: Workflow, flow: str) -> int:
        late = parts.job("succeed").options(delay=60).bind(job=f"{flow}/late")
        place, _ = wf.race(late, parts.job("succeed").bind(job=f"{flow}/a"))
        return place

    def flow_abandons(wf: Workflow, flow: str) -> int:
        wf.step(parts.undone, flow, "a")
        wf.enqueue(parts.job("succeed").options(delay=100), job=f"{flow}/never")
        return wf.step(parts.failing, flow, "c")

    return {
        "flow_jobs": (flow_jobs, FlowExpectation("completed", {"a": 1, "b": 2, "c": 1, "d": 1}, 3)),
        "flow_map": (flow_map, FlowExpectation("completed", {str(n): 1 for n in range(5)}, 6)),
        "flow_fails_fast": (flow_fails_fast, FlowExpectation("completed", {"a": 3, "c": 1}, 3)),
        "flow_race": (flow_race, FlowExpectation("completed", {"a": 1}, 2)),
        "flow_abandons": (flow_abandons, FlowExpectation("failed", {"a": 1, "c": 1, "undo-a": 1, "never": 0}, 3)),
    }


def _with_children(parts: _Parts) -> dict[str, tuple[Callable[..., Any], FlowExpectation]]:
    def flow_leaf(wf: Workflow, flow: str) -> int:
        return wf.step(parts.undone, flow, "leaf")

    def flow_bad_leaf(wf: Workflow, flow: str) -> int:
        return wf.step(parts.failing, flow, "leaf")

    def flow_child(wf: Workflow, flow: str) -> int:
        first: int = wf.run_child(parts.child("flow_leaf"), flow=flow)
        try:
            wf.run_child(parts.child("flow_bad_leaf"), flow=f"{flow}/bad")
        except RunFailed:
            return first + wf.step(parts.doing, flow, "b")
        return 0

    def flow_parent(wf: Workflow, flow: str) -> int:
        wf.step(parts.undone, flow, "a")
        wf.run_child(parts.child("flow_leaf"), flow=flow)
        return wf.step(parts.failing, flow, "c")

    return {
        "flow_leaf": (flow_leaf, FlowExpectation("completed", {"leaf": 1}, 1)),
        "flow_bad_leaf": (flow_bad_leaf, FlowExpectation("failed", {"leaf": 1}, 1)),
        "flow_child": (flow_child, FlowExpectation("completed", {"leaf": 1, "bad/leaf": 1, "b": 1}, 3)),
        "flow_parent": (flow_parent, FlowExpectation("failed", {"a": 1, "leaf": 1, "c": 1, "undo-leaf": 1}, 5)),
    }
