"""Workflows written as ``async def``, on the app of the flows."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

from dispatch_celery import Fail, JobFailed, Retry
from dispatch_celery.workflows.async_context import AsyncWorkflow
from tests.support.event_flows import approved
from tests.support.family_flows import leaf, odd
from tests.support.flows import app, dispatch, effect, later, mark, refuse  # noqa: F401 - the worker looks for ``app``
from tests.support.shop import aadd, add, anap

ONCE = Retry(1)


def forget(result: str | None, name: str) -> None:
    """Undo a mark."""
    effect(f"forget-{name}")


@dispatch.step(retry=ONCE, undo=forget)
async def amark(name: str) -> str:
    """Leave an effect that can be undone, on the event loop."""
    await asyncio.sleep(0)
    effect(name)
    return name


@dispatch.workflow(name="async.sequence")
async def sequence(wf: AsyncWorkflow, name: str) -> str:
    """One thing after the other, with a rest."""
    first = await wf.step(mark, f"{name}-a")
    await wf.sleep(0.2)
    total = await wf.run_job(add, 1, b=2)
    child = await wf.run_child(leaf, f"{name}-leaf")
    return f"{first} {total} {child} {wf.uuid()} {wf.now().timestamp()}"


@dispatch.workflow(name="async.gathers")
async def gathers(wf: AsyncWorkflow) -> list[str]:
    """Several at once, each in its own way."""
    one, two, three, four = await asyncio.gather(
        wf.step(mark, "one"), wf.run_job(add, 1), wf.sleep(0.2), wf.step(amark, "four")
    )
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(wf.run_job(aadd, n)) for n in range(3)]
    return [one, str(two), str(three), four, *(str(task.result()) for task in tasks)]


@dispatch.workflow(name="async.branches")
async def branches(wf: AsyncWorkflow) -> list[str]:
    """Tasks that each go their own way, and tell in which order they went."""
    order: list[str] = []

    async def way(name: str, seconds: float) -> str:
        order.append(await wf.step(mark, f"{name}-1"))
        await wf.sleep(seconds)
        order.append(await wf.step(mark, f"{name}-2"))
        return name

    await asyncio.gather(way("x", 0.4), way("y", 0.1), way("z", 0.2))
    await wf.sleep(0.1)
    return order


@dispatch.workflow(name="async.waits")
async def waits(wf: AsyncWorkflow, key: str) -> str:
    """Wait for an event, but not for ever."""
    try:
        got = await asyncio.wait_for(wf.wait_for_event(approved, key=key), timeout=1.0)
    except TimeoutError:
        return "nobody"
    return got.by


@dispatch.workflow(name="async.times_out")
async def times_out(wf: AsyncWorkflow) -> str:
    """A job that takes too long for its caller."""
    promise = wf.enqueue(anap, "slow", 20.0)
    with suppress(TimeoutError):
        await asyncio.wait_for(promise, timeout=0.3)
    return await wf.step(mark, "after")


@dispatch.workflow(name="async.fails")
async def fails(wf: AsyncWorkflow) -> None:
    """Fail after an effect that is undone."""
    await wf.step(amark, "done")
    try:
        await wf.run_job(odd, 2)
    except JobFailed as error:
        raise Fail(error.error_message) from None


@dispatch.workflow(name="async.sleeps_wrongly")
async def sleeps_wrongly(wf: AsyncWorkflow) -> None:
    """Use the clock of asyncio."""
    await asyncio.sleep(1)


@dispatch.workflow(name="async.threads_wrongly")
async def threads_wrongly(wf: AsyncWorkflow) -> None:
    """Use a thread."""
    await asyncio.to_thread(print, "hello")


@dispatch.workflow(name="async.foreign")
async def foreign(wf: AsyncWorkflow) -> None:
    """Await what nobody will ever resolve."""
    await asyncio.get_running_loop().create_future()


@dispatch.workflow(name="async.blocks")
async def blocks(wf: AsyncWorkflow) -> str:
    """Hold the loop."""
    time.sleep(0.5)  # noqa: ASYNC251 - the mistake it shows
    return await wf.step(mark, "blocked")


@dispatch.workflow(name="async.retries")
async def retries(wf: AsyncWorkflow) -> list[int | str]:
    """A step that is tried again later, beside one that goes on."""
    return list(await asyncio.gather(wf.step(later, "late", 1), wf.step(mark, "beside")))


@dispatch.workflow(name="async.tidies")
async def tidies(wf: AsyncWorkflow) -> str:
    """Leave through a ``finally`` each time it rests."""
    try:
        await wf.sleep(0.2)
    finally:
        effect("leaves")
    return await wf.step(mark, "end")
