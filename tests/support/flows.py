"""Workflows on the app of the shop, for real workers: one for each way a run can go.

What a step does is counted by the shop's effects. ``FLOWS_RELEASE`` chooses the code a worker has: ``old`` or ``new``.
"""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import suppress
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

from pydantic import BaseModel

from dispatch_celery import Constant, Retry, StepFailed
from dispatch_celery.workflows.context import Workflow
from dispatch_celery.workflows.steps import current_step
from tests.support.shop import Order, aadd, app, dispatch, effect  # noqa: F401 - the worker looks for ``app`` here

RELEASE = os.environ.get("FLOWS_RELEASE", "new")
ONCE = Retry(1)


class Confirmation(BaseModel):
    """A typed result of a run."""

    order: Order
    total: Decimal
    due: datetime
    kinds: list[str]
    words: str


class Refused(Exception):
    """An error of a step, with an attribute."""

    def __init__(self, reason: str, amount: int) -> None:
        super().__init__(reason)
        self.amount = amount


# -- steps


@dispatch.step(retry=ONCE)
def mark(name: str) -> str:
    """Leave an effect."""
    effect(name)
    return name


@dispatch.step
def price(order: Order) -> Decimal:
    """Return a decimal."""
    effect("price")
    return order.amount * 2


@dispatch.step
def promise(moment: datetime) -> datetime:
    """Return a time."""
    effect("promise")
    return moment + timedelta(days=1)


@dispatch.step
async def check(order: Order) -> Order:
    """Return a model, after turns of the event loop."""
    effect("check")
    await aadd(1)
    return order


@dispatch.step(retry=ONCE)
def same(words: list[str]) -> list[str]:
    """Take what must be the same on every replay: other arguments park the run."""
    return words


@dispatch.step(retry=ONCE)
def refuse(reason: str) -> None:
    """Fail for good."""
    effect("refuse")
    raise Refused(reason, amount=3)


@dispatch.step(retry=Retry(3, Constant(0.05)))
def soon(name: str, failures: int) -> int:
    """Fail some times, and try again at once."""
    if effect(name) <= failures:
        raise ValueError("not yet")
    return current_step().attempt


@dispatch.step(retry=Retry(2, Constant(1.5)))
def later(name: str, failures: int) -> int:
    """Fail some times, and try again after a while."""
    return soon(name, failures)


@dispatch.step(retry=ONCE)
def die(name: str, times: int) -> int:
    """End this very process some times; leave the idempotency key each time."""
    effect(f"key={current_step().idempotency_key}")
    count = effect(name)
    if count <= times:
        os.kill(os.getpid(), 9)
    return count


@dispatch.step(retry=ONCE)
def hold(name: str) -> str:
    """Stay until the file ``go`` is there."""
    effect(f"key={current_step().idempotency_key}")
    effect(name)
    go = Path(os.environ["SHOP_EFFECTS"]).with_name("go")
    limit = time.monotonic() + 60
    while not go.exists() and time.monotonic() < limit:
        time.sleep(0.02)
    return name


@dispatch.step(retry=ONCE)
async def ahold(name: str) -> str:
    """Stay on the event loop."""
    effect(name)
    await asyncio.sleep(60)
    return name


@dispatch.step(timeout=0.5, retry=ONCE)
def slow(seconds: float) -> None:
    """Take longer than its timeout."""
    effect("slow")
    time.sleep(seconds)
    effect("slow-end")


# -- workflows


@dispatch.workflow(name="flows.checkout")
def checkout(wf: Workflow, order: Order) -> Confirmation:
    """Take types through steps, and rest in between."""
    effect("pass")
    total, due = wf.step(price, order), wf.step(promise, wf.now())
    checked = wf.step(check, order)
    words = f"{wf.uuid()} {wf.random()}"
    kinds = [type(value).__name__ for value in (total, due, checked)]
    wf.step(same, [*kinds, words, str(due)])
    wf.sleep(0.2)
    again = wf.step(mark.options(name="last"), "last")
    return Confirmation(order=checked, total=total, due=due, kinds=[*kinds, again], words=words)


@dispatch.workflow(name="flows.nap")
def nap(wf: Workflow, name: str, seconds: float) -> str:
    """Rest between two effects."""
    wf.step(mark, f"{name}-before")
    wf.sleep(seconds)
    return wf.step(mark, f"{name}-after")


@dispatch.workflow(name="flows.catch")
def catch(wf: Workflow) -> list[str]:
    """Catch a step's error by its class, and tell what it is before and after a replay."""
    try:
        wf.step(refuse, "no money")
    except Refused as error:
        seen = [str(error), str(error.amount), str(isinstance(error, StepFailed)), *error.__notes__]
    wf.step(same, seen)
    wf.sleep(0.2)
    return seen[:4]


@dispatch.workflow(name="flows.uncaught")
def uncaught(wf: Workflow) -> None:
    """Let a step's error end the run."""
    wf.step(refuse, "no money")


@dispatch.workflow(name="flows.retry")
def retry(wf: Workflow, name: str, failures: int, *, long: bool) -> int:
    """Try again, in place or through the timer."""
    wf.step(mark, f"{name}-before")
    return wf.step(later, name, failures) if long else wf.step(soon, name, failures)


@dispatch.workflow(name="flows.die")
def dying(wf: Workflow, name: str, times: int) -> int:
    """Lose the process within a step."""
    wf.step(mark, f"{name}-before")
    count = wf.step(die, name, times)
    wf.step(mark, f"{name}-after")
    return count


@dispatch.workflow(name="flows.hold")
def holding(wf: Workflow, name: str, *, on_loop: bool = False) -> str:
    """Stay within a step."""
    wf.step(mark, f"{name}-before")
    held = wf.step(ahold, name) if on_loop else wf.step(hold, name)
    return wf.step(mark, f"{held}-after")


@dispatch.workflow(name="flows.slow")
def slowly(wf: Workflow) -> str:
    """Catch the timeout of a step."""
    try:
        wf.step(slow, 5.0)
    except TimeoutError:
        return "timed out"
    return "in time"


if RELEASE == "old":

    @dispatch.workflow(name="flows.change")
    def change(wf: Workflow, seconds: float) -> str:
        """The code a run began with."""
        wf.step(mark, "one")
        wf.sleep(seconds)
        return wf.step(mark, "two")

    @dispatch.workflow(name="flows.gap")
    def gap(wf: Workflow, seconds: float) -> str:
        """The code a run began with: it asks for a uuid."""
        wf.uuid()
        wf.step(mark, "one")
        wf.sleep(seconds)
        return wf.step(mark, "two")

else:

    @dispatch.workflow(name="flows.change")
    def change(wf: Workflow, seconds: float) -> str:
        """Today's code: it begins with another step, and catches whatever that raises."""
        with suppress(Exception):
            wf.step(mark.options(name="check"), "zero")
        wf.sleep(seconds)
        return wf.step(mark, "two")

    @dispatch.workflow(name="flows.gap")
    def gap(wf: Workflow, seconds: float) -> str:
        """Today's code: it needs no uuid."""
        wf.step(mark, "one")
        wf.sleep(seconds)
        return wf.step(mark, "two")

    @dispatch.workflow(name="flows.novelty")
    def novelty(wf: Workflow) -> str:
        """A workflow only the new release knows."""
        return wf.step(mark, "novelty")

    @dispatch.workflow(name="flows.side", version=2)
    def side_two(wf: Workflow, seconds: float) -> str:
        """The second version."""
        wf.sleep(seconds)
        return wf.step(mark, "two")


@dispatch.workflow(name="flows.side", version=1)
def side_one(wf: Workflow, seconds: float) -> str:
    """The first version."""
    wf.step(mark, "one")
    wf.sleep(seconds)
    return "one"


@dispatch.workflow(name="flows.poison")
def poison(wf: Workflow, name: str) -> None:
    """End the process each time."""
    effect(name)
    os.kill(os.getpid(), 9)


@dispatch.workflow(name="flows.swallow")
def swallow(wf: Workflow) -> str:
    """Swallow the suspension."""
    try:
        wf.sleep(0.2)
    except BaseException:  # noqa: BLE001 - the mistake it shows
        effect("swallowed")
    return "went on"


@dispatch.workflow(name="flows.liar")
def liar(wf: Workflow) -> int:
    """Return what the annotation forbids."""
    return wf.step(mark, "liar")  # type: ignore[return-value]  # that is the point


@dispatch.workflow(name="flows.nest")
def nest(wf: Workflow) -> str:
    """Make a durable call within a step."""

    def outer() -> str:
        return wf.step(mark, "inner")

    name = wf.step(outer)
    wf.sleep(0.2)
    return name


@dispatch.workflow(name="flows.busy")
def busy(wf: Workflow, seconds: float) -> None:
    """Work outside of any step."""
    effect("busy")
    time.sleep(seconds)


@dispatch.workflow(name="flows.tidy")
def tidy(wf: Workflow) -> str:
    """Take some time to leave when the run is suspended."""
    try:
        wf.sleep(0.2)
    finally:
        effect("leaving")
        time.sleep(1.0)
        effect("left")
    return wf.step(mark, "next")
