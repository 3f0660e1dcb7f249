"""Lists and counts of jobs: one index serves (state; name and state; scope), the other filters sift."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from dispatch_celery.errors import ConfigurationError
from dispatch_celery.jobs.model import Job, JobState
from dispatch_celery.jobs.records import JobRecords
from dispatch_celery.scope import Scope
from dispatch_celery.store.client import Store
from dispatch_celery.store.keys import Keys
from dispatch_celery.store.paging import Page, Pager
from dispatch_celery.store.replies import ask_all, words
from dispatch_celery.store.scripts import Call

__all__ = ["JobFilter", "JobListing"]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFilter:
    """What to list; None means any. ``error`` is text looked for in the error's type and message."""

    state: JobState | str | None = None
    name: str | None = None
    queue: str | None = None
    scope: Scope | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    error: str | None = None

    def __post_init__(self) -> None:
        if self.state is not None:
            try:
                object.__setattr__(self, "state", JobState(self.state))
            except ValueError:
                known = ", ".join(JobState)
                raise ConfigurationError(f"state must be one of {known}, not {self.state!r}") from None
        for name in ("created_after", "created_before"):
            moment = getattr(self, name)
            if moment is not None and moment.tzinfo is None:
                raise ConfigurationError(f"{name}={moment!r} has no time zone")

    def keeps(self, job: Job) -> bool:
        """Return whether a record is wanted."""
        wanted = (
            (self.state, job.state),
            (self.name, job.name),
            (self.queue, job.queue),
        )
        if self.scope is not None and not self.scope.covers(job.scope):
            return False
        if any(value is not None and value != found for value, found in wanted):
            return False
        if self.error is None:
            return True
        failure = job.failure
        return failure is not None and self.error.lower() in f"{failure.type}: {failure.message}".lower()


class JobListing:
    """Reads of many jobs."""

    def __init__(self, store: Store, keys: Keys, records: JobRecords) -> None:
        self._store = store
        self._keys = keys
        self._records = records
        self._pager = Pager(store)

    def page(self, chosen: JobFilter, *, limit: int, cursor: str | None) -> Page[Job]:
        """Return one page of jobs, newest first."""
        return self._pager.page(
            self._indexes(chosen),
            lambda ids: [job if job is not None and chosen.keeps(job) else None for job in self._records.jobs(ids)],
            keep=_any,
            limit=limit,
            cursor=cursor,
            until=_ms(chosen.created_before),
            since=_ms(chosen.created_after),
        )

    def _indexes(self, chosen: JobFilter) -> list[str]:
        states = list(JobState) if chosen.state is None else [JobState(chosen.state)]
        if chosen.name is not None:
            return [self._keys.name(state, chosen.name) for state in states]
        if chosen.scope is not None and chosen.scope.app_id and chosen.scope.org_id:
            return [self._keys.scope(chosen.scope.path)]
        return [self._keys.state(state) for state in states]

    def count(self, state: JobState | str | None, name: str | None) -> dict[JobState, int]:
        """Return how many jobs there are in each state, of one name or of all."""
        states = list(JobState) if state is None else [JobState(state)]
        calls = [
            Call.command("ZCARD", self._keys.state(one) if name is None else self._keys.name(one, name))
            for one in states
        ]
        return {one: int(count) for one, count in zip(states, ask_all(self._store, calls), strict=True)}

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


def _any(_: Job) -> bool:
    return True


def _ms(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.timestamp() * 1000)
