"""Waiting for the end of a job or run, in a thread or on an event loop: subscribe, look, be rung, look again."""

from __future__ import annotations

import asyncio
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, ClassVar, Final

from dispatch_celery.codec import Codec
from dispatch_celery.errors import ResultTimeout
from dispatch_celery.ids import TypedId
from dispatch_celery.store.keys import Keys
from dispatch_celery.store.listener import Listener
from dispatch_celery.work.records import WorkRecords

__all__ = ["Ends", "state_in"]

_SUBSCRIBED_IN: Final = 2.0
"""Seconds a waiter gives its subscription to stand before its first look."""
_LOOK_AGAIN: Final = 15.0
"""Seconds between two looks of one who waits: only for an announcement lost with its connection."""


class Ends(ABC):
    """Outcomes, as soon as there are any. One listening connection per process serves all who wait."""

    ended: ClassVar[frozenset[str]]

    def __init__(self, records: WorkRecords, keys: Keys, listener: Listener) -> None:
        self._records = records
        self._keys = keys
        self._listener = listener

    @abstractmethod
    def missing(self, work_id: str) -> Exception:
        """Return the error for an id without a record."""

    @abstractmethod
    def outcome(self, work_id: TypedId, fields: Mapping[str, bytes], codec: Codec | None) -> Any:
        """Return the result of what has ended, or raise why it has none."""

    def wait(
        self, work_id: TypedId, codec: Codec | None, timeout_ms: int | None, *, may_be_missing: bool = False
    ) -> Any:
        """Wait for the end and return the result; see ``JobHandle.result`` and ``RunHandle.result``.

        ``may_be_missing``: also wait for it to be stored, as Celery's results do.
        """
        look = _Look(self, work_id, timeout_ms, may_be_missing=may_be_missing)
        if not look.sees(self._records.raw(work_id)):
            rung = threading.Event()
            with self._listener.watch(self._keys.record(work_id), rung.set):
                rung.wait(look.patience(_SUBSCRIBED_IN))
                rung.clear()
                while not look.sees(self._records.raw(work_id)):
                    rung.wait(look.patience(_LOOK_AGAIN))
                    rung.clear()
        return self.outcome(work_id, look.fields, codec)

    async def await_(
        self, work_id: TypedId, codec: Codec | None, timeout_ms: int | None, *, may_be_missing: bool = False
    ) -> Any:
        """Do as ``wait`` without holding the event loop, nor a thread while nothing happens."""
        look = _Look(self, work_id, timeout_ms, may_be_missing=may_be_missing)
        if not look.sees(await asyncio.to_thread(self._records.raw, work_id)):
            rung = asyncio.Event()
            loop = asyncio.get_running_loop()

            def ring() -> None:
                with suppress(RuntimeError):  # the loop has ended meanwhile, and the waiter with it
                    loop.call_soon_threadsafe(rung.set)

            with self._listener.watch(self._keys.record(work_id), ring):
                await _rung(rung, look.patience(_SUBSCRIBED_IN))
                while not look.sees(await asyncio.to_thread(self._records.raw, work_id)):
                    await _rung(rung, look.patience(_LOOK_AGAIN))
        return self.outcome(work_id, look.fields, codec)


class _Look:
    """One waiter's view of a record, and how long it is willing to go on looking."""

    def __init__(self, ends: Ends, work_id: TypedId, timeout_ms: int | None, *, may_be_missing: bool) -> None:
        self._ends = ends
        self._work_id = work_id
        self._timeout_ms = timeout_ms
        self._may_be_missing = may_be_missing
        self._limit = None if timeout_ms is None else time.monotonic() + timeout_ms / 1000
        self.fields: Mapping[str, bytes] = {}

    def sees(self, fields: Mapping[str, bytes]) -> bool:
        """Take a look; return whether it has ended."""
        if not fields and not self._may_be_missing:
            raise self._ends.missing(self._work_id)
        self.fields = fields
        return state_in(fields) in self._ends.ended

    def patience(self, longest: float) -> float:
        """Return seconds to wait before the next look.

        Raises:
            ResultTimeout: the time is up.
        """
        if self._limit is None:
            return longest
        left = self._limit - time.monotonic()
        if left <= 0:
            state = state_in(self.fields) or "not stored"
            raise ResultTimeout(f"{self._work_id} is {state} after {(self._timeout_ms or 0) / 1000:g} s; it goes on")
        return min(left, longest)


async def _rung(event: asyncio.Event, patience: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(patience):
            await event.wait()
    event.clear()


def state_in(fields: Mapping[str, bytes]) -> str:
    """Return the state that stored fields have; empty where there is no record."""
    return fields.get("state", b"").decode()
