"""The protocol of a middleware, and the stack that puts several around a handler or step."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Protocol, TypeAlias, runtime_checkable

from dispatch_celery.errors import ConfigurationError
from dispatch_celery.jobs.context import JobContext
from dispatch_celery.middleware.store import MiddlewareStore
from dispatch_celery.work.layers import acall_handler, acall_middleware, call_handler, call_middleware
from dispatch_celery.workflows.steps import StepContext

__all__ = ["ExecutionContext", "Joined", "Middleware", "MiddlewareStack"]

ExecutionContext: TypeAlias = JobContext | StepContext
"""What is executed: an attempt of a job, or of a step or undo of a workflow. ``isinstance`` tells them apart.

Both have ``id name queue attempt token idempotency_key deadline scope arguments cancelled progress``.
"""

Middleware: TypeAlias = (
    Callable[[ExecutionContext, Callable[[], Any]], Any] | Callable[[JobContext, Callable[[], Any]], Any]
)
"""``def trace(context, call_next): ... return call_next()``, or the same with ``async`` and ``await``.

One that was written for jobs only, and says so in its annotation, is accepted; it is given steps too.
"""

_Layer = Callable[[Any, Callable[[], Any]], Any]


@runtime_checkable
class Joined(Protocol):
    """A middleware that shares a state with those of other processes."""

    def join_state(self, state: Callable[[], MiddlewareStore]) -> None:
        """Be given the way to that state, when it is added."""
        ...


class MiddlewareStack:
    """The middlewares of one app, in the order they were added."""

    def __init__(self, state: Callable[[], MiddlewareStore] | None = None) -> None:
        self._state = state
        self._sync: list[_Layer] = []
        self._async: list[_Layer] = []

    def add(self, middleware: Middleware) -> None:
        """Add one inside of those added before."""
        if not callable(middleware):
            raise ConfigurationError(f"a middleware is a callable (context, call_next), not {middleware!r}")
        added: object = middleware
        if isinstance(added, type):
            raise ConfigurationError(
                f"a middleware is an instance, not the class {added.__name__}: add {added.__name__}(...)"
            )
        if self._state is not None and isinstance(added, Joined):
            added.join_state(self._state)
        is_async = inspect.iscoroutinefunction(middleware) or inspect.iscoroutinefunction(type(middleware).__call__)
        (self._async if is_async else self._sync).append(middleware)

    def around(self, context: ExecutionContext, inner: Callable[[], Any]) -> Callable[[], Any]:
        """Return ``inner`` wrapped in every sync middleware."""
        if self._sync:
            inner = partial(call_handler, inner)
        for middleware in reversed(self._sync):
            inner = partial(call_middleware, middleware, context, inner)
        return inner

    def around_async(
        self, context: ExecutionContext, inner: Callable[[], Awaitable[Any]]
    ) -> Callable[[], Awaitable[Any]]:
        """Return ``inner`` wrapped in every async middleware."""
        if self._async:
            inner = partial(acall_handler, inner)
        for middleware in reversed(self._async):
            inner = partial(acall_middleware, middleware, context, inner)
        return inner
