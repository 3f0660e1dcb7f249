"""Workflows written as ``async def``, on the app of the flows."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

from dispatch_celery import Fail, JobCancelled, JobFailed, Retry, RunCancelled, WorkflowMisuse
from dispatch_celery.workflows.async_context import AsyncWorkflow
from tests.support.crowd_flows import ameet, gives_up, meet, mood, outlasts, stubborn, threads_end, wins
from tests.support.event_flows import approved
from tests.support.family_flows import Image, holds, leaf, middle, odd, resize, slow
from tests.support.flows import app, dispatch, effect, later, mark, refuse  # noqa: F401 - the worker looks for ``app``
from tests.support.shop import aadd, add, anap, hold

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


# -- several at once


@dispatch.workflow(name="async.crowds")
async def crowds(wf: AsyncWorkflow) -> list[str]:
    """Every verb with members: jobs, children and steps."""
    thumbs = wf.map(resize, [Image(n=n) for n in range(7)], max_parallel=3)
    collected = wf.map(odd, [1, 2], on_error="collect")
    marks = wf.map(amark, ["m1", "m2"])
    gathered = wf.gather(add.bind(1), leaf.bind("g"), mark.bind("here"))
    racing = wf.race(slow.bind("late", 30.0), add.bind(1))
    searching = wf.first_ok(odd.bind(2), odd.bind(7))
    found, kept, made, (total, child, here), (place, value), (other, fine) = await asyncio.gather(
        thumbs, collected, marks, gathered, racing, searching
    )
    return [
        str([thumb.n for thumb in found]),
        str([outcome.ok for outcome in kept]),
        f"{made} {total} {child} {here}",
        f"{place} {value} {other} {fine}",
    ]


@dispatch.workflow(name="async.fails_fast")
async def fails_fast(wf: AsyncWorkflow) -> str:
    """Catch the first failure of several; the others are called off."""
    try:
        await wf.gather(slow.bind("loser", 30.0), odd.bind(2), odd.bind(3))
    except JobFailed as error:
        return f"{error.error_message} {await wf.step(mark, 'after')}"
    return "not reached"


@dispatch.workflow(name="async.meets")
async def meets(wf: AsyncWorkflow) -> list[str]:
    """Steps that each wait for another one: in tasks, on the loop and in threads, and as members."""
    mood.set("set by the body")
    here = asyncio.gather(wf.step(meet, "a", "d"), wf.step(ameet, "b", "a"))
    async with asyncio.TaskGroup() as group:
        task = group.create_task(wf.step(ameet, "c", "b"))
        found = await wf.gather(meet.bind("d", "c"), ameet.bind("e", "d"))
    return [*await here, task.result(), *found, await wf.step(threads_end, "all have ended")]


@dispatch.workflow(name="async.loses")
async def loses(wf: AsyncWorkflow) -> list[str]:
    """The loser of a race of steps finishes and is undone, while another task goes on."""
    race = wf.race(outlasts.bind("loser", "race#1/wins#1"), wins.bind("winner", "loser"))
    (place, winner), beside = await asyncio.gather(race, wf.step(mark, "beside"))
    await wf.sleep(0.1)
    return [str(place), winner, beside]


@dispatch.workflow(name="async.leaves")
async def leaves(wf: AsyncWorkflow) -> str:
    """A task group that fails leaves a step behind that runs still: it finishes, and is undone with the run."""
    async with asyncio.TaskGroup() as group:
        group.create_task(wf.step(outlasts, "behind", "task#2/gives_up#1"))
        group.create_task(give_up(wf))
    return "not reached"


async def give_up(wf: AsyncWorkflow) -> None:
    """Fail when the other has begun."""
    await wf.step(gives_up, "behind")


@dispatch.workflow(name="async.hears")
async def hears(wf: AsyncWorkflow, key: str) -> list[str]:
    """Wait for one of several, for all of several, and for nobody."""
    first = await wf.wait_for_any(wf.event(approved, key=key), wf.event("refused", key=key, type=str), timeout=20)
    both, nobody = await asyncio.gather(
        wf.wait_for_all(wf.event(approved, key=f"{key}1"), wf.event(approved, key=f"{key}2"), timeout=20),
        wf.wait_for_any(wf.event("never"), timeout=0.2),
    )
    names = [one.payload.by for one in both or ()]
    return [str(None if first is None else first.payload), *names, str(nobody)]


@dispatch.workflow(name="async.sends")
async def sends(wf: AsyncWorkflow) -> list[str]:
    """Wait for jobs and a child that stay."""
    await wf.step(amark, "before")
    jobs, child = wf.map(hold, ["h1", "h2"]), wf.run_child(middle)
    return [*await jobs, await child]


@dispatch.workflow(name="async.cancels")
async def cancels(wf: AsyncWorkflow) -> list[str]:
    """Call off a job and a child, awaited or not, and what is sent last."""
    job, child = wf.enqueue(slow, "called-off", 30.0), wf.spawn_child(holds)
    await wf.sleep(0.1)
    await wf.cancel(job)
    wf.cancel(child)
    told = []
    for promise in (job, child):
        try:
            await promise
        except (JobCancelled, RunCancelled) as error:
            told.append(type(error).__name__)
    try:
        await wf.cancel(wf.step(mark, "never"))
    except WorkflowMisuse as misuse:
        told.append(str(misuse))
    wf.enqueue(add, 1)
    wf.cancel(wf.enqueue(anap.options(delay=60), "unwanted", 1.0))
    return told


@dispatch.workflow(name="async.compensates")
async def compensates(wf: AsyncWorkflow) -> list[str]:
    """Undo what was done so far, but nothing that is under way."""
    first = wf.step(outlasts, "first", "mark#1")
    await asyncio.gather(first, wf.step(mark, "second"), wf.compensate())
    await wf.sleep(0.1)
    return [await wf.step(mark, "third")]


@dispatch.workflow(name="async.late")
async def late(wf: AsyncWorkflow) -> list[str]:
    """A step past its time whose code does not obey, beside one that is done."""
    slow, beside = await asyncio.gather(wf.step(stubborn, "slow"), wf.step(mark, "beside"), return_exceptions=True)
    return [str(slow), str(beside), await wf.step(mark, "after")]
