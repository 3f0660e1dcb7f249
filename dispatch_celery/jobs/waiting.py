"""Waiting for the end of a job: its result, or the error that says why there is none."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from dispatch_celery.codec import Codec
from dispatch_celery.errors import JobCancelled, JobFailed, JobNotFound, PayloadError
from dispatch_celery.ids import TypedId
from dispatch_celery.jobs.model import ENDED, Job, JobState
from dispatch_celery.jobs.records import JobRecords
from dispatch_celery.store.keys import Keys
from dispatch_celery.store.listener import Listener
from dispatch_celery.work.records import WorkRecords
from dispatch_celery.work.waiting import Ends, state_in

__all__ = ["Results", "error_of", "not_found"]


class Results(Ends):
    """Outcomes of jobs."""

    ended = ENDED

    def __init__(
        self, records: WorkRecords, keys: Keys, listener: Listener, codec_of: Callable[[str], Codec | None]
    ) -> None:
        super().__init__(records, keys, listener)
        self._codec_of = codec_of

    def missing(self, work_id: str) -> Exception:
        """Return the error for an id without a record."""
        return not_found(work_id)

    def outcome(self, work_id: TypedId, fields: Mapping[str, bytes], codec: Codec | None) -> Any:
        """Return a job's result, or raise why it has none."""
        if state_in(fields) == JobState.COMPLETED:
            codec = codec or self._codec_of(fields.get("name", b"").decode())
            data = fields.get("result", b"null")
            return json.loads(data) if codec is None else codec.decode(data)
        raise error_of(JobRecords.of(work_id, fields))


def not_found(job_id: str) -> JobNotFound:
    """Return the error for an id without a record."""
    return JobNotFound(f"there is no job {job_id}: it never existed in this namespace, or its retention has passed")


def error_of(job: Job) -> Exception:
    """Return what waiting for a job raises that ended without a result."""
    if job.state == JobState.CANCELLED:
        return JobCancelled(f"{job.id} was cancelled: {job.reason}", id=job.id)
    failure = job.failure
    if failure is None:
        return PayloadError(f"{job.id} failed without a recorded error")
    return JobFailed(
        f"{job.id} ({job.name}) failed: {failure.type}: {failure.message}",
        id=job.id,
        error_type=failure.type,
        error_message=failure.message,
        remote_traceback=failure.traceback,
    )
