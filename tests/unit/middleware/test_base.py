"""Middleware wraps an execution: the first added is outermost, async ones wrap async handlers only."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from typing import Any

import pytest

from dispatch_celery.errors import ConfigurationError
from dispatch_celery.ids import JobId
from dispatch_celery.jobs.context import JobContext
from dispatch_celery.jobs.model import JobRef
from dispatch_celery.middleware.base import MiddlewareStack
from dispatch_celery.middleware.breaker import CircuitBreaker
from dispatch_celery.middleware.logs import LogExecutions
from dispatch_celery.scope import Scope

CONTEXT = JobContext(
    ref=JobRef(id=JobId.adopt("one"), name="mail", queue="q"),
    attempt=1,
    token=1,
    claim="1.n",
    deadline=None,
    scope=Scope(),
    arguments={},
)


def tells(name: str, heard: list[str]) -> Callable[..., Any]:
    """Return a sync middleware that writes down when it begins and ends."""

    def middleware(context: JobContext, call_next: Callable[[], Any]) -> Any:
        assert context is CONTEXT
        heard.append(f"{name} in")
        try:
            return [name, *call_next()]
        finally:
            heard.append(f"{name} out")

    return middleware


async def awaits(context: JobContext, call_next: Callable[[], Any]) -> Any:
    return ["async", *await call_next()]


class Awaits:
    """An async middleware that is an object."""

    async def __call__(self, _context: JobContext, call_next: Callable[[], Any]) -> Any:
        """Wrap."""
        return ["object", *await call_next()]


async def handler() -> list[str]:
    return ["handler"]


def test_the_first_added_is_outermost() -> None:
    """Each sees what is inside of it return."""
    heard: list[str] = []
    stack = MiddlewareStack()
    for name in ("a", "b"):
        stack.add(tells(name, heard))

    assert stack.around(CONTEXT, lambda: ["handler"])() == ["a", "b", "handler"]
    assert heard == ["a in", "b in", "b out", "a out"]


def test_without_any_the_function_is_called() -> None:
    """An empty stack adds nothing, not even a layer."""

    def inner() -> list[str]:
        return ["handler"]

    assert MiddlewareStack().around(CONTEXT, inner) is inner


def test_an_error_passes_through_all_of_them() -> None:
    """Each may see it; none swallows it by being there."""
    heard: list[str] = []
    stack = MiddlewareStack()
    stack.add(tells("a", heard))

    with pytest.raises(ZeroDivisionError):
        stack.around(CONTEXT, lambda: 1 // 0)()
    assert heard == ["a in", "a out"]


def test_async_ones_wrap_async_handlers_only() -> None:
    """Functions and objects, in the order they were added."""
    stack = MiddlewareStack()
    stack.add(awaits)
    stack.add(Awaits())

    assert stack.around(CONTEXT, lambda: ["handler"])() == ["handler"]
    assert asyncio.run(stack.around_async(CONTEXT, handler)()) == ["async", "object", "handler"]  # type: ignore[arg-type]  # a coroutine


def test_a_partial_of_an_async_middleware_is_async() -> None:
    """A configured middleware is wrapped like the function it configures."""
    stack = MiddlewareStack()
    stack.add(functools.partial(awaits))

    assert asyncio.run(stack.around_async(CONTEXT, handler)()) == ["async", "handler"]  # type: ignore[arg-type]  # a coroutine


def test_what_cannot_be_called_is_refused() -> None:
    """The error shows the form of a middleware."""
    with pytest.raises(ConfigurationError, match=r"callable \(context, call_next\)"):
        MiddlewareStack().add(3)  # type: ignore[arg-type]  # the point of the test


def test_a_class_is_refused() -> None:
    """It would be made anew for each execution, and no handler called."""
    for one in (LogExecutions, CircuitBreaker):
        with pytest.raises(ConfigurationError, match=rf"add {one.__name__}\(\.\.\.\)"):
            MiddlewareStack().add(one)  # type: ignore[arg-type]


def test_what_is_failing_is_a_kind_of_exception() -> None:
    """Else the first failure would be told as another one."""
    with pytest.raises(ConfigurationError, match="failing is a tuple of exception classes, not 'ConnectionError'"):
        CircuitBreaker(failing="ConnectionError")  # type: ignore[arg-type]
