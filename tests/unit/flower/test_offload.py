"""What blocks never holds the loop, and never more of it than there is room for."""

from __future__ import annotations

import asyncio
import threading

import pytest

from dispatch_celery import StoreUnavailable
from dispatch_celery.flower.offload import Offload


def test_what_takes_too_long_is_given_up() -> None:
    """The one who waits is told after the limit, while the thread comes back by itself."""
    free = threading.Event()

    async def ask() -> None:
        offload = Offload(threads=1, room=3, limit=0.05)
        with pytest.raises(StoreUnavailable, match=r"within 0\.05 s"):
            await offload.run(free.wait, 20)
        free.set()
        assert await Offload(threads=1).run(lambda: 5) == 5
        offload.close()

    asyncio.run(ask())


def test_too_many_are_turned_away_at_once() -> None:
    """Those who find no room do not wait; who went in is answered."""
    free = threading.Event()

    async def ask() -> None:
        offload = Offload(threads=1, room=3, limit=20)
        inside = [asyncio.ensure_future(offload.run(free.wait, 20)) for _ in range(3)]
        fourth = asyncio.ensure_future(offload.run(lambda: 5))  # tasks begin in the order they were made
        with pytest.raises(StoreUnavailable, match="3 requests wait"):
            await fourth
        free.set()
        assert await asyncio.gather(*inside) == [True] * 3
        assert await offload.run(lambda: 5) == 5
        offload.close()

    asyncio.run(ask())


def test_an_error_is_the_caller_s() -> None:
    """What a function raises is raised where it was asked for."""

    async def ask() -> None:
        with pytest.raises(ZeroDivisionError):
            await Offload(threads=1).run(lambda: 1 // 0)

    asyncio.run(ask())
