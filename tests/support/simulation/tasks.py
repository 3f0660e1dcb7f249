"""The kinds of simulated workflows written as ``async def``: their tasks go the same ways on each replay."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dispatch_celery.errors import JobCancelled
from dispatch_celery.jobs.definition import JobDefinition
from dispatch_celery.workflows.async_context import AsyncWorkflow
from dispatch_celery.workflows.driver import Promise
from tests.support.simulation.crowds import crowd_steps
from tests.support.simulation.flows import FlowExpectation

if TYPE_CHECKING:
    from tests.support.simulation.stage import Stage

_LONG = 200


def task_kinds(world: Stage) -> dict[str, tuple[Callable[..., Any], FlowExpectation]]:
    """The kinds of workflows with tasks."""
    steps = crowd_steps(world)

    def job(kind: str) -> JobDefinition[..., Any, Any]:
        definition = world.registry.get(kind)
        assert definition is not None
        return definition

    async def flow_tasks(wf: AsyncWorkflow, flow: str) -> list[str]:
        order: list[str] = []

        async def one(promise: Promise[str]) -> None:
            word = await promise
            world.say(f"{flow}/order {wf.info.generation}.{len(order)}", word)
            order.append(word)

        async def way(name: str, seconds: float) -> None:
            await one(wf.step(steps.doing, flow, f"{name}1"))
            await wf.sleep(seconds)
            await one(wf.step(steps.doing, flow, f"{name}2"))

        patient, undone = wf.step(steps.patient, flow, "b"), wf.step(steps.undone, flow, "c")
        await asyncio.gather(one(patient), one(undone), way("x", 20), way("y", 5))
        return order

    async def flow_async_map(wf: AsyncWorkflow, flow: str) -> int:
        jobs = wf.map(job("succeed"), [f"{flow}/{n}" for n in range(5)], max_parallel=2)
        here = wf.gather(*(steps.doing.bind(flow, name) for name in "ab"))
        done, marks = await asyncio.gather(jobs, here)
        return len(done) + len(marks)

    async def flow_async_race(wf: AsyncWorkflow, flow: str) -> str:
        late = job("succeed").options(delay=60)
        never = wf.enqueue(late, job=f"{flow}/never")
        race = wf.race(late.bind(job=f"{flow}/late"), job("succeed").bind(job=f"{flow}/a"))
        search = wf.first_ok(job("fail_always").bind(job=f"{flow}/b"), steps.doing.bind(flow, "c"))
        try:
            (place, _), (other, _) = await asyncio.gather(race, search)
        except JobCancelled:
            # A worker of a world that is gone has called off who had lost there: that is no write of the run's.
            assert world.rolled_back
            place, other = 1, 1
        wf.cancel(never)
        try:
            await never
        except JobCancelled:
            return f"{place} {other}"
        return "not reached"

    async def flow_async_chooses(wf: AsyncWorkflow, flow: str) -> list[str]:
        all_of_it = await wf.wait_for_all(wf.event("said", type=str), wf.event("said", type=str), timeout=_LONG)
        nobody = await wf.wait_for_any(wf.event("never"), timeout=5)
        words = ["nothing"] if all_of_it is None or nobody is not None else [one.payload for one in all_of_it]
        return list(await asyncio.gather(*(wf.step(steps.doing, flow, word) for word in words)))

    return {
        "flow_tasks": (
            flow_tasks,
            FlowExpectation("completed", {"x1": 1, "x2": 1, "y1": 1, "y2": 1, "b": 2, "c": 1}, 3),
        ),
        "flow_async_map": (
            flow_async_map,
            FlowExpectation("completed", {**{str(n): 1 for n in range(5)}, "a": 1, "b": 1}, 5),
        ),
        "flow_async_race": (flow_async_race, FlowExpectation("completed", {"a": 1, "c": 1}, 2)),
        "flow_async_chooses": (flow_async_chooses, FlowExpectation("completed", {"one": 1, "two": 1}, 6)),
    }
