"""Workflows that wait for events, on the app of the flows."""

from __future__ import annotations

from pydantic import BaseModel

from dispatch_celery import PayloadError
from dispatch_celery.workflows.context import Workflow
from tests.support.flows import app, dispatch, effect, hold, mark  # noqa: F401 - the worker looks for ``app`` here


class Approval(BaseModel):
    """What is published."""

    by: str
    amount: int = 0


approved = dispatch.event("order.approved", Approval)
refused = dispatch.event("order.refused", Approval)


@dispatch.workflow(name="events.waits")
def waits(wf: Workflow, key: str | None = None, timeout: float | None = None) -> str:
    """Wait for one event."""
    wf.step(mark, f"before-{key}")
    if timeout is None:
        return wf.wait_for_event(approved, key=key).by
    got = wf.wait_for_event(approved, key=key, timeout=timeout)
    return "nobody" if got is None else got.by


@dispatch.workflow(name="events.twice")
def twice(wf: Workflow, key: str) -> list[str]:
    """Wait for two on one name."""
    first = wf.wait_for_event(approved, key=key)
    second = wf.wait_for_event(approved, key=key)
    return [first.by, second.by]


@dispatch.workflow(name="events.choosy")
def choosy(wf: Workflow, key: str) -> list[str]:
    """Wait for a large one, then for any."""
    large = wf.wait_for_event(approved, key=key, where=lambda one: one.amount > 100)
    first = wf.wait_for_event(approved, key=key)
    return [large.by, first.by]


@dispatch.workflow(name="events.either")
def either(wf: Workflow, key: str, timeout: float = 30) -> str:
    """Wait for the first of two names."""
    got = wf.wait_for_any(wf.event(approved, key=key), wf.event(refused, key=key), timeout=timeout)
    if got is None:
        return "nobody"
    return f"{'yes' if got.event is approved else 'no'} {got.payload.by}"


@dispatch.workflow(name="events.both")
def both(wf: Workflow, key: str, timeout: float = 30) -> list[str]:
    """Wait for two names."""
    got = wf.wait_for_all(wf.event(approved, key=key), wf.event(refused, key=key), timeout=timeout)
    return ["nobody"] if got is None else [one.payload.by for one in got]


@dispatch.workflow(name="events.later")
def later(wf: Workflow, key: str) -> str:
    """Begin to wait only after something else."""
    wf.step(hold, f"holds-{key}")
    return wf.wait_for_event(approved, key=key).by


@dispatch.workflow(name="events.by_name")
def by_name(wf: Workflow) -> list[int]:
    """Wait by name, with a type of its own."""
    return wf.wait_for_event("numbers", type=list[int])


@dispatch.workflow(name="events.bad")
def bad(wf: Workflow, key: str) -> str:
    """Wait for a type that is not what is published."""
    try:
        wf.wait_for_event("free", key=key, type=int)
    except PayloadError as error:
        return f"{type(error).__name__}, {wf.wait_for_event('free', key=key, type=str)}"
    return "fits"


@dispatch.workflow(name="events.speaks")
def speaks(wf: Workflow, key: str) -> str:
    """Publish, rest, and publish again."""
    first = wf.publish(approved, Approval(by="me"), key=key)
    wf.sleep(0.2)
    wf.publish(approved, Approval(by="me again"), key=key)
    return first


@dispatch.workflow(name="events.looks_back")
def looks_back(wf: Workflow, key: str) -> str:
    """Take what was published before it began."""
    got = wf.wait_for_event(approved, key=key, timeout=0.2)
    old = wf.wait_for_event(approved, key=key, timeout=0.2, lookback=3600)
    return f"{got} {'nobody' if old is None else old.by}"
