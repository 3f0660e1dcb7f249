"""What a dead letter is: work that needs a person. A failed job's record, or a message that never became a job."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from dispatch_celery.ids import DeadLetterId, JobId
from dispatch_celery.jobs.model import Job
from dispatch_celery.work.model import Failure

__all__ = ["DeadLetter", "DeadLetterKind"]


class DeadLetterKind(StrEnum):
    """Where a dead letter came from."""

    JOB = "job"
    """A job that failed for good: it can be replayed."""
    MESSAGE = "message"
    """A message nobody could read: it can be looked at and purged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """One dead letter as it was when it was read."""

    id: DeadLetterId
    kind: DeadLetterKind
    reason: str
    died_at: datetime
    queue: str
    name: str = ""
    job_id: JobId | None = None
    job: Job | None = None
    failure: Failure | None = None
    replayed_as: str = ""
    raw: bytes = b""
