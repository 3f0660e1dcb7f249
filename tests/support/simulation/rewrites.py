"""The kinds of simulated workflows that begin anew, are taken back, forked or migrated; and what is asked of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dispatch_celery.jobs.definition import JobDefinition
from dispatch_celery.retry import Retry
from dispatch_celery.workflows.async_context import AsyncWorkflow
from dispatch_celery.workflows.context import Workflow
from dispatch_celery.workflows.step_definition import StepDefinition
from tests.support.simulation.flows import FlowExpectation

if TYPE_CHECKING:
    from tests.support.simulation.stage import Stage

Kinds = dict[str, tuple[Callable[..., Any], FlowExpectation]]
_LONG = 120


@dataclass(frozen=True)
class Wish:
    """What somebody outside asks for of every run of a kind, once it is at rest in one of these states."""

    verb: str
    when: frozenset[str]
    to: str | None = None
    taken: frozenset[str] = frozenset()
    """The steps that a fork finds done."""


_ENDED = frozenset({"completed", "failed", "cancelled", "parked"})
WISHES = {
    "flow_again": Wish("rewind", _ENDED, "do#1"),
    "flow_mended": Wish("rewind", _ENDED),
    "flow_late": Wish("rewind", _ENDED),
    "flow_forked": Wish("fork", frozenset({"waiting"}), taken=frozenset({"a"})),
    "flow_moved": Wish("migrate", frozenset({"waiting"})),
}
REBUILT = frozenset({"flow_mended"})
"""The kinds that may complete although their first generation was undone."""


class _Parts:
    """What these workflows are made of."""

    def __init__(self, world: Stage) -> None:
        self.world = world

        def do(flow: str, step: str) -> int:
            return world.effect(f"{flow}/{step}")

        def mend(flow: str, step: str) -> int:
            if world.effect(f"{flow}/{step}") == 1:
                raise KeyError("the first time")
            return 2

        def undo(result: int | None, flow: str, step: str) -> None:
            world.effect(f"{flow}/undo-{step}")

        self.doing = StepDefinition(do)
        self.undone = StepDefinition(do, name="done", undo=undo)
        self.mended = StepDefinition(mend, retry=Retry(1))

    def job(self, kind: str) -> JobDefinition[..., Any, Any]:
        """Return a simulated job."""
        definition = self.world.registry.get(kind)
        assert definition is not None
        return definition


def rewrite_kinds(world: Stage) -> Kinds:
    """The kinds of workflows that are given another past."""
    parts = _Parts(world)
    return {**_anew(parts), **_at_once(parts), **_by_others(parts)}


def second_versions(world: Stage) -> dict[str, Callable[..., Any]]:
    """What is deployed as version 2; of every other kind that is the same function."""
    doing = _Parts(world).doing

    def flow_moved(wf: Workflow, flow: str) -> int:
        wf.step(doing, flow, "a")
        wf.sleep(2)
        return wf.step(doing, flow, "new")

    return {"flow_moved": flow_moved}


def _anew(parts: _Parts) -> Kinds:
    doing = parts.doing

    def flow_anew(wf: Workflow, flow: str, left: int = 2) -> int:
        if left:
            wf.step(doing, flow, f"g{left}")
            wf.sleep(3)
            wf.step(doing, flow, wf.wait_for_event("said", type=str, timeout=_LONG) or "nothing")
            wf.continue_as_new(flow, left - 1)
        return wf.step(doing, flow, "last")

    def flow_outlived(wf: Workflow, flow: str, left: int = 5) -> int:
        wf.step(parts.undone, flow, "a")
        wf.compensate()
        wf.sleep(2)
        if left:
            wf.continue_as_new(flow, left - 1)
        return left

    async def flow_loose(wf: AsyncWorkflow, flow: str, left: int = 1) -> int:
        """Leave a sleep and a wait behind that would be due in the middle of the next generation's."""
        began = wf.now().timestamp()
        nap = asyncio.ensure_future(wf.sleep(4))
        ear = asyncio.ensure_future(wf.wait_for_event("cried", type=str, timeout=5))
        if left:
            await wf.step(doing, flow, "a")
            await wf.wait_for_event("never", timeout=2)
            nap.cancel()
            ear.cancel()
            wf.continue_as_new(flow, left - 1)
        await nap
        if wf.now().timestamp() < began + 3.5:
            raise ValueError("woken before its time")
        return await wf.step(doing, flow, await ear or "b")

    return {
        "flow_anew": (flow_anew, FlowExpectation("completed", {"g2": 1, "g1": 1, "one": 1, "two": 1, "last": 1}, 9)),
        "flow_outlived": (flow_outlived, FlowExpectation("cancelled", {"a": 3, "undo-a": 3}, 9, timeout=5)),
        "flow_loose": (flow_loose, FlowExpectation("completed", {"a": 1, "b": 1}, 5)),
    }


def _at_once(parts: _Parts) -> Kinds:
    doing = parts.doing

    def flow_relay(wf: Workflow, flow: str, left: int = 2) -> str:
        wf.step(doing, flow, f"r{left}")
        if left:
            wf.continue_as_new(flow, left - 1)
        return "relayed"

    def flow_relayed(wf: Workflow, flow: str) -> int:
        told: str = wf.run_child(parts.world.child("flow_relay"), flow=flow)
        return wf.step(doing, flow, told)

    return {
        "flow_relay": (flow_relay, FlowExpectation("completed", {"r2": 1, "r1": 1, "r0": 1}, 3)),
        "flow_relayed": (
            flow_relayed,
            FlowExpectation("completed", {"r2": 1, "r1": 1, "r0": 1, "relayed": 1}, 2),
        ),
    }


def _by_others(parts: _Parts) -> Kinds:
    doing = parts.doing

    def flow_again(wf: Workflow, flow: str) -> int:
        wf.step(parts.undone, flow, "a")
        wf.step(doing, flow, "b")
        wf.run_job(parts.job("succeed"), job=f"{flow}/j")
        wf.sleep(1)
        return wf.step(parts.undone, flow, "c")

    def flow_mended(wf: Workflow, flow: str) -> int:
        wf.step(parts.undone, flow, "a")
        wf.step(parts.mended, flow, "b")
        return wf.step(doing, flow, "c")

    def flow_late(wf: Workflow, flow: str) -> str:
        """Leave a job behind that ends while the next generation waits for one of its own."""
        mine = f"{flow}/j{wf.info.generation}"
        promise = wf.enqueue(parts.job("echo").options(delay=4 if wf.info.generation else 2), job=mine)
        if wf.info.generation and promise.result() != mine:
            raise ValueError("the job of another generation")
        return mine

    def flow_forked(wf: Workflow, flow: str) -> int:
        wf.step(parts.undone, flow, "a")
        promise = wf.enqueue(parts.job("echo").options(delay=4), job=f"{flow}/j")
        wf.now()
        wf.sleep(1)
        if not promise.result().endswith("/j"):
            raise ValueError("the job of another run")
        return wf.step(parts.undone, flow, "c")

    def flow_moved(wf: Workflow, flow: str) -> int:
        wf.step(doing, flow, "a")
        wf.sleep(2)
        return wf.step(doing, flow, "old")

    return {
        "flow_again": (flow_again, FlowExpectation("completed", {"a": 1, "b": 2, "j": 2, "c": 2}, 6)),
        "flow_mended": (
            flow_mended,
            FlowExpectation("completed", {"a": 2, "b": 2, "undo-a": 1, "c": 1}, 2, perhaps=frozenset({"undo-a"})),
        ),
        "flow_late": (flow_late, FlowExpectation("completed", {"j0": 1, "j1": 1}, 3)),
        "flow_forked": (flow_forked, FlowExpectation("completed", {"a": 1, "j": 1, "c": 1}, 3)),
        "flow_moved": (
            flow_moved,
            FlowExpectation("completed", {"a": 1, "new": 1, "old": 0}, 2, perhaps=frozenset({"new"})),
        ),
    }
