"""Waiting for a fact, with a deadline: the only place of the tests that sleeps."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(check: Callable[[], T], *, within: float = 10.0, every: float = 0.01, what: str = "") -> T:
    """Call ``check`` until it answers something true, and return that; fail with the last answer when time is up."""
    limit = time.monotonic() + within
    last: object = None
    while True:
        try:
            last = check()
            if last:
                return last  # type: ignore[return-value]  # what check just answered
        except AssertionError as error:
            last = error
        if time.monotonic() >= limit:
            raise AssertionError(f"not within {within:g} s{': ' + what if what else ''}; last seen: {last!r}")
        time.sleep(every)


async def aeventually(
    check: Callable[[], Awaitable[T]], *, within: float = 10.0, every: float = 0.01, what: str = ""
) -> T:
    """Await ``check`` until it answers something true, and return that; as ``eventually`` does."""
    limit = time.monotonic() + within
    last: object = None
    while True:
        try:
            last = await check()
            if last:
                return last  # type: ignore[return-value]  # what check just answered
        except AssertionError as error:
            last = error
        if time.monotonic() >= limit:
            raise AssertionError(f"not within {within:g} s{': ' + what if what else ''}; last seen: {last!r}")
        await asyncio.sleep(every)
