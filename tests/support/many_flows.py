"""Workflows that are many, or have many below them, on the app of the flows; effects are appended, and not counted."""

from __future__ import annotations

import os
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from dispatch_celery import Retry
from dispatch_celery.workflows.context import Workflow
from tests.support.flows import app, dispatch  # noqa: F401 - the worker looks for ``app`` here

ONCE = Retry(1)
_PATIENCE: Final = 30.0


def note(name: str) -> None:
    """Append one line for an effect, as the shop does, without counting those before it."""
    line = f"{name} {os.getpid()} {time.time():.3f}\n".encode()
    descriptor = os.open(Path(os.environ["SHOP_EFFECTS"]), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(descriptor, line)
    finally:
        os.close(descriptor)


def work(n: int) -> int:
    """Leave an effect, and return a square; stay in between while the file ``hunt`` is there."""
    note(f"square-{n}")
    hunt = Path(os.environ["SHOP_EFFECTS"]).with_name("hunt")
    limit = time.monotonic() + _PATIENCE
    if hunt.exists():
        note(f"hunted-{n}")
    while hunt.exists() and time.monotonic() < limit:
        time.sleep(0.01)
    return n * n


@dispatch.job(name="crowd.square", retry=ONCE)
def square(n: int) -> int:
    """Be done as a job."""
    return work(n)


@dispatch.step(retry=ONCE)
def square_here(n: int) -> int:
    """Be done as a step."""
    return work(n)


@dispatch.workflow(name="crowd.square_child")
def square_child(wf: Workflow, n: int) -> int:
    """Be done as a run of its own."""
    return wf.step(square_here, n)


@dispatch.workflow(name="crowd.fans")
def fans(wf: Workflow, count: int, *, children: bool) -> list[int]:
    """Send so many to the fleet, and return what they returned."""
    if children:
        return wf.map(square_child, range(count))
    return wf.map(square, range(count))


def forget(result: str | None, depth: int) -> None:
    """Undo what one level did."""
    note(f"forget-{depth}")


@dispatch.step(retry=ONCE, undo=forget)
def remember(depth: int) -> str:
    """Leave the effect of one level."""
    note(f"level-{depth}")
    return str(depth)


@dispatch.workflow(name="crowd.nested")
def nested(wf: Workflow, depth: int) -> str:
    """Run itself, some levels deep; the last one rests."""
    wf.step(remember, depth)
    if depth == 0:
        wf.sleep(timedelta(hours=1))
        return "not reached"
    return wf.run_child(nested, depth - 1)


@dispatch.workflow(name="crowd.sleeps")
def sleeps(wf: Workflow, until: datetime) -> bool:
    """Rest until a moment, and tell whether it was kept."""
    wf.sleep_until(until)
    return wf.now() >= until
