"""The kinds of simulated workflows whose steps are under way at the same time; the seed decides which ends first."""

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

BESIDE = {"flow_fails_beside": ("a", "b"), "flow_races_steps": ("a", "b", "c"), "flow_tasks": ("c",)}
"""The effects of each kind that are undone when its run fails or is cancelled."""
ONE_LEFT = frozenset({"flow_races_steps"})
"""Kinds that leave one of these effects when they complete: the winner's. Whoever has lost is undone."""


@dataclass
class CrowdSteps:
    """The steps that simulated crowds are made of."""

    doing: StepDefinition[[str, str], str, str]
    undone: StepDefinition[[str, str], str, str]
    at_once: StepDefinition[[str, str], str, str]
    patient: StepDefinition[[str, str], str, str]
    failing: StepDefinition[[str, str], str, str]


def crowd_steps(world: Stage) -> CrowdSteps:
    """Return steps that do, are undone, are tried again at once or later, and fail."""

    def do(flow: str, step: str) -> str:
        world.effect(f"{flow}/{step}")
        return step

    def second_time(flow: str, step: str) -> str:
        if world.effect(f"{flow}/{step}") == 1:
            raise ValueError("the first time")
        return step

    def never(flow: str, step: str) -> str:
        world.effect(f"{flow}/{step}")
        raise KeyError("never")

    def undo(result: str | None, flow: str, step: str) -> None:
        world.effect(f"{flow}/undo-{step}")

    return CrowdSteps(
        doing=StepDefinition(do),
        undone=StepDefinition(do, name="done", undo=undo),
        at_once=StepDefinition(second_time, name="at_once", retry=Retry(3, Constant(0.01))),
        patient=StepDefinition(second_time, name="patient", retry=Retry(3, Constant(5))),
        failing=StepDefinition(never, retry=Retry(1)),
    )


def crowd_kinds(world: Stage) -> dict[str, tuple[Callable[..., Any], FlowExpectation]]:
    """The kinds of workflows with several steps at once."""
    steps = crowd_steps(world)

    def flow_gathers(wf: Workflow, flow: str) -> str:
        calls = (steps.at_once.bind(flow, "a"), steps.patient.bind(flow, "b"), steps.doing.bind(flow, "c"))
        return "".join(wf.gather(*calls, steps.undone.bind(flow, "d")))

    def flow_maps_steps(wf: Workflow, flow: str) -> list[bool]:
        def item(name: str) -> str:
            return steps.patient.__wrapped__(flow, name) if name == "1" else steps.doing.__wrapped__(flow, name)

        kept = wf.map(StepDefinition(item, retry=Retry(1)), "0123", max_parallel=2, on_error="collect")
        return [outcome.ok for outcome in kept]

    def flow_races_steps(wf: Workflow, flow: str) -> str:
        _, winner = wf.race(*(steps.undone.bind(flow, name) for name in "abc"))
        return f"{winner} {wf.step(steps.doing, flow, 'd')}"

    def flow_fails_beside(wf: Workflow, flow: str) -> str:
        wf.step(steps.undone, flow, "a")
        wf.gather(steps.undone.bind(flow, "b"), steps.failing.bind(flow, "c"))
        return "not reached"

    return {
        "flow_gathers": (flow_gathers, FlowExpectation("completed", {"a": 2, "b": 2, "c": 1, "d": 1}, 2)),
        "flow_maps_steps": (flow_maps_steps, FlowExpectation("completed", {"0": 1, "1": 1, "2": 1, "3": 1}, 1)),
        "flow_races_steps": (flow_races_steps, FlowExpectation("completed", {"d": 1}, 1)),
        "flow_fails_beside": (flow_fails_beside, FlowExpectation("failed", {"a": 1, "b": 1, "c": 1, "undo-a": 1}, 1)),
    }
