"""One page of memory that a worker's processes share: the lease, the cancel marks, and who executes what.

The main process writes the header (incarnation, lease deadline, draining); every executing process or thread
writes its own slot. So a child knows at each claim, without asking anybody, whether its worker may still
start something, and the main process knows what really runs, without asking Redis.

The deadline is a monotonic time, which all processes of a machine share on Linux and macOS. The page is made
before the pool forks. Pools without children use the same object, slot by slot. A reader may catch a slot while
it is being written: the sequence number is odd then, and the reader looks again.
"""

from __future__ import annotations

import mmap
import os
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from dispatch_celery.clock import monotonic_ms

__all__ = ["Occupant", "Page", "PageSeat"]

_HEADER: Final = struct.Struct("<q?48s")
_SLOT: Final = struct.Struct("<QqqqH40sH64s")
_CANCEL: Final = struct.Struct("<H64s")
_HEADER_SIZE: Final = 64
_SLOT_SIZE: Final = 320
_CANCEL_AT: Final = 240
_DEADLINE_AT: Final = 16
_FREE: Final = -1


@dataclass(frozen=True, slots=True)
class Occupant:
    """What one slot says: who executes what, until when (monotonic ms; 0 without a timeout)."""

    slot: int
    pid: int
    job_id: str
    token: str
    started: int
    deadline: int


class Page:
    """The shared memory of one worker."""

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._memory = mmap.mmap(-1, _HEADER_SIZE + slots * _SLOT_SIZE)
        for slot in range(slots):
            self.clear(slot)

    @property
    def slots(self) -> int:
        """How many executions it has room for."""
        return self._slots

    # -- the header, written by the main process

    def set_lease(self, holder: str, deadline: int, *, draining: bool) -> None:
        """Publish the incarnation and the monotonic time until which its lease may be trusted."""
        _HEADER.pack_into(self._memory, 0, deadline, draining, holder.encode())

    def lease(self) -> tuple[str, int, bool]:
        """Return the incarnation, the end of its lease, and whether it drains."""
        deadline, draining, holder = _HEADER.unpack_from(self._memory, 0)
        return holder.rstrip(b"\0").decode(), deadline, draining

    # -- slots, each written by the process that sits in it

    def _at(self, slot: int) -> int:
        return _HEADER_SIZE + slot * _SLOT_SIZE

    def write(self, slot: int, *, pid: int, job_id: str = "", token: str = "", deadline: int = 0) -> None:
        """Say what is executed in a slot; without a job, that its process sits idle."""
        at = self._at(slot)
        (sequence,) = struct.unpack_from("<Q", self._memory, at)
        struct.pack_into("<Q", self._memory, at, sequence | 1)
        job, mark = job_id.encode(), token.encode()
        started = monotonic_ms() if job_id else 0
        _CANCEL.pack_into(self._memory, at + _CANCEL_AT, 0, b"")
        _SLOT.pack_into(self._memory, at, sequence | 1, pid, deadline, started, len(job), job, len(mark), mark)
        struct.pack_into("<Q", self._memory, at, (sequence | 1) + 1)

    def set_deadline(self, slot: int, deadline: int) -> None:
        """Say until when what is executed in a slot may run now; its cancel mark stays."""
        at = self._at(slot)
        (sequence,) = struct.unpack_from("<Q", self._memory, at)
        struct.pack_into("<Q", self._memory, at, sequence | 1)
        struct.pack_into("<q", self._memory, at + _DEADLINE_AT, deadline)
        struct.pack_into("<Q", self._memory, at, (sequence | 1) + 1)

    def clear(self, slot: int) -> None:
        """Leave a slot."""
        self.write(slot, pid=_FREE)

    def read(self, slot: int) -> Occupant | None:
        """Return who sits in a slot; None if nobody does, or it cannot be read right now."""
        at = self._at(slot)
        for _ in range(100):
            before, pid, deadline, started, job_length, job, token_length, token = _SLOT.unpack_from(self._memory, at)
            (after,) = struct.unpack_from("<Q", self._memory, at)
            if before == after and not before & 1:
                if pid == _FREE:
                    return None
                return Occupant(slot, pid, job[:job_length].decode(), token[:token_length].decode(), started, deadline)
        return None

    def occupants(self) -> Iterator[Occupant]:
        """Yield who sits in each slot, idle or not."""
        for slot in range(self._slots):
            occupant = self.read(slot)
            if occupant is not None:
                yield occupant

    def mark_cancelled(self, slot: int, token: str) -> None:
        """Ask what is executed in a slot under a token to stop."""
        occupant = self.read(slot)
        if occupant is None or occupant.token != token:
            return  # a mark that comes late must not cover the one of the job that sits there now
        mark = token.encode()
        _CANCEL.pack_into(self._memory, self._at(slot) + _CANCEL_AT, len(mark), mark)

    def is_cancelled(self, slot: int, token: str) -> bool:
        """Whether what is executed in a slot under a token was asked to stop."""
        length, mark = _CANCEL.unpack_from(self._memory, self._at(slot) + _CANCEL_AT)
        return bool(length) and mark[:length] == token.encode()


class PageSeat:
    """A process's (or thread's) place in its worker, as the executor sees it.

    A pool child sits in one slot for its life; threads and greenlets take a free slot for each execution.
    """

    def __init__(self, page: Page) -> None:
        self._page = page
        self._own_slot: int | None = None
        self._at_first: Callable[[], None] | None = None
        self._local = threading.local()
        self._free: list[int] | None = None
        self._lock = threading.Lock()
        self._changed = threading.Condition(threading.Lock())

    def sit(self, slot: int, *, at_first: Callable[[], None]) -> None:
        """Take one slot for the life of this process; ``at_first`` is called before its first execution."""
        self._own_slot = slot
        self._at_first = at_first
        self._page.write(slot, pid=os.getpid())

    @property
    def holder(self) -> str:
        """The worker's incarnation."""
        return self._page.lease()[0]

    @property
    def draining(self) -> bool:
        """Whether the worker was told to stop."""
        return self._page.lease()[2]

    def trusted(self) -> bool:
        """Whether the lease still stands by this process's own clock."""
        holder, deadline, draining = self._page.lease()
        return bool(holder) and not draining and monotonic_ms() < deadline

    def wait_trusted(self, timeout_ms: int) -> bool:
        """Wait for a lease that stands, but not in a worker that stops."""
        limit = monotonic_ms() + timeout_ms
        while not self.trusted():
            if self.draining or monotonic_ms() >= limit:
                return False
            with self._changed:
                self._changed.wait(0.02)
        return True

    def occupy(self, job_id: str, token: str, *, timeout_ms: int | None) -> None:
        """Say what is about to be executed here."""
        if self._at_first is not None:
            at_first, self._at_first = self._at_first, None
            at_first()
        slot = self._own_slot if self._own_slot is not None else self._take()
        self._local.slot, self._local.token = slot, token
        deadline = 0 if timeout_ms is None else monotonic_ms() + timeout_ms
        self._page.write(slot, pid=os.getpid(), job_id=job_id, token=token, deadline=deadline)

    def limit(self, timeout_ms: int | None) -> None:
        """Give what is executed here so much time from now on; None lifts the limit."""
        deadline = 0 if timeout_ms is None else monotonic_ms() + timeout_ms
        self._page.set_deadline(self._local.slot, deadline)

    def vacate(self) -> None:
        """Say that nothing is executed here any more."""
        slot = getattr(self._local, "slot", None)
        if slot is None:
            return
        self._local.slot = None
        if self._own_slot is not None:
            self._page.write(slot, pid=os.getpid())
        else:
            self._page.clear(slot)
            with self._lock:
                if self._free is not None:
                    self._free.append(slot)

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Let the worker's signal interrupt the block; outside of it an outcome is being recorded."""
        self._local.interruptible = True
        try:
            yield
        finally:
            self._local.interruptible = False

    @property
    def stands_alone(self) -> bool:
        """Whether this is a pool process, with a slot for its life."""
        return self._own_slot is not None

    @property
    def may_interrupt(self) -> bool:
        """Whether this thread runs a handler."""
        return getattr(self._local, "interruptible", False)

    def cancelled(self) -> bool:
        """Whether what is executed here was asked to cancel."""
        slot = getattr(self._local, "slot", None)
        return slot is not None and self._page.is_cancelled(slot, self._local.token)

    def current(self) -> Occupant | None:
        """Return what this thread's slot says."""
        slot = getattr(self._local, "slot", None)
        return None if slot is None else self._page.read(slot)

    def _take(self) -> int:
        with self._lock:
            if self._free is None:
                self._free = list(range(self._page.slots))
            if not self._free:
                raise RuntimeError(f"more executions than the {self._page.slots} slots of this worker")
            return self._free.pop()
