"""What a job is: its states, the moves between them, its record and its attempts.

::

    scheduled ----> pending ----> running ----> completed
        |           |  ^  ^          |  |
        |           |  |  +- due -- retrying
        |           |  +- released, recovered
        v           v                |  |
       cancelled <-------------------+  +-----> failed  (a dead letter; an operator may reopen it)

``TRANSITIONS`` is the table; the Lua headers state theirs, and a test says that both agree.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from dispatch_celery.ids import JobId, TypedId
from dispatch_celery.scope import Scope

__all__ = ["ENDED", "SCHEMA", "TRANSITIONS", "Attempt", "Failure", "Job", "JobRef", "JobState", "WakeUp", "WorkRef"]

SCHEMA: Final = 1
"""The version of what is stored; a reader refuses a newer one by name instead of guessing."""


class JobState(StrEnum):
    """Where a job is."""

    SCHEDULED = "scheduled"
    """Enqueued with a due time that has not come."""
    PENDING = "pending"
    """Ready: a worker may take it at any moment."""
    RUNNING = "running"
    """Held by a worker."""
    RETRYING = "retrying"
    """An attempt failed, was snoozed or crashed; the next one has a due time."""
    COMPLETED = "completed"
    """Ended with a result."""
    FAILED = "failed"
    """Ended without one: a dead letter."""
    CANCELLED = "cancelled"
    """Ended because somebody asked for it."""


ENDED: Final = frozenset({JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED})

TRANSITIONS: Final[Mapping[str, frozenset[str]]] = {
    "new": frozenset({"scheduled", "pending"}),
    "scheduled": frozenset({"pending", "cancelled"}),
    "pending": frozenset({"running", "failed", "cancelled"}),
    "running": frozenset({"completed", "failed", "cancelled", "retrying", "pending"}),
    "retrying": frozenset({"pending", "cancelled"}),
    "completed": frozenset({"gone"}),
    "failed": frozenset({"pending", "gone"}),
    "cancelled": frozenset({"gone"}),
}
"""From each state to those that may follow. ``new`` is before the record, ``gone`` after its retention."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkRef:
    """What never changes about a piece of work, a job or a run: enough to find every key that names it."""

    id: TypedId
    name: str
    queue: str
    priority: int = 0
    scope: str = ""
    idempotency_key: str = ""
    version: int = 0
    """Of a run, the version of its workflow."""

    @property
    def known_as(self) -> str:
        """What a worker registers that can execute it: a job's name; a workflow's name and version."""
        return f"{self.name}@{self.version}" if self.version else self.name

    @property
    def lane(self) -> str:
        """Where it waits when it is ready."""
        return f"{self.queue}:{self.priority}"

    @property
    def kind(self) -> str:
        """What the names of its indexes begin with: nothing for a job, ``run-`` for a run."""
        return "" if self.id[:3] == JobId.prefix else f"{self.id[:3]}-"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRef(WorkRef):
    """What never changes about a job."""

    id: JobId


@dataclass(frozen=True, slots=True, kw_only=True)
class WakeUp:
    """A message to publish: this job or run is ready for the ``wake``-th time."""

    ref: WorkRef
    wake: str
    spec: Mapping[str, Any] = field(default_factory=dict)
    attempt: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why an attempt or a job ended: plain data, never a pickled exception."""

    type: str
    message: str
    traceback: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try: when, where, and how it ended."""

    number: int
    started_at: datetime | None
    ended_at: datetime | None
    worker: str
    outcome: str
    failure: Failure | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job's record as it was when it was read."""

    id: JobId
    name: str
    queue: str
    priority: int
    state: JobState
    arguments: Mapping[str, Any]
    scope: Scope
    created_at: datetime
    due_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    expires_at: datetime | None = None
    attempt: int = 1
    """The number of the attempt that runs, comes next, or came last."""
    crashes: int = 0
    lost_workers: int = 0
    snoozes: int = 0
    worker: str = ""
    idempotency_key: str = ""
    cancel_requested: bool = False
    reason: str = ""
    failure: Failure | None = None
    result: Any = None
    progress: Mapping[str, Any] | None = None
    attempts: tuple[Attempt, ...] = ()
    replay_of: str = ""
    replayed_as: str = ""
    token: int = 0
    """How often it was claimed."""

    @property
    def ended(self) -> bool:
        """Whether nothing will happen to it any more by itself."""
        return self.state in ENDED
