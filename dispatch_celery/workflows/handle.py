"""What a caller keeps of a started run: its id, and the verbs that need no more than the id."""

from __future__ import annotations

import asyncio
from typing import Any, Generic, Protocol, TypeVar

from dispatch_celery.clock import Duration, to_ms
from dispatch_celery.codec import Codec
from dispatch_celery.ids import RunId
from dispatch_celery.workflows.model import Run, RunState

__all__ = ["RunHandle", "RunVerbs"]

R_co = TypeVar("R_co", covariant=True)


class RunVerbs(Protocol):
    """What a handle asks of the service."""

    def state(self, run_id: RunId) -> RunState:
        """Return the run's state now."""
        ...

    def get(self, run_id: RunId) -> Run:
        """Return the run's record now."""
        ...

    def result_of(self, run_id: RunId, codec: Codec | None, timeout_ms: int | None) -> Any:
        """Return the run's result when it has one."""
        ...

    async def aresult_of(self, run_id: RunId, codec: Codec | None, timeout_ms: int | None) -> Any:
        """Return the run's result when it has one, without holding the event loop."""
        ...

    def cancel(self, run_id: RunId, *, reason: str = "") -> RunState:
        """Cancel the run."""
        ...


class RunHandle(Generic[R_co]):
    """A run, from outside. Cheap: it holds an id and asks the server when asked."""

    __slots__ = ("_codec", "_id", "_verbs")

    def __init__(self, run_id: RunId, verbs: RunVerbs, codec: Codec | None = None) -> None:
        self._id = run_id
        self._verbs = verbs
        self._codec = codec

    def __repr__(self) -> str:
        return f"<RunHandle {self._id}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RunHandle) and other.id == self._id

    def __hash__(self) -> int:
        return hash(self._id)

    @property
    def id(self) -> RunId:
        """The run's id: text that can be stored anywhere."""
        return self._id

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
        value: R_co = self._verbs.result_of(self._id, self._codec, None if timeout is None else to_ms(timeout))
        return value

    async def aresult(self, *, timeout: Duration | None = None) -> R_co:  # noqa: ASYNC109 - the twin of result
        """Do as ``result`` without holding the event loop, nor a thread while nothing happens."""
        limit = None if timeout is None else to_ms(timeout)
        value: R_co = await self._verbs.aresult_of(self._id, self._codec, limit)
        return value

    def cancel(self, *, reason: str = "") -> RunState:
        """Cancel the run: at once if nobody holds it, else its worker is told. Returns the state it then has.

        Idempotent: a cancelled run stays cancelled.

        Raises:
            StateConflict: it has completed or failed.
        """
        return self._verbs.cancel(self._id, reason=reason)

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
