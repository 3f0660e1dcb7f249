"""The first page: how much there is in each state, how fast it moves, what waits longest, who works and who leads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

from dispatch_celery.cli.phrases import count_of
from dispatch_celery.cluster.model import Worker, WorkerState
from dispatch_celery.flower.desk import Desk
from dispatch_celery.flower.pages.model import Page, Query, oldest
from dispatch_celery.jobs.model import ENDED, Job, JobState
from dispatch_celery.workflows.model import Run, RunState

__all__ = ["OVERVIEW", "Overview"]

_RECENT: Final = 8
_SAMPLE: Final = 50
_LOOK_BACK: Final = timedelta(minutes=5)


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How fast jobs come in, told by the newest of them, and how many of those have ended."""

    seen: int
    ended: int
    failed: int
    span: timedelta

    @property
    def per_minute(self) -> float:
        """Jobs enqueued in a minute."""
        return self.seen / max(self.span.total_seconds(), 0.001) * 60


@dataclass(frozen=True, kw_only=True)
class Overview:
    """The whole at a glance."""

    now: datetime
    jobs: Mapping[JobState, int]
    runs: Mapping[RunState, int]
    ready: Sequence[tuple[str, int]]
    dead_letters: int
    workers: Sequence[Worker]
    oldest_pending: datetime | None
    oldest_waiting: datetime | None
    pace: Pace
    recent_jobs: Sequence[Job]
    recent_runs: Sequence[Run]

    @property
    def leader(self) -> Worker | None:
        """Who keeps house."""
        return next((worker for worker in self.workers if worker.leads), None)

    @property
    def live(self) -> Sequence[Worker]:
        """Who takes work."""
        return [worker for worker in self.workers if worker.state == WorkerState.ACTIVE]

    @property
    def slots(self) -> tuple[int, int]:
        """How many slots of live workers are busy, and how many there are."""
        return sum(worker.holding for worker in self.live), sum(worker.concurrency for worker in self.live)

    @property
    def alarms(self) -> Sequence[tuple[str, str, str]]:
        """What needs a person: in words, with the page that says more and its query."""
        found = []
        waiting = self.jobs[JobState.PENDING] + self.runs[RunState.PENDING]
        if not self.live and (waiting or self.jobs[JobState.RUNNING]):
            found.append(("No worker is live, so nothing that waits is taken.", "workers", ""))
        elif not self.live:
            found.append(("No worker is live.", "workers", ""))
        elif self.leader is None:
            found.append(("No worker leads at this moment; one takes the lead within seconds.", "workers", ""))
        parked = self.runs[RunState.PARKED]
        if parked:
            found.append((f"{count_of(parked, 'parked run')}: only a person lets them go on.", "runs", "parked"))
        return found


def _read(desk: Desk, _: Query) -> Overview:
    dispatch, now = desk.dispatch, desk.now()
    sample = dispatch.jobs.list(limit=_SAMPLE, created_after=now - _LOOK_BACK).records
    recent = sample if len(sample) >= _RECENT else dispatch.jobs.list(limit=_RECENT).records
    return Overview(
        now=now,
        jobs=dispatch.jobs.count(),
        runs=dispatch.runs.count(),
        ready=sorted(((queue, count) for queue, count in dispatch.jobs.ready().items() if count), key=_most),
        dead_letters=dispatch.dlq.count(),
        workers=dispatch.workers.list().records,
        oldest_pending=oldest(partial(_newest, dispatch.jobs, JobState.PENDING), now),
        oldest_waiting=oldest(partial(_newest, dispatch.runs, RunState.WAITING), now),
        pace=_pace(sample, now),
        recent_jobs=recent[:_RECENT],
        recent_runs=dispatch.runs.list(limit=_RECENT).records,
    )


def _newest(service: Any, state: str, before: datetime) -> datetime | None:
    """Return when the newest record in a state was made that was made before a time."""
    found = service.list(state=state, created_before=before, limit=1).records
    return found[0].created_at if found else None


def _pace(sample: Sequence[Job], now: datetime) -> Pace:
    is_cut = len(sample) == _SAMPLE
    return Pace(
        seen=len(sample),
        ended=sum(job.state in ENDED for job in sample),
        failed=sum(job.state == JobState.FAILED for job in sample),
        span=max(now - sample[-1].created_at, timedelta(milliseconds=1)) if is_cut else _LOOK_BACK,
    )


def _most(queue: tuple[str, int]) -> tuple[int, str]:
    return -queue[1], queue[0]


OVERVIEW: Final = Page(key="", title="Overview", template="overview.html", read=_read)
