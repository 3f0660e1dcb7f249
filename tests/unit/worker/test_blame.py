"""Whose a failure is: a middleware that only passes the call on is no part of its fingerprint, one that fails is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from dispatch_celery.jobs.definition import JobDefinition
from dispatch_celery.jobs.eager import EagerJobs
from dispatch_celery.middleware import LogExecutions
from dispatch_celery.middleware.base import MiddlewareStack
from dispatch_celery.retry import Retry
from dispatch_celery.work.fingerprint import fingerprint_of
from dispatch_celery.worker.handlers import Handlers


def passes(_context: Any, call_next: Callable[[], Any]) -> Any:
    return call_next()


def looks(_context: Any, call_next: Callable[[], Any]) -> Any:
    try:
        return _further(call_next)
    finally:
        str(_context)


def _further(call_next: Callable[[], Any]) -> Any:
    return call_next()


async def awaits(_context: Any, call_next: Callable[[], Any]) -> Any:
    return await asyncio.wait_for(call_next(), 60)


def fails(_context: Any, _call_next: Callable[[], Any]) -> Any:
    raise LookupError("no tenant")


def translates(_context: Any, call_next: Callable[[], Any]) -> Any:
    try:
        return call_next()
    except ValueError as error:
        raise LookupError("no order") from error


async def runs_out(_context: Any, _call_next: Callable[[], Any]) -> Any:
    raise TimeoutError("no time")


def work(n: int) -> int:
    return _deeper(n)


def _deeper(n: int) -> int:
    raise ValueError(n)


async def work_async(n: int) -> int:
    return await asyncio.wait_for(_sooner(n), 60)


async def _sooner(n: int) -> int:
    return _deeper(n)


def nested(n: int) -> int:
    raise ValueError(_handled(work, [passes], n).info().failure)


def _handled(fn: Any, middlewares: list[Any], n: int) -> Any:
    stack = MiddlewareStack()
    for middleware in middlewares:
        stack.add(middleware)
    handlers = Handlers(stack)
    try:
        jobs = EagerJobs(handlers, propagate=False, max_payload=100_000, default_retry=Retry())
        return JobDefinition(fn, name="job", enqueuer=lambda: jobs).enqueue(n)
    finally:
        handlers.close()


def traceback_of(fn: Any, *middlewares: Any) -> str:
    """Return the traceback of a function that fails in some middlewares."""
    failure = _handled(fn, list(middlewares), 3).info().failure
    assert failure is not None
    return str(failure.traceback)


def mark(fn: Any, *middlewares: Any) -> str:
    """Return the fingerprint of a function that fails in some middlewares."""
    failure = _handled(fn, list(middlewares), 3).info().failure
    return fingerprint_of(failure, name="job", reason="attempts used up")


@pytest.mark.parametrize("fn", [work, work_async, nested])
@pytest.mark.parametrize(
    "middlewares",
    [[passes], [looks, passes], [awaits], [looks, awaits, awaits], [LogExecutions(), looks, LogExecutions()]],
    ids=lambda them: "+".join(getattr(one, "__name__", "logs") for one in them),
)
def test_who_only_passes_a_call_on_is_no_cause(fn: Any, middlewares: list[Any]) -> None:
    """Whatever stands around a handler, sync or async, the same failure is the same cause; the traceback tells all."""
    assert mark(fn, *middlewares) == mark(fn)
    assert ("in looks" in traceback_of(fn, *middlewares)) is (looks in middlewares)


@pytest.mark.parametrize(("fn", "culprit"), [(work, fails), (work, translates), (work_async, runs_out)])
def test_a_middleware_that_fails_is_the_cause(fn: Any, culprit: Any) -> None:
    """Its frames count, and not those of others around it, or between it and the handler."""
    first = mark(fn, culprit)

    assert first != mark(fn)
    assert f"in {culprit.__name__}" in traceback_of(fn, culprit)
    assert mark(fn, passes, looks, culprit) == first
    assert mark(fn, culprit, looks) == first


def test_two_middlewares_that_fail_alike_are_two_causes() -> None:
    """Of one error class, with one handler."""
    assert mark(work, fails) != mark(work, translates)
    assert mark(work, passes, fails) != mark(work, passes, translates)
