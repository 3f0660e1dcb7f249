"""What users write with jobs: every line type checks, but the marked ones must not. Read by checkers, never run."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, assert_type

from celery import Celery, chain

from dispatch_celery import (
    BoundJob,
    Call,
    Dispatch,
    ExecutionContext,
    Exponential,
    Job,
    JobContext,
    JobDefinition,
    JobHandle,
    JobId,
    JobState,
    Page,
    Retry,
    StepContext,
    current_job,
    scope,
)

app = Celery("shop")
dispatch = Dispatch(app)


@dataclass
class Order:
    id: str


@dataclass
class Receipt:
    id: str


@dataclass
class Image:
    n: int


@dataclass
class Thumb:
    n: int


@dispatch.job
def bare(x: int) -> str:
    return str(x)


@dispatch.job(queue="mail", retry=Retry(max_attempts=5, backoff=Exponential(1, 60)), timeout=30)
def send_receipt(order: Order, copy: bool = False) -> Receipt:
    return Receipt(order.id)


@dispatch.job
async def afetch(order: Order) -> Receipt:
    return Receipt(order.id)


@dispatch.job(name="shop.resize", priority=3, timeout=timedelta(seconds=3))
async def aresize(img: Image, /, *, size: int = 3) -> Thumb:
    return Thumb(size)


@dispatch.remote("billing.tax", queue="billing")
def tax(order: Order) -> int:
    raise NotImplementedError


@dispatch.remote("billing.audit")
async def audit(order: Order, note: str = "") -> None:
    raise NotImplementedError


@dispatch.job(quue="mail")  # MUST FAIL 1
def misspelt(x: int) -> None: ...


@dispatch.job(retry=3)  # MUST FAIL 2
def no_policy(x: int) -> None: ...


order = Order("1")

# A definition is still its function, and remembers its types.
assert_type(bare(1), str)
assert_type(send_receipt(order), Receipt)
assert_type(send_receipt(order, copy=True), Receipt)
bare("1")  # MUST FAIL 3
known: JobDefinition[[int], str, str] = bare
plain: Callable[[int], str] = bare
wrong: Callable[[str], str] = bare  # MUST FAIL 4

# enqueue takes the function's arguments and hands out its result.
assert_type(bare.enqueue(1), JobHandle[str])
assert_type(send_receipt.enqueue(order, copy=True), JobHandle[Receipt])
assert_type(afetch.enqueue(order), JobHandle[Receipt])
assert_type(aresize.enqueue(Image(1), size=2), JobHandle[Thumb])
assert_type(tax.enqueue(order), JobHandle[int])
assert_type(audit.enqueue(order, note="a"), JobHandle[None])
send_receipt.enqueue(3)  # MUST FAIL 5
send_receipt.enqueue(order, copi=True)  # MUST FAIL 6
send_receipt.enqueue()  # MUST FAIL 7
aresize.enqueue(img=Image(1))  # MUST FAIL 8
tax.enqueue("1")  # MUST FAIL 9

# bind makes a Call, and batches are made of Calls of the right result.
assert_type(send_receipt.bind(order, copy=True), Call[Receipt])
assert_type(tax.bind(order), Call[int])
send_receipt.bind(1)  # MUST FAIL 10
assert_type(send_receipt.enqueue_many([(order,), (order, True), {"order": order}]), list[JobHandle[Receipt]])
assert_type(send_receipt.enqueue_many(send_receipt.bind(o, copy=True) for o in [order]), list[JobHandle[Receipt]])
send_receipt.enqueue_many([send_receipt.bind(1)])  # MUST FAIL 11
send_receipt.enqueue_many([bare.bind(1)])  # MUST FAIL 12
mixed: list[JobHandle[Any]] = dispatch.enqueue_many([send_receipt.bind(order), bare.bind(1), tax.bind(order)])

# options keep the types and are named.
assert_type(send_receipt.options(delay=3).enqueue(order).result(timeout=3), Receipt)
slow: BoundJob[[Order, bool], Receipt] = send_receipt.options(queue="slow", priority=5, idempotency_key="1")
slow.enqueue(order, True)
assert_type(bare.options(delay=timedelta(minutes=1), retry=Retry(2), timeout=1.5).bind(1), Call[str])
assert_type(bare.options(run_at=datetime.now(UTC), expires=60).enqueue(1), JobHandle[str])
assert_type(bare.options(expires=datetime.now(UTC)).enqueue_many([(1,), {"x": 1}]), list[JobHandle[str]])
send_receipt.options(dely=3)  # MUST FAIL 13
send_receipt.options(delay=3).enqueue(3)  # MUST FAIL 14
bare.options(retry=3)  # MUST FAIL 15
bare.options(delay="3")  # MUST FAIL 16

# A handle knows its result, its state and its record.
handle = send_receipt.handle("job_01h")
assert_type(handle, JobHandle[Receipt])
assert_type(handle.id, JobId)
assert_type(handle.result(timeout=timedelta(seconds=3)), Receipt)
assert_type(handle.state(), JobState)
assert_type(handle.info(), Job)
assert_type(handle.cancel(), JobState)
assert_type(handle.info().created_at, datetime)
anything: JobHandle[object] = handle
other: JobHandle[Thumb] = handle  # MUST FAIL 17

# Celery's verbs keep Celery's types: partial arguments are legal there.
send_receipt.delay(3)  # MUST FAIL 18
send_receipt.apply_async((order,), {"copy": True}, countdown=3)
chain(bare.s(1), bare.s())
bare.si(1)
bare.si("1")  # MUST FAIL 19

# By name nothing is known.
assert_type(dispatch.enqueue("billing.tax", order=1), JobHandle[Any])
dispatch.enqueue("billing.tax", 1)  # MUST FAIL 20

# Services, context and scope.
assert_type(dispatch.jobs.get("job_01h"), Job)
assert_type(dispatch.jobs.list(limit=3), Page[Job])
assert_type([job.state for job in dispatch.jobs.list(state=JobState.FAILED)], list[JobState])
assert_type(dispatch.dlq.replay("job_01h"), JobHandle[Any])
assert_type(current_job(), JobContext)
with scope(app_id="shop") as tenant:
    assert_type(tenant.app_id, str)


def trace(context: JobContext, call_next: Callable[[], Any]) -> Any:
    return call_next()


dispatch.add_middleware(trace)
dispatch.add_middleware(3)  # MUST FAIL 21


def both(context: ExecutionContext, call_next: Callable[[], Any]) -> Any:
    assert_type(context, JobContext | StepContext)
    assert_type((context.name, context.attempt, context.queue, context.cancelled), tuple[str, int, str, bool])
    context.run_id  # MUST FAIL 21b
    if isinstance(context, StepContext):
        assert_type((context.run_id, context.is_undo), tuple[str, bool])
        context.progress(1, 2, "half")
    return call_next()


def steps_only(context: StepContext, call_next: Callable[[], Any]) -> Any:
    return call_next()


async def around_coroutines(context: ExecutionContext, call_next: Callable[[], Any]) -> Any:
    return await call_next()


dispatch.add_middleware(both)
dispatch.add_middleware(around_coroutines)
dispatch.add_middleware(steps_only)  # MUST FAIL 21c
dispatch.add_extension(trace)  # MUST FAIL 22


async def main() -> None:
    assert_type(await afetch(order), Receipt)
    pending: Coroutine[Any, Any, Thumb] = aresize(Image(1), size=2)
    assert_type(await pending, Thumb)
    afetch(order).id  # MUST FAIL 23
