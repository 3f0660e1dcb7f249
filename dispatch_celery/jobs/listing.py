"""Lists and counts of jobs."""

from __future__ import annotations

from dispatch_celery.jobs.model import Job, JobState
from dispatch_celery.jobs.records import JobRecords
from dispatch_celery.store.client import Store
from dispatch_celery.store.keys import Keys
from dispatch_celery.store.replies import ask_all, words
from dispatch_celery.store.scripts import Call
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
        (_, lanes), *_ = ask_all(self._store, [Call.command("SSCAN", self._keys.lanes, 0, "COUNT", 1_000)])
        names = sorted(words(lanes))
        counts = ask_all(self._store, [Call.command("ZCARD", self._keys.lane(lane)) for lane in names])
        found: dict[str, int] = {}
        for lane, count in zip(names, counts, strict=True):
            queue = lane.rpartition(":")[0]
            found[queue] = found.get(queue, 0) + int(count)
        return found
