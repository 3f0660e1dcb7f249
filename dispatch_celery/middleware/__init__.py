"""Middleware wraps one execution: a callable ``(context, call_next)``, the first added outermost.

An execution is one attempt of a job, or of a step or undo of a workflow. A sync middleware wraps every one of them and
calls ``call_next()`` for what is inside it. An ``async def`` one wraps ``async`` functions only and awaits it; all
async ones run inside all sync ones, on the function's event loop. Context variables that a middleware sets reach the
function; those set around a step do not reach the workflow's body, which a replay would run without them.
"""

from dispatch_celery.middleware.base import ExecutionContext, Middleware, MiddlewareStack
from dispatch_celery.middleware.breaker import CircuitBreaker
from dispatch_celery.middleware.dedup import Deduplicate
from dispatch_celery.middleware.logs import LogExecutions

__all__ = ["CircuitBreaker", "Deduplicate", "ExecutionContext", "LogExecutions", "Middleware", "MiddlewareStack"]
