"""The built-in middlewares in a worker of the shop (``-I tests.support.wrapped``), around jobs of their own."""

from __future__ import annotations

import os
from pathlib import Path

from dispatch_celery import Constant, Retry, current_job
from dispatch_celery.middleware import CircuitBreaker, Deduplicate, LogExecutions
from tests.support.shop import dispatch, effect

MODULE = "tests.support.wrapped"


def _of(name: str):
    return lambda context: name if context.name == name else None


dispatch.add_middleware(LogExecutions())
dispatch.add_middleware(CircuitBreaker(failures=3, cooldown=0.5, failing=(ConnectionError,), key=_of("wrapped.charge")))
dispatch.add_middleware(
    Deduplicate(
        window=60, look=0.05, key=lambda context: (context.name == "wrapped.mail" and context.arguments["to"]) or None
    )
)


@dispatch.job(name="wrapped.charge", retry=Retry(10, Constant(0.05)))
def charge(order: str) -> int:
    """Charge at a bank that is closed until there is a file named ``open``."""
    effect("charge")
    if not Path(os.environ["SHOP_EFFECTS"]).with_name("open").exists():
        raise ConnectionError("the bank is closed")
    return current_job().attempt


@dispatch.job(name="wrapped.mail", retry=Retry(2, Constant(0.05)))
def mail(to: str, number: int, *, fails: bool = False) -> int:
    """Send a mail, and return which of the jobs has sent it."""
    if effect(f"mail-{to}") == 1 and fails:
        raise ConnectionError("the post is closed")
    return number
