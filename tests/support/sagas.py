"""Workflows that undo what they have done, on the app of the flows."""

from __future__ import annotations

import os
from datetime import datetime
from decimal import Decimal
from pathlib import Path

from pydantic import BaseModel

from dispatch_celery import Constant, Fail, Retry, current_scope
from dispatch_celery.workflows.context import Workflow
from dispatch_celery.workflows.steps import current_step
from tests.support.flows import app, dispatch, effect, hold, mark, refuse  # noqa: F401 - the worker looks for ``app``

ONCE = Retry(1)


class Charge(BaseModel):
    """A typed result that an undo is given."""

    account: str
    amount: Decimal
    at: datetime


def release(result: str | None, name: str) -> None:
    """Undo a reservation."""
    effect(f"release-{name}-{result}")


@dispatch.step(retry=ONCE, undo=release)
def reserve(name: str) -> str:
    """Leave an effect that is to be undone."""
    effect(f"reserve-{name}")
    return f"seat-of-{name}"


@dispatch.step(retry=ONCE)
def charge(account: str, amount: Decimal, *, at: datetime) -> Charge:
    """Take money."""
    effect(f"charge-{account}")
    return Charge(account=account, amount=amount, at=at)


@charge.undo
async def refund(paid: Charge | None, account: str, amount: Decimal, *, at: datetime) -> None:
    """Give it back, on the event loop."""
    step = current_step()
    same = paid == Charge(account=account, amount=amount, at=at)
    effect(f"refund-{account}-{same}-{step.id}-{current_scope().path}")


@dispatch.step(retry=ONCE, undo=release)
def reserve_and_fail(name: str) -> str:
    """Leave the effect, and fail all the same."""
    effect(f"reserve-{name}")
    raise ValueError("the connection broke behind it")


def release_later(result: str | None, name: str) -> None:
    """Undo it, at the second time."""
    if effect(f"release-{name}") == 1:
        raise ValueError("not yet")


@dispatch.step(retry=ONCE, undo=release_later, undo_retry=Retry(3, Constant(1.5)))
def reserve_late(name: str) -> str:
    """Leave an effect that is undone with patience."""
    effect(f"reserve-{name}")
    return name


def release_when_mended(result: str | None, name: str) -> None:
    """Undo it, once somebody has mended what is broken."""
    effect(f"try-{name}")
    if not Path(os.environ["SHOP_EFFECTS"]).with_name("mended").exists():
        raise ValueError("the warehouse is closed")
    effect(f"release-{name}")


@dispatch.step(retry=ONCE, undo=release_when_mended, undo_retry=ONCE)
def reserve_stuck(name: str) -> str:
    """Leave an effect that cannot be undone."""
    effect(f"reserve-{name}")
    return name


def release_and_die(result: str | None, name: str) -> None:
    """End the process in the middle of the undo, the first time."""
    if effect(f"release-{name}") == 1:
        os.kill(os.getpid(), 9)


@dispatch.step(retry=ONCE, undo=release_and_die)
def reserve_deadly(name: str) -> str:
    """Leave an effect whose undo kills."""
    effect(f"reserve-{name}")
    return name


def forget(name: str, *, times: int) -> None:
    """Undo something that was no step."""
    effect(f"forget-{name}-{times}")


@dispatch.workflow(name="sagas.order", timeout=60)
def order(wf: Workflow, name: str, *, refused: bool) -> str:
    """Do two things that can be undone, and perhaps fail."""
    wf.step(reserve, name)
    wf.step(charge, name, Decimal("9.90"), at=wf.now())
    if refused:
        wf.step(refuse, "no shipping")
    return wf.step(mark, f"shipped-{name}")


@dispatch.workflow(name="sagas.waiting")
def waiting(wf: Workflow, name: str) -> str:
    """Rest after an effect."""
    wf.step(reserve, name)
    wf.sleep(60)
    return wf.step(mark, f"after-{name}")


@dispatch.workflow(name="sagas.held")
def held(wf: Workflow, name: str) -> str:
    """Stay in a step after an effect."""
    wf.step(reserve, name)
    return wf.step(hold, name)


@dispatch.workflow(name="sagas.half")
def half(wf: Workflow, name: str) -> str:
    """Fail in the very step that has the effect."""
    return wf.step(reserve_and_fail, name)


@dispatch.workflow(name="sagas.late")
def late(wf: Workflow, name: str) -> None:
    """Undo with patience."""
    wf.step(reserve, f"first-{name}")
    wf.step(reserve_late, name)
    raise Fail("not wanted any more")


@dispatch.workflow(name="sagas.stuck")
def stuck(wf: Workflow, name: str) -> None:
    """Undo in vain."""
    wf.step(reserve, f"first-{name}")
    wf.step(reserve_stuck, name)
    raise ValueError("not wanted any more")


@dispatch.workflow(name="sagas.deadly")
def deadly(wf: Workflow, name: str) -> None:
    """Lose the process within an undo."""
    wf.step(reserve, f"first-{name}")
    wf.step(reserve_deadly, name)
    raise ValueError("not wanted any more")


@dispatch.workflow(name="sagas.added")
def added(wf: Workflow, name: str) -> None:
    """Undo what was no step."""
    wf.add_undo(forget, name, times=2)
    wf.step(mark, name)
    raise ValueError("not wanted any more")


@dispatch.workflow(name="sagas.amends")
def amends(wf: Workflow, name: str) -> str:
    """Undo, and go on another way."""
    wf.step(reserve, name)
    try:
        wf.step(refuse, "no shipping")
    except Exception:  # noqa: BLE001 - whatever it is, it is undone
        wf.compensate()
    wf.sleep(0.2)
    return wf.step(reserve, f"other-{name}")
