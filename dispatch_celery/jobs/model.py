"""What a job is: its states, the moves between them, its record and its attempts; what is written, what is claimed.

::

    scheduled ----> pending ----> running ----> completed
        |           |  ^  ^          |  |
        |           |  |  +- due -- retrying
        |           |  +- released, recovered
        v           v                |  |
       cancelled <-------------------+  +-----> failed  (a dead letter; an operator may reopen it)

What a limit holds back is ``limited`` wherever it would be ``pending``, until it is handed a permit.

``TRANSITIONS`` is the table; the Lua headers state theirs, and a test says that both agree.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from dispatch_celery.ids import JobId
from dispatch_celery.jobs.unique import Unique
from dispatch_celery.scope import Scope
from dispatch_celery.work.model import Failure, WorkRef
from dispatch_celery.work.records import Stored

__all__ = ["ENDED", "TRANSITIONS", "Attempt", "Claim", "Job", "JobRef", "JobState", "NewJob"]


class JobState(StrEnum):
    """Where a job is."""

    SCHEDULED = "scheduled"
    """Enqueued with a due time that has not come."""
    LIMITED = "limited"
    """It may go as soon as a limit of its queue or name hands it a permit."""
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
    "new": frozenset({"scheduled", "limited", "pending"}),
    "scheduled": frozenset({"limited", "pending", "cancelled"}),
    "limited": frozenset({"pending", "cancelled"}),
    "pending": frozenset({"running", "limited", "failed", "cancelled"}),
    "running": frozenset({"completed", "failed", "cancelled", "retrying", "pending"}),
    "retrying": frozenset({"limited", "pending", "cancelled"}),
    "completed": frozenset({"gone"}),
    "failed": frozenset({"pending", "gone"}),
    "cancelled": frozenset({"gone"}),
}
"""From each state to those that may follow. ``new`` is before the record, ``gone`` after its retention."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRef(WorkRef):
    """What never changes about a job."""

    id: JobId


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
    limit: str = ""
    """While it is limited: the limit it waits for, ``queue:<name>`` or ``job:<name>``."""
    token: int = 0
    """How often it was claimed."""

    @property
    def ended(self) -> bool:
        """Whether nothing will happen to it any more by itself."""
        return self.state in ENDED


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """A job about to be written. ``payload`` is JSON, and ``spec`` becomes JSON, that the server never reads."""

    ref: JobRef
    spec: Mapping[str, Any]
    payload: bytes
    delay: int | None = None
    run_at: int | None = None
    expires: int | None = None
    digest: str = ""
    unique: Unique | None = None
    """How it stands to others of its kind, where there may be one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What a worker was given: the right to end this job, and all it needs to run it."""

    id: str
    holder: str
    token: str
    claimed_at: int
    payload: bytes
    spec: bytes
    attempts: int
    crashes: int
    lost_workers: int
    snoozes: int
    waited: int = field(default=0, compare=False)
    """For how long the job was ready, in ms; of a claim whose reply got lost, nobody can say."""

    @classmethod
    def of(cls, stored: Stored) -> Claim:
        """Return the claim under which a record says that it runs."""
        return cls(
            id=stored.ref.id,
            holder=stored.holder,
            token=stored.token,
            claimed_at=0,
            payload=b"",
            spec=b"",
            attempts=stored.attempts,
            crashes=stored.crashes,
            lost_workers=stored.lost_workers,
            snoozes=0,
        )
