"""Workflows for people to look at, on the app of the shop: one for each thing a picture of a run can show."""

from __future__ import annotations

import os
import time
from pathlib import Path

from dispatch_celery import Constant, Retry
from dispatch_celery.workflows.context import Workflow
from tests.support.shop import add, app, dispatch, effect, progress  # noqa: F401 - the worker looks for ``app`` here

ONCE = Retry(1)
SHORT = 0.15


def refund(result: str | None, item: str) -> None:
    """Give the money back."""
    effect(f"refund-{item}")


def unship(result: str | None, item: str) -> None:
    """Fail to call a parcel back, until somebody leaves the file ``returned``."""
    if not Path(os.environ["SHOP_EFFECTS"]).with_name("returned").exists():
        raise RuntimeError("the parcel is on its way")


@dispatch.step(retry=ONCE, undo=refund)
def charge(item: str) -> str:
    """Take some time, and money."""
    time.sleep(SHORT)
    return f"paid {item}"


@dispatch.step(retry=ONCE, undo=unship, undo_retry=ONCE)
def ship(item: str) -> str:
    """Take some time."""
    time.sleep(SHORT)
    return f"parcel of {item}"


@dispatch.step(retry=Retry(3, Constant(0.05)))
def weigh(item: str, failures: int) -> int:
    """Fail some times before it succeeds."""
    if effect(f"weigh-{item}") <= failures:
        raise ValueError("the scale swings")
    return 3


@dispatch.step(retry=ONCE)
def refuse(reason: str) -> None:
    """Fail for good."""
    raise RuntimeError(reason)


@dispatch.workflow(name="shown.parcel")
def parcel(wf: Workflow, item: str) -> int:
    """Be a child."""
    return wf.step(weigh, item, 0)


@dispatch.workflow(name="shown.order")
def order(wf: Workflow, item: str) -> str:
    """Use steps that succeed at once and later, a rest, a job, a child and a group."""
    paid = wf.step(charge, item)
    wf.status(f"{item} is paid")
    wf.step(weigh, item, 1)
    wf.sleep(0.4)
    wf.run_job(add, 2, 3)
    wf.run_child(parcel, f"{item}-box")
    wf.gather(weigh.bind(f"{item}-a", 0), weigh.bind(f"{item}-b", 0))
    return paid


@dispatch.workflow(name="shown.waiting")
def waiting(wf: Workflow, item: str) -> str:
    """Wait for a person, for an hour at most."""
    wf.step(charge, item)
    wf.wait_for_event("shown.approved", key=item, timeout=3600)
    return item


@dispatch.workflow(name="shown.undone")
def undone(wf: Workflow, item: str) -> None:
    """Do something, fail, and undo it."""
    wf.step(charge, item)
    wf.step(refuse, "no stock is left")


@dispatch.workflow(name="shown.stuck")
def stuck(wf: Workflow, item: str) -> None:
    """Do what cannot be undone, and fail."""
    wf.step(charge, item)
    wf.step(ship, item)
    wf.step(refuse, "the address is wrong")
