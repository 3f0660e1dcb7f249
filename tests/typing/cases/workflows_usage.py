"""What users write with workflows: every line type checks, but the marked ones must not. Read by checkers, never run."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, assert_type
from uuid import UUID

from celery import Celery

from dispatch_celery import (
    Constant,
    Dispatch,
    Page,
    PromiseRecord,
    Retry,
    Run,
    RunCall,
    RunHandle,
    RunId,
    RunState,
    Workflow,
    current_step,
)

app = Celery("shop")
dispatch = Dispatch(app)


@dataclass
class Order:
    id: str


@dataclass
class Charge:
    id: str


@dispatch.step
def charge(order: Order) -> Charge:
    return Charge(order.id + current_step().idempotency_key)


@dispatch.step(name="acharge", retry=Retry(3, Constant(1)), timeout=timedelta(seconds=10))
async def acharge(order: Order) -> Charge:
    return Charge(order.id)


@dispatch.step(retry=3)  # MUST FAIL
def careless(order: Order) -> None: ...


def plain(order: Order, n: int) -> int:
    return n + len(order.id)


def refund(paid: Charge | None, order: Order) -> None: ...


async def arefund(paid: Charge | None, order: Order) -> None: ...


def refund_other(paid: Charge | None, order: int) -> None: ...


def refund_known(paid: Charge, order: Order) -> None: ...


def refund_word(paid: str | None, order: Order) -> None: ...


def forget(order: Order, *, times: int = 1) -> None: ...


@dispatch.step(retry=Retry(3), timeout=10, undo=refund, undo_retry=Retry(10))
def undone(order: Order) -> Charge:
    return Charge(order.id)


@dispatch.step(undo=arefund)
async def aundone(order: Order) -> Charge:
    return Charge(order.id)


@dispatch.step(undo=refund_other)  # MUST FAIL
def undone_otherwise(order: Order) -> Charge:
    return Charge(order.id)


@dispatch.step(undo=refund, undo_retry=3)  # MUST FAIL
def undone_carelessly(order: Order) -> Charge:
    return Charge(order.id)


@charge.undo
def undo_charge(paid: Charge | None, order: Order) -> None: ...


assert_type(undo_charge(None, Order("1")), None)
acharge.undo(arefund)
charge.undo(refund_other)  # MUST FAIL
charge.undo(refund_known)  # MUST FAIL
charge.undo(refund_word)  # MUST FAIL
charge.undo(forget)  # MUST FAIL


@dispatch.workflow
def checkout(wf: Workflow, order: Order, copy: bool = False) -> Charge:
    assert_type(wf.step(charge, order), Charge)
    assert_type(wf.step(acharge, order), Charge)
    assert_type(wf.step(plain, order, 3), int)
    assert_type(wf.step(charge.options(name="x"), order), Charge)
    wf.step(charge, 3)  # MUST FAIL
    wf.step(plain, order)  # MUST FAIL
    wf.sleep(3.5)
    wf.sleep(timedelta(days=30))
    wf.sleep("3")  # MUST FAIL
    wf.sleep_until(datetime.now(UTC))
    assert_type(wf.now(), datetime)
    assert_type(wf.random(), float)
    assert_type(wf.uuid(), UUID)
    assert_type(wf.patched("x"), bool)
    assert_type(wf.info.id, RunId)
    wf.log.info("%s", copy)
    assert_type(wf.step(undone, order), Charge)
    assert_type(wf.step(aundone, order), Charge)
    wf.step(undone, 3)  # MUST FAIL
    assert_type(wf.add_undo(forget, order, times=3), None)
    wf.add_undo(forget, order, time=3)  # MUST FAIL
    wf.add_undo(forget, 3)  # MUST FAIL
    assert_type(wf.compensate(), None)
    return wf.step(charge, order)


@dispatch.workflow(name="old", version=2, timeout=3600, queue="slow")
def old(wf: Workflow, n: int) -> str:
    return str(n)


@dispatch.workflow  # MUST FAIL
def no_workflow() -> str:
    return ""


assert_type(charge(Order("1")), Charge)
assert_type(checkout.start(Order("1"), copy=True), RunHandle[Charge])
assert_type(checkout.bind(Order("1")), RunCall[Charge])
assert_type(checkout.options(delay=3, idempotency_key="k").start(Order("1")), RunHandle[Charge])
assert_type(old.start(3).result(timeout=3), str)
assert_type(old.handle("run_1").state(), RunState)
assert_type(old.start(3).info(), Run)
checkout.start(3)  # MUST FAIL
old.start("3")  # MUST FAIL
old.options(dely=3)  # MUST FAIL
assert_type(dispatch.start("old", n=3), RunHandle[Any])
assert_type(dispatch.runs.list(state="waiting"), Page[Run])
assert_type(dispatch.runs.timeline("run_1"), list[PromiseRecord])
assert_type(dispatch.runs.cancel("run_1", reason="why"), RunState)
assert_type(dispatch.runs.cancel("run_1", discard_undo=True), RunState)
assert_type(dispatch.runs.compensate("run_1"), RunState)
assert_type(dispatch.runs.retry_undo("run_1"), RunState)
assert_type(dispatch.runs.skip_undo("run_1", "charge#1"), RunState)
dispatch.runs.skip_undo("run_1")  # MUST FAIL


assert_type(current_step().progress(1, 10, "begun"), None)
current_step().progress("1")  # MUST FAIL


async def caller() -> None:
    assert_type(await current_step().aprogress(1), None)
    assert_type(await dispatch.astart("old", n=3), RunHandle[Any])
    run = await checkout.astart(Order("1"))
    assert_type(await run.aresult(timeout=1), Charge)
    assert_type(await dispatch.runs.aget(run.id), Run)
