"""What a handler can ask about the job it runs: ``current_job()``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from dispatch_celery.errors import NotInJob
from dispatch_celery.ids import JobId
from dispatch_celery.jobs.model import JobRef
from dispatch_celery.jobs.store import JobStore
from dispatch_celery.scope import Scope
from dispatch_celery.work.progress import report_progress

__all__ = ["JobContext", "current_job", "in_job"]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobContext:
    """One attempt, from inside. Also what a middleware is given."""

    ref: JobRef
    attempt: int
    """From 1; what ``max_attempts`` counts."""
    token: int
    """Grows with every claim, also after a crash: hand it to a resource that refuses an older one."""
    claim: str
    deadline: datetime | None
    """When this attempt times out; None without a timeout."""
    scope: Scope
    arguments: dict[str, Any]
    store: JobStore | None = None
    is_cancelled: Callable[[], bool] = bool

    @property
    def id(self) -> JobId:
        """The job's id."""
        return self.ref.id

    @property
    def name(self) -> str:
        """The job's name."""
        return self.ref.name

    @property
    def queue(self) -> str:
        """The queue it waited in."""
        return self.ref.queue

    @property
    def idempotency_key(self) -> str:
        """The same in every attempt: hand it to the outside world, so that an effect happens once there."""
        return str(self.ref.id)

    @property
    def cancelled(self) -> bool:
        """Whether the job was asked to cancel: clean up and raise ``Cancel``."""
        return self.is_cancelled()

    def progress(self, done: float, total: float | None = None, message: str = "") -> None:
        """Record how far this attempt has come; one round trip. Skipped while the server does not answer.

        Raises:
            Fenced: another worker holds the job now; let it pass.
        """
        if self.store is None:
            return
        held = f"{self.id} is no longer held under token {self.token}"
        send = partial(self.store.progress, self.id, self.claim)
        report_progress(send, held=held, done=done, total=total, message=message)

    # -- the same on an event loop, written by .ci/make_twins.py

    async def aprogress(self, done: float, total: float | None = None, message: str = "") -> None:
        """Do as ``progress``, without holding the event loop."""
        await asyncio.to_thread(self.progress, done, total, message)


_current: ContextVar[JobContext | None] = ContextVar("dispatch_job", default=None)


def current_job() -> JobContext:
    """Return the running job.

    Raises:
        NotInJob: the code does not run inside a job.
    """
    context = _current.get()
    if context is None:
        raise NotInJob("current_job() works inside a running job; a plain call of the function is not one")
    return context


@contextmanager
def in_job(context: JobContext) -> Iterator[JobContext]:
    """Make ``context`` the running job of a block."""
    mark = _current.set(context)
    try:
        yield context
    finally:
        _current.reset(mark)
