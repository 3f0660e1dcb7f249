"""Lists and counts of jobs."""

from __future__ import annotations

from dispatch_celery.jobs.model import Job, JobState
from dispatch_celery.jobs.records import JobRecords
from dispatch_celery.store.client import Store
from dispatch_celery.store.keys import Keys
from dispatch_celery.work.lanes import count_ready, queue_of
from dispatch_celery.work.listing import WorkFilter, WorkListing

__all__ = ["JobFilter", "JobListing"]


class JobFilter(WorkFilter[JobState, Job]):
    """Which jobs to list; ``error`` is text looked for in the error's type and message."""

    __slots__ = ()
    states = JobState


class JobListing(WorkListing[JobState, Job]):
    """Reads of many jobs."""

    def __init__(self, store: Store, keys: Keys, records: JobRecords) -> None:
        super().__init__(store, keys, records.jobs, JobState)

    def ready(self) -> dict[str, int]:
        """Return how many jobs are ready in each queue."""
        found: dict[str, int] = {}
        for lane, count in count_ready(self._store, self._keys).items():
            found[queue_of(lane)] = found.get(queue_of(lane), 0) + count
        return found
