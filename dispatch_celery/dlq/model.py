"""What a dead letter is: work that needs a person. A failed job's record, or a message that never became a job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from dispatch_celery.ids import DeadLetterId, JobId
from dispatch_celery.jobs.model import Job
from dispatch_celery.work.model import Failure

__all__ = ["DeadLetter", "DeadLetterGroup", "DeadLetterKind", "DeadLetterNote", "DeadLetterOrigin", "ReplayPreview"]


class DeadLetterKind(StrEnum):
    """What a dead letter is."""

    JOB = "job"
    """A job that failed for good: it can be replayed."""
    MESSAGE = "message"
    """A message that never became a job: it can be looked at, put back into its queue, and purged."""


class DeadLetterOrigin(StrEnum):
    """How a dead letter came about."""

    JOB = "job"
    """A job failed for good: its handler did, or what ran it died too often."""
    UNKNOWN_JOB = "unknown-job"
    """No live worker knew the job's name for ``dispatch_unknown_grace``; it goes on when one does."""
    MESSAGE = "message"
    """Nobody could read a message, or make a job of it."""
    UNKNOWN_TASK = "unknown-task"
    """A plain Celery message named a task that its worker did not know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterNote:
    """What somebody wrote on a dead letter."""

    at: datetime
    by: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """One dead letter as it was when it was read."""

    id: DeadLetterId
    kind: DeadLetterKind
    reason: str
    died_at: datetime
    queue: str
    origin: DeadLetterOrigin = DeadLetterOrigin.JOB
    fingerprint: str = ""
    """What it is grouped by; empty for one that died under a release before fingerprints."""
    name: str = ""
    job_id: JobId | None = None
    job: Job | None = None
    failure: Failure | None = None
    replayed_as: str = ""
    """Of a job, its replay's id; of a message, when it was put back into its queue (ISO 8601)."""
    raw: bytes = b""
    notes: tuple[DeadLetterNote, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterGroup:
    """The dead letters of one cause, as they were when they were counted."""

    fingerprint: str
    """Empty: those that died under a release before fingerprints."""
    count: int
    names: Mapping[str, int] = field(default_factory=dict)
    """How many of each name; of the first hundred names."""
    first_died_at: datetime | None = None
    last_died_at: datetime | None = None
    sample: DeadLetter | None = None
    """The latest of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayPreview:
    """What a replay would do; nothing was changed."""

    name: str
    queue: str
    """Of the new job."""
    arguments: Mapping[str, Any]
    """The new job's, by name."""
    job_id: JobId | None = None
    """The job that a replay would return and not make: the first replay's, or the job that was retried."""
