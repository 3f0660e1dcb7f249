"""What work needs of the floors above, as small protocols: a kind's moves, a way to publish, a seat in a worker."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from dispatch_celery.store.scripts import Call
from dispatch_celery.work.model import WakeUp, WorkRef
from dispatch_celery.work.records import Stored

__all__ = ["Keeping", "Observer", "Publisher", "Recovered", "Seat"]


class Publisher(Protocol):
    """Hands wake-ups to the broker. A wake-up may be lost or doubled; that costs time, never a job."""

    def riders(self, wakeups: Sequence[WakeUp]) -> list[Call]:
        """Return the commands that publish these wake-ups, where the broker is the state server itself; else none."""
        ...

    def publish(self, wakeups: Sequence[WakeUp]) -> None:
        """Publish with confirms; return when the broker has them.

        Raises:
            StoreUnavailable: the broker does not answer; their marks stay, and are swept.
        """
        ...

    def announce(self, wakeups: Sequence[WakeUp]) -> None:
        """Tell this process's listeners that riders have been published; ``publish`` tells by itself."""
        ...

    def waiting(self, queue: str) -> int | None:
        """Return how many messages a queue holds; None where the broker does not tell."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """What became of work that was taken back."""

    moved: bool
    """False where somebody else decides about it by now."""
    ended: bool
    wakeup: WakeUp | None
    """To be published, where it is ready at once."""


class Keeping(Protocol):
    """How those who keep house move one kind of work, by its records."""

    def due(self, found: Sequence[Stored], *, term: str) -> list[WakeUp]:
        """Move on what has something due; return what became ready."""
        ...

    def expired(self, stored: Stored, *, term: str) -> bool:
        """Delete what has ended, if its retention has passed; return whether it has ended."""
        ...

    def recover(self, stored: Stored, *, counter: str, why: str) -> Recovered:
        """Take work from a process or worker that does not execute it any more; under its token."""
        ...

    def revive(self, stored: Stored) -> WakeUp | None:
        """Let what only lacked a worker that knows its name go on."""
        ...

    def rearm(self, stored: Stored, *, term: str) -> bool:
        """Give what waits for its time the timer it has lost."""
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

    def limit(self, timeout_ms: int | None) -> None:
        """Give what is executed so much time from now on; None lifts the limit."""
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

    @property
    def stands_alone(self) -> bool:
        """Whether this process executes one thing at a time and nothing else, so that it may be interrupted."""
        ...


class Observer(Protocol):
    """Told of every transition this process makes."""

    def __call__(self, moment: str, ref: WorkRef | None, /, **facts: Any) -> None:
        """Take note; an observer that raises is its own problem."""
        ...
