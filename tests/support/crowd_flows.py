"""Workflows whose steps are under way at the same time, on the app of the flows: each waits for another one's doing."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from pathlib import Path

from dispatch_celery import Constant, JobFailed, Outcome, Retry, current_scope, current_step
from dispatch_celery.workflows.context import Workflow
from tests.support.family_flows import odd
from tests.support.flows import Refused, app, dispatch, effect, later, mark, soon  # noqa: F401 - the worker's app

ONCE = Retry(1)
LIMIT = 20.0
mood: ContextVar[str] = ContextVar("mood", default="unset")


def marked(name: str) -> bool:
    """Whether an effect of a name was left."""
    path = Path(os.environ["SHOP_EFFECTS"])
    return path.exists() and any(line.split(" ", 1)[0] == name for line in path.read_text().splitlines())


def wait_for(check: Callable[[], bool], what: str) -> None:
    """Stay until something is there."""
    limit = time.monotonic() + LIMIT
    while not check():
        if time.monotonic() > limit:
            raise TimeoutError(f"{what} never came")
        time.sleep(0.01)


def recorded(identity: str, status: str) -> bool:
    """Whether a durable call of this run has an outcome."""
    lines = dispatch.runs.timeline(current_step().run_id)
    return any((line.identity, line.status) == (identity, status) for line in lines)


def forget(result: str | None, name: str, other: str) -> None:
    """Undo a mark; leave what the step had returned."""
    effect(f"forget-{name}-{result}")


@dispatch.step(retry=ONCE)
def meet(name: str, other: str) -> str:
    """Stay until another step has begun; tell what is seen from here."""
    effect(name)
    wait_for(lambda: marked(other), other)
    return f"{current_step().id} {current_scope().path} {mood.get()}"


@dispatch.step(retry=ONCE)
async def ameet(name: str, other: str) -> str:
    """Stay on the event loop until another step has begun."""
    effect(name)
    limit = time.monotonic() + LIMIT
    while not marked(other) and time.monotonic() < limit:  # noqa: ASYNC110 - the other one is in no loop
        await asyncio.sleep(0.01)
    return current_step().id


@dispatch.step(retry=ONCE, undo=forget)
def outlasts(name: str, other: str) -> str:
    """Stay until the other has an outcome."""
    effect(name)
    wait_for(lambda: recorded(other, "value") or recorded(other, "error"), other)
    return name


@dispatch.step(retry=ONCE, undo=forget)
def wins(name: str, other: str) -> str:
    """Return when the other has begun."""
    wait_for(lambda: marked(other), other)
    effect(name)
    return name


@dispatch.step(retry=ONCE)
def gives_up(other: str) -> None:
    """Fail when the other has begun."""
    wait_for(lambda: marked(other), other)
    raise Refused("no money", amount=3)


@dispatch.step(retry=ONCE, undo=forget)
def holds(name: str, other: str) -> str:
    """Stay until the file ``go`` is there, in short naps."""
    effect(name)
    go = Path(os.environ["SHOP_EFFECTS"]).with_name("go")
    wait_for(go.exists, "go")
    effect(f"{name}-end")
    return name


@dispatch.step(retry=ONCE, timeout=0.5)
def naps(name: str) -> str:
    """Take longer than its timeout, in short naps."""
    effect(name)
    limit = time.monotonic() + LIMIT
    while time.monotonic() < limit:
        time.sleep(0.01)
    return name


@dispatch.step(retry=Retry(1), timeout=0.5)
def sleeps(name: str) -> str:
    """Take longer than its timeout, where no exception reaches it."""
    effect(name)
    time.sleep(6)
    effect(f"{name}-end")
    return name


@dispatch.step(retry=Retry(2, Constant(0.05)), timeout=0.5)
def sleeps_twice(name: str) -> str:
    """Take longer than its timeout, twice."""
    effect(f"{name}-{current_step().attempt}")
    time.sleep(6)
    return name


@dispatch.step(retry=ONCE, timeout=0.5)
async def asleeps(name: str) -> str:
    """Take longer than its timeout, on the event loop."""
    effect(name)
    await asyncio.sleep(LIMIT)
    return name


@dispatch.step(retry=ONCE, timeout=0.3)
def stubborn(name: str) -> str:
    """Take longer than its timeout, whatever is said to it."""
    effect(name)
    limit = time.monotonic() + 0.9
    while time.monotonic() < limit:
        with suppress(TimeoutError):
            time.sleep(0.01)
    effect(f"{name}-end")
    return name


@dispatch.step(retry=ONCE)
def leaves(name: str) -> None:
    """Call ``sys.exit``."""
    sys.exit(f"{name} leaves")


@dispatch.step(retry=ONCE)
def threads_end(name: str) -> str:
    """Stay until no thread of this process is one in which a gathered step runs."""
    wait_for(lambda: not any(one.name.startswith("dispatch-step") for one in threading.enumerate()), "their end")
    return name


@dispatch.workflow(name="crowd.meets")
def meets(wf: Workflow) -> list[str]:
    """Steps that each wait for another one: sync, async, and mixed."""
    mood.set("set by the body")
    found = wf.gather(meet.bind("a", "d"), meet.bind("b", "a"), ameet.bind("c", "b"), ameet.bind("d", "c"))
    return [*found, wf.step(threads_end, "all have ended")]


@dispatch.workflow(name="crowd.maps")
def maps(wf: Workflow, count: int, width: int) -> list[str]:
    """More steps than may be under way at a time; neighbours wait for each other."""
    return wf.map(pair, range(count), max_parallel=width)


@dispatch.step(retry=ONCE)
def pair(n: int) -> str:
    """Stay until the neighbour has begun; mark begin and end."""
    effect(f"begin-{n}")
    wait_for(lambda: marked(f"begin-{n ^ 1}"), f"begin-{n ^ 1}")
    effect(f"end-{n}")
    return current_step().id


@dispatch.workflow(name="crowd.fails_fast")
def fails_fast(wf: Workflow) -> str:
    """Catch the first failure, go on, and complete."""
    try:
        wf.gather(outlasts.bind("loser", "gather#1/gives_up#1"), gives_up.bind("loser"))
    except Refused as refused:
        return f"{refused} {wf.step(mark, 'after')}"
    return "not reached"


@dispatch.workflow(name="crowd.races")
def races(wf: Workflow) -> list[str]:
    """The loser finishes and is undone, the winner stays."""
    place, winner = wf.race(outlasts.bind("loser", "race#1/wins#1"), wins.bind("winner", "loser"))
    other, fine = wf.first_ok(leaves.bind("first"), mark.bind("second"))
    wf.sleep(0.1)
    return [f"{place} {winner}", f"{other} {fine}"]


@dispatch.workflow(name="crowd.retries")
def retries(wf: Workflow) -> list[str]:
    """Tried again at once, and later, beside one that is not."""
    one, two, three = wf.gather(soon.bind("soon", 1), later.bind("later", 1), mark.bind("mark"))
    return [str(one), str(two), three]


@dispatch.workflow(name="crowd.holds")
def holding(wf: Workflow, name: str) -> list[str]:
    """Stay in two steps at once."""
    held = wf.gather(holds.bind(f"{name}-1", ""), holds.bind(f"{name}-2", ""))
    return [*held, wf.step(mark, f"{name}-after")]


@dispatch.workflow(name="crowd.late")
def late(wf: Workflow, how: str) -> list[str]:
    """One of two is past its time."""
    slow = {"naps": naps, "sleeps": sleeps, "sleeps_twice": sleeps_twice, "asleeps": asleeps}[how]
    try:
        wf.gather(slow.bind("slow"), mark.bind("beside"))
    except TimeoutError as error:
        return [str(error), wf.step(mark, "after")]
    return []


@dispatch.workflow(name="crowd.collects")
def collects(wf: Workflow) -> list[str]:
    """Errors of steps that run at the same time are theirs alone."""

    def nested(name: str) -> str:
        if name == "call":
            return wf.step(mark, "inner")
        return sys.exit("it leaves") if name == "exit" else name

    outcomes: list[Outcome[str]] = wf.map(nested, ["call", "exit", "fine"], on_error="collect")
    return [str(one.value) if one.ok else str(getattr(one.error, "error_message", one.error)) for one in outcomes]


@dispatch.workflow(name="crowd.mixes")
def mixes(wf: Workflow) -> list[str]:
    """A job fails while a step runs: the step finishes, and is undone."""
    try:
        wf.gather(odd.bind(2), holds.bind("beside", ""))
    except JobFailed as failed:
        return [failed.error_message, wf.step(mark, "after")]
    return []
