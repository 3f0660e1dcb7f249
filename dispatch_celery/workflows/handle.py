"""What a caller keeps of a started run: its id, and the verbs that need no more than the id."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol, TypeVar, cast

from dispatch_celery.clock import Duration
from dispatch_celery.events.model import Event
from dispatch_celery.ids import EventId, RunId
from dispatch_celery.work.handle import Handle
from dispatch_celery.workflows.model import Run, RunState

__all__ = ["RunHandle"]

R_co = TypeVar("R_co", covariant=True)


class RunVerbs(Protocol):
    """What the handle of a run asks of the service beside what every handle does."""

    def publish(self, run_id: RunId | str, event: Event[Any] | str, payload: Any = None) -> EventId:
        """Publish an event to one run."""
        ...


class RunHandle(Handle[RunId, RunState, Run, R_co]):
    """A run, from outside. Cheap: it holds an id and asks the server when asked."""

    __slots__ = ()

    def state(self) -> RunState:
        """Return the state now.

        Raises:
            RunNotFound: it never existed here, or its retention has passed.
        """
        return self._verbs.state(self._id)

    def info(self) -> Run:
        """Return the whole record now.

        Raises:
            RunNotFound: as ``state``.
        """
        return self._verbs.get(self._id)

    def result(self, *, timeout: Duration | None = None) -> R_co:
        """Wait for the run's end and return its result. The end is announced to the waiter; nothing polls.

        Raises:
            RunFailed: it failed; carries the remote traceback.
            RunCancelled: it was cancelled, or its time was up.
            RunParked: it waits for a person; ``dispatch runs`` tells why.
            ResultTimeout: not in ``timeout`` seconds; the run goes on. None waits without end.
        """
        return self._result(timeout)

    def cancel(self, *, reason: str = "") -> RunState:
        """Cancel the run: at once if nobody holds it, else its worker is told. Returns the state it then has.

        Idempotent: a cancelled run stays cancelled.

        Raises:
            StateConflict: it has completed or failed.
        """
        return self._verbs.cancel(self._id, reason=reason)

    def publish(self, event: Event[Any] | str, payload: Any = None) -> EventId:
        """Publish an event to this run: a wait of it for that name takes it; return the event's id.

        Raises:
            PayloadError: the payload does not fit the event's type, or cannot be written as JSON.
            StateConflict: its inbox is full; nothing was stored.
        """
        return cast("RunVerbs", self._verbs).publish(self._id, event, payload)

    # -- the same on an event loop, written by .ci/make_twins.py

    async def astate(self) -> RunState:
        """Do as ``state``, without holding the event loop."""
        return await asyncio.to_thread(self.state)

    async def ainfo(self) -> Run:
        """Do as ``info``, without holding the event loop."""
        return await asyncio.to_thread(self.info)

    async def acancel(self, *, reason: str = "") -> RunState:
        """Do as ``cancel``, without holding the event loop."""
        return await asyncio.to_thread(self.cancel, reason=reason)

    async def apublish(self, event: Event[Any] | str, payload: Any = None) -> EventId:
        """Do as ``publish``, without holding the event loop."""
        return await asyncio.to_thread(self.publish, event, payload)
