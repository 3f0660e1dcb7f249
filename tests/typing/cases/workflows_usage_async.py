"""What users write with async workflows: every line type checks, but the marked ones must not. Never run."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, assert_type

from celery import Celery

from dispatch_celery import AsyncWorkflow, Dispatch, Outcome, Promise, Received, RunHandle, Workflow

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
    return Charge(order.id)


@dispatch.step
async def acharge(order: Order) -> Charge:
    return Charge(order.id)


@dispatch.job
def send(order: Order, copy: bool = False) -> int:
    return len(order.id) + copy


def plain(order: Order, n: int) -> int:
    return n + len(order.id)


@dispatch.workflow
async def ship(wf: AsyncWorkflow, order: Order) -> int:
    return await wf.run_job(send, order)


approved = dispatch.event("order.approved", Charge)


@dispatch.workflow
async def checkout(wf: AsyncWorkflow, order: Order) -> str:
    assert_type(await wf.step(charge, order), Charge)
    assert_type(await wf.step(acharge, order), Charge)
    assert_type(wf.step(plain, order, 3), Promise[int])
    wf.step(charge, 3)  # MUST FAIL
    wf.step(plain, order)  # MUST FAIL
    x, y = await asyncio.gather(wf.step(charge, order), wf.step(plain, order, 1))
    assert_type(x, Charge)
    assert_type(y, int)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(wf.step(charge, order))
    assert_type(task.result(), Charge)
    assert_type(await asyncio.wait_for(wf.run_child(ship, order), timeout=3), int)
    assert_type(wf.enqueue(send, order, copy=True), Promise[int])
    assert_type(wf.spawn_child(ship, order).id, str)
    wf.spawn_child(ship, 1)  # MUST FAIL
    return (await kept(wf, order)).id


async def kept(wf: AsyncWorkflow, order: Order) -> Charge:
    """Promises can be named, kept and handed on."""
    later: Promise[Charge] = wf.step(charge, order)
    wrong: Promise[int] = wf.step(charge, order)  # MUST FAIL
    await wrong
    await wf.cancel(later)
    return await later


@dispatch.workflow
async def crowds(wf: AsyncWorkflow, order: Order) -> None:
    assert_type(await wf.map(send, [order]), list[int])
    assert_type(await wf.map(acharge, [order]), list[Charge])
    assert_type(await wf.map(ship, [order], max_parallel=3), list[int])
    assert_type(await wf.map(send, [order], on_error="collect"), list[Outcome[int]])
    await wf.map(send, [1])  # MUST FAIL
    a, b, c = await wf.gather(charge.bind(order), send.bind(order), ship.bind(order))
    assert_type(a, Charge)
    assert_type(b, int)
    assert_type(c, int)
    d, e = await wf.gather(charge.bind(order), charge.bind(order), charge.bind(order))  # MUST FAIL
    assert_type(await wf.gather(*[charge.bind(order) for _ in range(9)]), tuple[Charge, ...])
    assert_type(await wf.race(send.bind(order), ship.bind(order)), tuple[int, int])
    assert_type(await wf.first_ok(charge.bind(order), acharge.bind(order)), tuple[int, Charge])


@dispatch.workflow
async def talks(wf: AsyncWorkflow, key: str) -> None:
    assert_type(await wf.wait_for_event(approved, key=key), Charge)
    assert_type(await wf.wait_for_event(approved, key=key, timeout=3), Charge | None)
    assert_type(await wf.wait_for_event("said", type=list[int]), list[int])
    one = wf.event(approved, key=key)
    assert_type(await wf.wait_for_any(one, wf.event("said"), timeout=3), Received[Any] | None)
    assert_type(await wf.wait_for_all(one, wf.event("said")), list[Received[Any]] | None)
    wf.publish(approved, Charge("x"), key=key)
    wf.publish(approved, 3)  # MUST FAIL
    assert_type(wf.sleep(3), Promise[None])
    assert_type(wf.compensate(), Promise[None])


@dispatch.workflow
async def wrong_face(wf: Workflow, order: Order) -> None:  # MUST FAIL
    ...


async def caller(order: Order) -> None:
    assert_type(await checkout.astart(order), RunHandle[str])
    assert_type(await crowds.start(order).aresult(), None)
