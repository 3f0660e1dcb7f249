"""Workflows of the shop that end in every way, in a worker that listens (``-I tests.support.heard_flows``)."""

from __future__ import annotations

import os

from dispatch_celery import Constant, Retry, Workflow
from tests.support import listening
from tests.support.shop import dispatch, effect

MODULE = "tests.support.heard_flows"
assert listening  # a worker that has this has its listeners

ONCE = Retry(1, Constant(0.1))


def unpay(_result: str | None, name: str) -> None:
    """Give it back."""
    effect(f"unpaid-{name}")


def stuck(_result: str | None, name: str) -> None:
    """Cannot be undone."""
    raise LookupError(name)


@dispatch.step(retry=ONCE)
def look(name: str, *, fails: bool = False) -> str:
    """Look, or fail."""
    if fails:
        raise ValueError(name)
    return name


@dispatch.step(retry=ONCE, undo=unpay)
def pay(name: str) -> str:
    """Pay."""
    return name


@dispatch.step(retry=ONCE, undo=stuck, undo_retry=ONCE)
def sign(name: str) -> str:
    """Sign what nobody can undo."""
    return name


@dispatch.step(retry=ONCE)
def die_once(name: str) -> str:
    """End this process, once."""
    if effect(name) == 1:
        os.kill(os.getpid(), 9)
    return name


@dispatch.workflow(name="heard.completes")
def completes(wf: Workflow, name: str) -> str:
    """Look, rest, end."""
    wf.step(look, name)
    wf.sleep(0.2)
    return name


@dispatch.workflow(name="heard.fails")
def fails(wf: Workflow, name: str) -> str:
    """Pay, and fail: what was paid is given back."""
    wf.step(pay, name)
    return wf.step(look, name, fails=True)


@dispatch.workflow(name="heard.parks")
def parks(wf: Workflow, name: str) -> str:
    """Sign, and fail: nobody can undo that."""
    wf.step(sign, name)
    return wf.step(look, name, fails=True)


@dispatch.workflow(name="heard.waits")
def waits(wf: Workflow, name: str) -> str:
    """Rest for long."""
    wf.sleep(3600)
    return name


@dispatch.workflow(name="heard.dies")
def dies(wf: Workflow, name: str) -> str:
    """Lose its process."""
    return wf.step(die_once, name)
