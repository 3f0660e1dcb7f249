"""The kinds of simulated workflows that publish events and wait for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dispatch_celery.workflows.context import Workflow
from dispatch_celery.workflows.step_definition import StepDefinition
from tests.support.simulation.flows import FlowExpectation

if TYPE_CHECKING:
    from tests.support.simulation.stage import Stage

_LONG = 200


def talk_kinds(world: Stage) -> dict[str, tuple[Callable[..., Any], FlowExpectation]]:
    """The kinds of workflows that talk."""

    def do(flow: str, step: str) -> int:
        return world.effect(f"{flow}/{step}")

    doing = StepDefinition(do)

    def flow_says(wf: Workflow, flow: str) -> int:
        wf.step(doing, flow, "a")
        wf.publish("said", "one")
        wf.sleep(5)
        wf.publish("said", "two")
        return wf.step(doing, flow, "b")

    def flow_hears(wf: Workflow, flow: str) -> list[str | None]:
        heard = [wf.wait_for_event("said", type=str, timeout=_LONG) for _ in range(2)]
        for word in heard:
            wf.step(doing, flow, word or "nothing")
        return heard

    def flow_chooses(wf: Workflow, flow: str) -> str | None:
        second = wf.wait_for_event("said", type=str, where=lambda word: word == "two", timeout=_LONG)
        first = wf.wait_for_any(wf.event("said", type=str), wf.event("never"), timeout=_LONG)
        wf.step(doing, flow, second or "nothing")
        wf.step(doing, flow, "nothing" if first is None else first.payload)
        return second

    def flow_times_out(wf: Workflow, flow: str) -> str | None:
        heard = wf.wait_for_event("never", type=str, timeout=20)
        wf.step(doing, flow, "a")
        return heard

    return {
        "flow_says": (flow_says, FlowExpectation("completed", {"a": 1, "b": 1}, 2)),
        "flow_hears": (flow_hears, FlowExpectation("completed", {"one": 1, "two": 1}, 6, within=60)),
        "flow_chooses": (flow_chooses, FlowExpectation("completed", {"one": 1, "two": 1}, 6, within=60)),
        "flow_times_out": (flow_times_out, FlowExpectation("completed", {"a": 1}, 2)),
    }
