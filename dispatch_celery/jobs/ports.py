"""What jobs need of the floors above, as small protocols: a way to publish, and a seat in a worker."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from dispatch_celery.jobs.model import JobRef, WakeUp
from dispatch_celery.store.scripts import Call

__all__ = ["Observer", "Publisher", "Seat"]


class Publisher(Protocol):
    """Hands wake-ups to the broker. A wake-up may be lost or doubled; that costs time, never a job."""

    def rider(self, wakeup: WakeUp) -> Call | None:
        """Return the command that publishes this wake-up, where the broker is the state server itself; else None."""
        ...

    def publish(self, wakeups: Sequence[WakeUp]) -> None:
        """Publish with confirms; return when the broker has them.

        Raises:
            StoreUnavailable: the broker does not answer; their marks stay, and are swept.
        """
        ...

    def waiting(self, queue: str) -> int | None:
        """Return how many messages a queue holds; None where the broker does not tell."""
        ...


class Seat(Protocol):
    """Where a process sits in its worker: whose lease it runs under, and what it is seen to execute."""

    @property
    def holder(self) -> str:
        """The worker's incarnation; empty while it is not registered."""
        ...

    def trusted(self) -> bool:
        """Whether the lease still stands by this process's own clock; if not, start nothing."""
        ...

    def wait_trusted(self, timeout_ms: int) -> bool:
        """Wait until the worker is registered with a lease; return whether it is."""
        ...

    def occupy(self, job_id: str, token: str, *, timeout_ms: int | None) -> None:
        """Say what this process is about to execute, before it does."""
        ...

    def vacate(self) -> None:
        """Say that it executes nothing any more."""
        ...

    def interruptible(self) -> AbstractContextManager[None]:
        """Let the worker interrupt the block: the handler, and nothing around it."""
        ...

    def cancelled(self) -> bool:
        """Whether the worker was asked to cancel what this process executes."""
        ...


class Observer(Protocol):
    """Told of every transition this process makes."""

    def __call__(self, moment: str, ref: JobRef | None, /, **facts: Any) -> None:
        """Take note; an observer that raises is its own problem."""
        ...
