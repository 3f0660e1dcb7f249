"""The Celery app of the orders: steps with their undos, a job, an event, two workflows.

Run by: celery -A app worker.
"""

from __future__ import annotations

import os
import time
from datetime import timedelta
from pathlib import Path

from celery import Celery
from ledger import Ledger
from pydantic import BaseModel

from dispatch_celery import Dispatch, Fail, Workflow, current_job, current_step

app = Celery("orders", broker=os.environ.get("ORDERS_BROKER", "redis://127.0.0.1:6379/0"))
dispatch = Dispatch(app)

PATIENCE = timedelta(seconds=8)
SLOW = 3.0


class Order(BaseModel):
    """What a customer wants."""

    id: str
    item: str
    price: int


class Decision(BaseModel):
    """What a person says to an order."""

    by: str
    approved: bool
    why: str = ""


class Ending(BaseModel):
    """What became of an order that did not fail."""

    shipped: bool
    words: str


decided = dispatch.event("order.decided", Decision)


def world() -> Ledger:
    """Return the book of the outside world."""
    return Ledger(Path(os.environ.get("ORDERS_LEDGER", "ledger.sqlite3")))


# -- steps, each with what undoes it. The key is the same in every attempt, also in another worker after a crash.


@dispatch.step
def charge(order: Order) -> str:
    """Take the customer's money."""
    world().book(current_step().idempotency_key, "money", order.id, order.price)
    return f"receipt of {order.price}"


@charge.undo
def refund(_receipt: str | None, order: Order) -> None:
    """Give it back. Perhaps nothing was taken, or it was given back before: both are fine."""
    world().take_back(current_step().idempotency_key, "money", order.id)


@dispatch.step
def reserve(order: Order) -> str:
    """Take the item off the shelf."""
    world().book(current_step().idempotency_key, "stock", order.id, -1)
    if order.item == "piano":
        # The worst moment to be killed in: the effect is there, its record is not yet.
        time.sleep(SLOW)
    return f"one {order.item}"


@reserve.undo
def put_back(_reserved: str | None, order: Order) -> None:
    """Put it on the shelf again."""
    world().take_back(current_step().idempotency_key, "stock", order.id)


@dispatch.step
def print_label(order: Order) -> str:
    """Announce a parcel to the carrier."""
    world().book(current_step().idempotency_key, "parcels", order.id, 1)
    return f"parcel-{order.id}"


@print_label.undo
def void_label(_label: str | None, order: Order) -> None:
    """Tell the carrier that it does not come."""
    world().take_back(current_step().idempotency_key, "parcels", order.id)


@dispatch.step
def hand_over(order: Order, label: str) -> str:
    """Give the parcel to the carrier, who does not take everything."""
    if order.item == "aquarium":
        raise Fail("the carrier takes no aquarium")
    return label


@dispatch.job(name="orders.receipt")
def send_receipt(order: Order, label: str) -> str:
    """Write to the customer: a durable job of its own, on any worker."""
    world().book(current_job().idempotency_key, "receipts", order.id, 1)
    return f"{order.item} is on its way as {label}"


# -- workflows


@dispatch.workflow(name="orders.ship")
def ship(wf: Workflow, order: Order) -> str:
    """Ship one item."""
    label = wf.step(print_label, order)
    return wf.step(hand_over, order, label)


@dispatch.workflow(name="orders.place", timeout=timedelta(days=7))
def place_order(wf: Workflow, order: Order) -> Ending:
    """Charge, reserve, ask a person, ship, and send a receipt. A failure anywhere undoes what was done before it."""
    wf.step(charge, order)
    wf.step(reserve, order)
    decision = wf.wait_for_event(decided, key=order.id, timeout=PATIENCE)
    if decision is None:
        raise Fail("nobody decided in time")
    if not decision.approved:
        # To be refused is no failure: the run undoes what it has done, and completes.
        wf.compensate()
        return Ending(shipped=False, words=f"refused by {decision.by}: {decision.why}")
    label = wf.run_child(ship, order)
    wf.run_job(send_receipt, order, label)
    return Ending(shipped=True, words=f"shipped as {label}")
