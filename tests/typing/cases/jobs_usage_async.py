"""The async twins of the job verbs. Read by checkers, never run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_type

from celery import Celery

from dispatch_celery import Dispatch, Job, JobHandle, JobState

dispatch = Dispatch(Celery("shop"))


@dataclass
class Order:
    id: str


@dataclass
class Receipt:
    id: str


@dispatch.job
def send_receipt(order: Order, copy: bool = False) -> Receipt:
    return Receipt(order.id)


@dispatch.job
async def afetch(order: Order) -> Receipt:
    return Receipt(order.id)


async def main(order: Order) -> None:
    assert_type(await afetch(order), Receipt)
    assert_type(await send_receipt.aenqueue(order), JobHandle[Receipt])
    assert_type(await afetch.aenqueue(order), JobHandle[Receipt])
    assert_type(await send_receipt.options(delay=3).aenqueue(order, copy=True), JobHandle[Receipt])
    assert_type(await send_receipt.aenqueue_many([send_receipt.bind(order)]), list[JobHandle[Receipt]])
    handle = send_receipt.handle("job_01h")
    assert_type(await handle.aresult(timeout=3), Receipt)
    assert_type(await handle.acancel(), JobState)
    assert_type(await dispatch.jobs.aget("job_01h"), Job)
    await send_receipt.aenqueue(3)  # MUST FAIL 1
    await send_receipt.aenqueue(order, copi=True)  # MUST FAIL 2
