"""Middleware wraps one execution: a callable ``(context, call_next)``, the first added outermost.

A sync middleware wraps every handler and calls ``call_next()`` for what is inside it. An ``async def`` one wraps
``async`` handlers only and awaits it; all async ones run inside all sync ones, on the handler's event loop.
Context variables that a middleware sets reach the handler.
"""

from dispatch_celery.middleware.base import Middleware, MiddlewareStack

__all__ = ["Middleware", "MiddlewareStack"]
