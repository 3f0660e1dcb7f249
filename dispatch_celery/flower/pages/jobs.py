"""Jobs: the list with its filters, and one job with its attempts, its payload, and what it waits for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from dispatch_celery.cli.explaining import explain_job
from dispatch_celery.cli.phrases import Explanation
from dispatch_celery.flower.buttons import Button, of_job
from dispatch_celery.flower.desk import Desk
from dispatch_celery.flower.pages.model import PAGE_SIZE, Choice, Filters, Page, Query, Row
from dispatch_celery.ids import DeadLetterId
from dispatch_celery.jobs.model import ENDED, Job, JobState

__all__ = ["JOB", "JOBS", "JobList", "JobView", "job_filters", "share_done"]

_TIMES: Final = ("created_after", "created_before")


@dataclass(frozen=True, kw_only=True)
class JobList:
    """One page of jobs."""

    filters: Filters
    jobs: Sequence[Job]
    next_cursor: str | None
    is_first: bool
    counts: dict[JobState, int]


@dataclass(frozen=True, kw_only=True)
class JobView:
    """One job."""

    job: Job
    now: datetime
    explanation: Explanation
    arguments: str
    result: str | None
    progress: float | None
    """How far it has come, from 0 to 1, where it has said so."""

    @property
    def verbs(self) -> Sequence[str]:
        """What can be done with it as it stands."""
        state = self.job.state
        if state == JobState.FAILED:
            return () if self.job.replayed_as else ("retry", "replay")
        if state in ENDED:
            return ()
        early = ("run-now",) if state in (JobState.SCHEDULED, JobState.RETRYING) else ()
        return (*early, *(() if self.job.cancel_requested else ("cancel",)))

    @property
    def buttons(self) -> Sequence[Button]:
        """The same, as buttons."""
        return of_job(self.job, self.verbs)

    @property
    def dead_letter(self) -> str:
        """Its id among the dead letters."""
        return DeadLetterId.of_job(self.job.id) if self.job.state == JobState.FAILED else ""

    @property
    def rows(self) -> Sequence[Row]:
        """Its record; what is empty is not shown."""
        job = self.job
        rows = (
            Row("Queue", job.queue),
            Row("Priority", job.priority or None),
            Row("Tenant", job.scope.path),
            Row("Enqueued", job.created_at, "time"),
            Row("Due", job.due_at, "time"),
            Row("Started", job.started_at, "time"),
            Row("Finished", job.finished_at, "time"),
            Row("Expires", job.expires_at, "time"),
            Row("Attempt", job.attempt),
            Row("Crashes", job.crashes or None),
            Row("Lost workers", job.lost_workers or None),
            Row("Snoozes", job.snoozes or None),
            Row("Worker", job.worker, "code"),
            Row("Idempotency key", job.idempotency_key, "code"),
            Row("Reason", job.reason),
            Row("Dead letter", self.dead_letter, "id"),
            Row("Replay of", job.replay_of, "id"),
            Row("Replayed as", job.replayed_as, "id"),
        )
        return [row for row in rows if row.is_shown]


def job_filters(query: Query, states: Sequence[str], now: datetime) -> Filters:
    """Return the fields that lists of jobs and of runs have in common."""

    def choice(name: str, label: str, **more: Any) -> Choice:
        return Choice(name=name, label=label, value=query.text(name) or "", **more)

    return Filters(
        now=now,
        choices=[
            choice("state", "State", options=states),
            choice("name", "Name", hint="the whole name"),
            choice("queue", "Queue"),
            choice("error", "Error", hint="text in the error"),
            choice("after", "After", hint="2h, or 2026-01-31T12:00", is_further=True),
            choice("before", "Before", hint="15m, or a time in UTC", is_further=True),
            choice("app", "Tenant: app", is_further=True),
            choice("org", "Tenant: org", is_further=True),
        ],
    )


def _list(desk: Desk, query: Query) -> JobList:
    jobs, now, cursor = desk.dispatch.jobs, desk.now(), query.text("cursor")
    filters = query.filters("state", "name", "queue", "error", times=_TIMES)
    page = jobs.list(limit=PAGE_SIZE, cursor=cursor, **filters)
    return JobList(
        filters=job_filters(query, list(JobState), now),
        jobs=page.records,
        next_cursor=page.next_cursor,
        is_first=cursor is None,
        counts=jobs.count(name=query.text("name")),
    )


def _one(desk: Desk, _: Query, job_id: str) -> JobView:
    job = desk.dispatch.jobs.get(job_id)
    around = desk.insight.surroundings(job, command=desk.command)
    masking, done = desk.masking, job.state == JobState.COMPLETED
    return JobView(
        job=job,
        now=around.now,
        explanation=explain_job(job, around),
        arguments=masking.text(masking.arguments(job.name, job.arguments)),
        result=masking.text(masking.result(job.name, job.result)) if done else None,
        progress=share_done(job.progress),
    )


def share_done(progress: Any) -> float | None:
    """Return how far something has come, by what it reported of itself."""
    done, total = (progress or {}).get("done"), (progress or {}).get("total")
    if not isinstance(done, int | float) or not isinstance(total, int | float) or total <= 0:
        return None
    return min(1.0, max(0.0, done / total))


JOBS: Final = Page(key="jobs", title="Jobs", template="jobs.html", read=_list, menu="jobs")
JOB: Final = Page(key="jobs", title="Job", template="job.html", read=_one, ids=1, menu="jobs")
