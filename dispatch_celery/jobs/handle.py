"""What a caller keeps of an enqueued job: its id, and the verbs that need no more than the id."""

from __future__ import annotations

import asyncio
from typing import TypeVar

from dispatch_celery.clock import Duration
from dispatch_celery.ids import JobId
from dispatch_celery.jobs.model import Job, JobState
from dispatch_celery.work.handle import Handle

__all__ = ["JobHandle"]

R_co = TypeVar("R_co", covariant=True)


class JobHandle(Handle[JobId, JobState, Job, R_co]):
    """A job, from outside. Cheap: it holds an id and asks the server when asked."""

    __slots__ = ()

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
        return self._result(timeout)

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
