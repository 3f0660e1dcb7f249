"""The kinds of simulated workflows: what each does, how it must end, and how often its steps may be seen to run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dispatch_celery.retry import Constant, Retry
from dispatch_celery.workflows.context import Workflow
from dispatch_celery.workflows.step_definition import StepDefinition
from tests.support.simulation.plan import ProcessDied

if TYPE_CHECKING:
    from tests.support.simulation.stage import Stage


@dataclass
class FlowExpectation:
    """How a run must end, how often each of its steps runs when nothing goes wrong, and in how many claims."""

    state: str
    effects: Mapping[str, int]
    slices: int
    perhaps: frozenset[str] = frozenset()
    """Steps that need not run, where somebody else is late."""
    within: int = 3_600
    """Seconds after which all is over in a world in which nothing goes wrong: who is not woken goes on late."""
    timeout: float | None = None
    """Seconds that a run of this kind may take."""


@dataclass
class FlowSteps:
    """The steps that simulated workflows are made of."""

    doing: StepDefinition[[str, str], int, int]
    patient: StepDefinition[[str, str], int, int]
    failing: StepDefinition[[str, str], int, int]
    killing: StepDefinition[[str, str], int, int]


def _steps(world: Stage) -> FlowSteps:

    def do(flow: str, step: str) -> int:
        return world.effect(f"{flow}/{step}")

    def second_time(flow: str, step: str) -> int:
        if world.effect(f"{flow}/{step}") == 1:
            raise ValueError("the first time")
        return 2

    def never(flow: str, step: str) -> int:
        world.effect(f"{flow}/{step}")
        raise KeyError("never")

    def deadly(flow: str, step: str) -> int:
        world.effect(f"{flow}/{step}")
        raise ProcessDied

    return FlowSteps(
        doing=StepDefinition(do),
        patient=StepDefinition(second_time, retry=Retry(3, Constant(5))),
        failing=StepDefinition(never, retry=Retry(1)),
        killing=StepDefinition(deadly),
    )


def flow_kinds(world: Stage) -> dict[str, tuple[Callable[..., Any], FlowExpectation]]:
    """The kinds of workflows."""
    steps = _steps(world)

    def flow_steps(wf: Workflow, flow: str) -> int:
        first = wf.step(steps.doing, flow, "a")
        wf.now()
        return first + wf.step(steps.doing, flow, "b") + wf.step(steps.doing, flow, "c")

    def flow_sleeps(wf: Workflow, flow: str) -> int:
        wf.step(steps.doing, flow, "a")
        wf.sleep(30)
        wf.step(steps.doing, flow, "b")
        wf.sleep(5)
        return wf.step(steps.doing, flow, "c")

    def flow_retries(wf: Workflow, flow: str) -> str:
        wf.step(steps.patient, flow, "a")
        try:
            wf.step(steps.failing, flow, "b")
        except KeyError as error:
            return f"{error.args[0]} {wf.step(steps.doing, flow, 'c')}"
        return "not reached"

    def flow_fails(wf: Workflow, flow: str) -> int:
        wf.step(steps.doing, flow, "a")
        return wf.step(steps.failing, flow, "b")

    def flow_kills(wf: Workflow, flow: str) -> int:
        wf.step(steps.doing, flow, "a")
        return wf.step(steps.killing, flow, "b")

    return {
        "flow_steps": (flow_steps, FlowExpectation("completed", {"a": 1, "b": 1, "c": 1}, 1)),
        "flow_sleeps": (flow_sleeps, FlowExpectation("completed", {"a": 1, "b": 1, "c": 1}, 3)),
        "flow_retries": (flow_retries, FlowExpectation("completed", {"a": 2, "b": 1, "c": 1}, 2)),
        "flow_fails": (flow_fails, FlowExpectation("failed", {"a": 1, "b": 1}, 1)),
        "flow_kills": (flow_kills, FlowExpectation("parked", {"a": 1, "b": 3}, 3)),
    }
