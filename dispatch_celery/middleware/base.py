"""The protocol of a middleware, and the stack that puts several around a handler."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from dispatch_celery.errors import ConfigurationError
from dispatch_celery.jobs.context import JobContext

__all__ = ["Middleware", "MiddlewareStack"]

Middleware = Callable[[JobContext, Callable[[], Any]], Any]
"""``def trace(context, call_next): ... return call_next()``, or the same with ``async`` and ``await``."""


class MiddlewareStack:
    """The middlewares of one app, in the order they were added."""

    def __init__(self) -> None:
        self._sync: list[Middleware] = []
        self._async: list[Middleware] = []

    def add(self, middleware: Middleware) -> None:
        """Add one inside of those added before."""
        if not callable(middleware):
            raise ConfigurationError(f"a middleware is a callable (context, call_next), not {middleware!r}")
        is_async = inspect.iscoroutinefunction(middleware) or inspect.iscoroutinefunction(type(middleware).__call__)
        (self._async if is_async else self._sync).append(middleware)

    def around(self, context: JobContext, inner: Callable[[], Any]) -> Callable[[], Any]:
        """Return ``inner`` wrapped in every sync middleware."""
        for middleware in reversed(self._sync):
            inner = partial(middleware, context, inner)
        return inner

    def around_async(self, context: JobContext, inner: Callable[[], Awaitable[Any]]) -> Callable[[], Awaitable[Any]]:
        """Return ``inner`` wrapped in every async middleware."""
        for middleware in reversed(self._async):
            inner = partial(middleware, context, inner)
        return inner
