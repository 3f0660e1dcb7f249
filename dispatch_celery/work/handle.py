"""What the handles of jobs and runs share: an id, whom they ask, and waiting on an event loop for a result."""

from __future__ import annotations

from typing import Any, Generic, Protocol, TypeVar

from dispatch_celery.clock import Duration, to_ms
from dispatch_celery.codec import Codec
from dispatch_celery.ids import TypedId
from dispatch_celery.work.body import refuse_in_body

__all__ = ["Handle", "HandleVerbs"]

IdT = TypeVar("IdT", bound=TypedId)
StateT = TypeVar("StateT")
RecordT = TypeVar("RecordT")
R_co = TypeVar("R_co", covariant=True)
IdT_contra = TypeVar("IdT_contra", bound=TypedId, contravariant=True)
StateT_co = TypeVar("StateT_co", covariant=True)
RecordT_co = TypeVar("RecordT_co", covariant=True)


class HandleVerbs(Protocol[IdT_contra, StateT_co, RecordT_co]):
    """What a handle asks of the service of its kind."""

    def state(self, work_id: IdT_contra, /) -> StateT_co:
        """Return the state now."""
        ...

    def get(self, work_id: IdT_contra, /) -> RecordT_co:
        """Return the record now."""
        ...

    def result_of(self, work_id: IdT_contra, codec: Codec | None, timeout_ms: int | None, /) -> Any:
        """Return the result when there is one."""
        ...

    async def aresult_of(self, work_id: IdT_contra, codec: Codec | None, timeout_ms: int | None, /) -> Any:
        """Return the result when there is one, without holding the event loop."""
        ...

    def cancel(self, work_id: IdT_contra, /, *, reason: str = "") -> StateT_co:
        """Cancel it."""
        ...


class Handle(Generic[IdT, StateT, RecordT, R_co]):
    """A piece of work, from outside. Its verbs stand with its kind, which says what each of them raises."""

    __slots__ = ("_codec", "_id", "_verbs")

    def __init__(self, work_id: IdT, verbs: HandleVerbs[IdT, StateT, RecordT], codec: Codec | None = None) -> None:
        self._id = work_id
        self._verbs = verbs
        self._codec = codec

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._id}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Handle) and other.id == self._id

    def __hash__(self) -> int:
        return hash(self._id)

    @property
    def id(self) -> IdT:
        """The job's or run's id: text that can be stored anywhere."""
        return self._id

    def _result(self, timeout: Duration | None) -> R_co:
        self._refuse_in_body()
        value: R_co = self._verbs.result_of(self._id, self._codec, None if timeout is None else to_ms(timeout))
        return value

    async def aresult(self, *, timeout: Duration | None = None) -> R_co:  # noqa: ASYNC109 - the twin of result
        """Do as ``result`` without holding the event loop, nor a thread while nothing happens."""
        self._refuse_in_body()
        limit = None if timeout is None else to_ms(timeout)
        value: R_co = await self._verbs.aresult_of(self._id, self._codec, limit)
        return value

    def _refuse_in_body(self) -> None:
        refuse_in_body(
            "result() of {0}",
            "wait with wf.run_job or wf.run_child, or for the promise that wf.enqueue or wf.spawn_child returned",
            self._id,
            why="would hold a worker, and would not be recorded",
        )
