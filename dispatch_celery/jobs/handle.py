"""What a caller keeps of an enqueued job: its id, and the verbs that need no more than the id."""

from __future__ import annotations

import asyncio
from typing import Any, Generic, Protocol, TypeVar

from dispatch_celery.clock import Duration, to_ms
from dispatch_celery.codec import Codec
from dispatch_celery.ids import JobId
from dispatch_celery.jobs.model import Job, JobState

__all__ = ["HandleVerbs", "JobHandle"]

R_co = TypeVar("R_co", covariant=True)


class HandleVerbs(Protocol):
    """What a handle asks of the service."""

    def state(self, job_id: JobId) -> JobState:
        """Return the job's state now."""
        ...

    def get(self, job_id: JobId) -> Job:
        """Return the job's record now."""
        ...

    def result_of(self, job_id: JobId, codec: Codec | None, timeout_ms: int | None) -> Any:
        """Return the job's result when it has one."""
        ...

    async def aresult_of(self, job_id: JobId, codec: Codec | None, timeout_ms: int | None) -> Any:
        """Return the job's result when it has one, without holding the event loop."""
        ...

    def cancel(self, job_id: JobId, *, reason: str = "") -> JobState:
        """Cancel the job."""
        ...


class JobHandle(Generic[R_co]):
    """A job, from outside. Cheap: it holds an id and asks the server when asked."""

    __slots__ = ("_codec", "_id", "_verbs")

    def __init__(self, job_id: JobId, verbs: HandleVerbs, codec: Codec | None = None) -> None:
        self._id = job_id
        self._verbs = verbs
        self._codec = codec

    def __repr__(self) -> str:
        return f"<JobHandle {self._id}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, JobHandle) and other.id == self._id

    def __hash__(self) -> int:
        return hash(self._id)

    @property
    def id(self) -> JobId:
        """The job's id: text that can be stored anywhere."""
        return self._id

    def state(self) -> JobState:
        """Return the state now.

        Raises:
            JobNotFound: it never existed here, or its retention has passed.
        """
        return self._verbs.state(self._id)

    def info(self) -> Job:
        """Return the whole record now, with every attempt.

        Raises:
            JobNotFound: as ``state``.
        """
        return self._verbs.get(self._id)

    def result(self, *, timeout: Duration | None = None) -> R_co:
        """Wait for the job's end and return its result. The end is announced to the waiter; nothing polls.

        Raises:
            JobFailed: it failed for good; carries the remote traceback.
            JobCancelled: it was cancelled.
            ResultTimeout: not in ``timeout`` seconds; the job goes on. None waits without end.
        """
        value: R_co = self._verbs.result_of(self._id, self._codec, None if timeout is None else to_ms(timeout))
        return value

    async def aresult(self, *, timeout: Duration | None = None) -> R_co:  # noqa: ASYNC109 - the twin of result
        """Do as ``result`` without holding the event loop, nor a thread while nothing happens."""
        limit = None if timeout is None else to_ms(timeout)
        value: R_co = await self._verbs.aresult_of(self._id, self._codec, limit)
        return value

    def cancel(self, *, reason: str = "") -> JobState:
        """Cancel the job: at once if nobody holds it, else its worker is told. Returns the state it then has.

        Idempotent: a cancelled job stays cancelled.

        Raises:
            JobNotCancellable: it has completed or failed.
        """
        return self._verbs.cancel(self._id, reason=reason)

    # -- the same on an event loop, written by .ci/make_twins.py

    async def astate(self) -> JobState:
        """Do as ``state``, without holding the event loop."""
        return await asyncio.to_thread(self.state)

    async def ainfo(self) -> Job:
        """Do as ``info``, without holding the event loop."""
        return await asyncio.to_thread(self.info)

    async def acancel(self, *, reason: str = "") -> JobState:
        """Do as ``cancel``, without holding the event loop."""
        return await asyncio.to_thread(self.cancel, reason=reason)
