"""Families of runs in which a child's step or undo kills its process until that is mended; on the app of the flows."""

from __future__ import annotations

import os
from pathlib import Path

from dispatch_celery import Retry
from dispatch_celery.workflows.context import Workflow
from tests.support.flows import app, dispatch, effect  # noqa: F401 - the worker looks for ``app`` here

ONCE = Retry(1)


def die_unless(mended: str, name: str) -> None:
    """End this very process, unless the file is there."""
    effect(name)
    if not Path(os.environ["SHOP_EFFECTS"]).with_name(mended).exists():
        os.kill(os.getpid(), 9)


def forget(result: str | None, name: str) -> None:
    """Undo an effect."""
    effect(f"forget-{name}")


@dispatch.step(retry=ONCE, undo=forget)
def remember(name: str) -> str:
    """Leave an effect that can be undone."""
    effect(name)
    return name


@dispatch.step(retry=ONCE, undo=forget)
def deadly(name: str) -> str:
    """Kill each time."""
    die_unless("mended", f"try-{name}")
    effect(name)
    return name


def forget_deadly(result: str | None, name: str) -> None:
    """Kill each time it is undone."""
    die_unless("undo-mended", f"try-forget-{name}")
    effect(f"forget-{name}")


@dispatch.step(retry=ONCE, undo=forget_deadly, undo_retry=ONCE)
def remember_deadly(name: str) -> str:
    """Leave an effect whose undo kills."""
    effect(name)
    return name


@dispatch.workflow(name="poison.child")
def child(wf: Workflow, name: str) -> str:
    """Do something, then be killed by a step."""
    wf.step(remember, f"{name}-first")
    return wf.step(deadly, name)


@dispatch.workflow(name="poison.family")
def family(wf: Workflow, names: list[str]) -> list[str]:
    """Wait for several such children."""
    wf.step(remember, "own")
    return wf.map(child, names)


@dispatch.workflow(name="poison.undoing_child")
def undoing_child(wf: Workflow, name: str) -> str:
    """Do two things, the second of which cannot be undone."""
    wf.step(remember, f"{name}-first")
    return wf.step(remember_deadly, name)


@dispatch.workflow(name="poison.undoing_family")
def undoing_family(wf: Workflow) -> None:
    """Fail after a child that has completed and kills when it is undone."""
    wf.step(remember, "own")
    wf.run_child(undoing_child, "c")
    wf.step(remember, "last")
    raise ValueError("not wanted any more")


@dispatch.workflow(name="poison.other")
def other(wf: Workflow, name: str) -> str:
    """Do something else meanwhile."""
    return wf.step(remember, name)
