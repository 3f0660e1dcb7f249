"""The kinds of simulated workflows whose effects are undone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dispatch_celery.retry import Constant, Retry
from dispatch_celery.workflows.context import Workflow
from dispatch_celery.workflows.step_definition import StepDefinition
from tests.support.simulation.flows import FlowExpectation

if TYPE_CHECKING:
    from tests.support.simulation.stage import Stage

UNDOABLE = {"flow_saga": ("a", "b"), "flow_undoable": ("a", "b"), "flow_stuck": ("a",), "flow_amends": ("a", "c")}
"""The effects of each kind that are undone when its run fails or is cancelled, and left alone when it completes."""


@dataclass
class SagaSteps:
    """The steps that simulated sagas are made of."""

    undone: StepDefinition[[str, str], int, int]
    undone_late: StepDefinition[[str, str], int, int]
    undone_never: StepDefinition[[str, str], int, int]
    failing: StepDefinition[[str, str], int, int]


def _steps(world: Stage) -> SagaSteps:

    def do(flow: str, step: str) -> int:
        return world.effect(f"{flow}/{step}")

    def fail(flow: str, step: str) -> int:
        world.effect(f"{flow}/{step}")
        raise KeyError("never")

    def undo(result: int | None, flow: str, step: str) -> None:
        world.effect(f"{flow}/undo-{step}")

    def undo_late(result: int | None, flow: str, step: str) -> None:
        if world.effect(f"{flow}/undo-{step}") == 1:
            raise ValueError("the first time")

    def undo_never(result: int | None, flow: str, step: str) -> None:
        world.effect(f"{flow}/undo-{step}")
        raise KeyError("never")

    return SagaSteps(
        undone=StepDefinition(do, undo=undo),
        undone_late=StepDefinition(do, undo=undo_late, undo_retry=Retry(3, Constant(5))),
        undone_never=StepDefinition(do, undo=undo_never, undo_retry=Retry(1)),
        failing=StepDefinition(fail, retry=Retry(1)),
    )


def saga_kinds(world: Stage) -> dict[str, tuple[Callable[..., Any], FlowExpectation]]:
    """The kinds of workflows that have something to undo."""
    steps = _steps(world)

    def flow_saga(wf: Workflow, flow: str) -> int:
        first = wf.step(steps.undone, flow, "a")
        second = wf.step(steps.undone_late, flow, "b")
        return first + second + wf.step(steps.failing, flow, "c")

    def flow_undoable(wf: Workflow, flow: str) -> int:
        first = wf.step(steps.undone, flow, "a")
        wf.sleep(30)
        return first + wf.step(steps.undone, flow, "b")

    def flow_stuck(wf: Workflow, flow: str) -> int:
        first = wf.step(steps.undone, flow, "a")
        second = wf.step(steps.undone_never, flow, "b")
        return first + second + wf.step(steps.failing, flow, "c")

    def flow_amends(wf: Workflow, flow: str) -> int:
        wf.step(steps.undone, flow, "a")
        try:
            wf.step(steps.failing, flow, "b")
        except KeyError:
            wf.compensate()
        return wf.step(steps.undone, flow, "c")

    return {
        "flow_saga": (
            flow_saga,
            FlowExpectation("failed", {"a": 1, "b": 1, "c": 1, "undo-b": 2, "undo-a": 1}, 2),
        ),
        "flow_undoable": (flow_undoable, FlowExpectation("completed", {"a": 1, "b": 1}, 2)),
        "flow_stuck": (flow_stuck, FlowExpectation("parked", {"a": 1, "b": 1, "c": 1, "undo-b": 1}, 1)),
        "flow_amends": (flow_amends, FlowExpectation("completed", {"a": 1, "b": 1, "c": 1, "undo-a": 1}, 1)),
    }
