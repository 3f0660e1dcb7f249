"""Celery's verbs on a job, with the types of celery-types. Read by checkers, never run."""

from __future__ import annotations

from typing import assert_type

from celery import Celery, chain, group
from celery.canvas import Signature
from celery.result import AsyncResult

from dispatch_celery import Dispatch

dispatch = Dispatch(Celery("shop"))


@dispatch.job
def bare(x: int) -> str:
    return str(x)


assert_type(bare.delay(1), AsyncResult[str])
assert_type(bare.delay(1).get(), str)
assert_type(bare.apply_async((1,), countdown=3), AsyncResult[str])
assert_type(bare.s(1), Signature[str])
assert_type(bare.si(1), Signature[str])
assert_type(bare.signature((1,)), Signature[str])
bare.s(1).apply_async()
chain(bare.s(1), bare.s()).apply_async()
group(bare.s(n) for n in range(3)).apply_async()
bare.delay("1")  # MUST FAIL 1
bare.si()  # MUST FAIL 2
wrong: AsyncResult[int] = bare.delay(1)  # MUST FAIL 3
