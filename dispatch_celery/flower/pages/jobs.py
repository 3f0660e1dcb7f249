"""Jobs: the list with its filters, and one job with its attempts, its payload, and what it waits for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from dispatch_celery.cli.explaining import explain_job
from dispatch_celery.cli.phrases import Explanation
from dispatch_celery.flower.buttons import Button, of_job
from dispatch_celery.flower.desk import Desk
from dispatch_celery.flower.pages.model import Page, Query, Row
from dispatch_celery.flower.pages.work import WorkList, share_done, work_list
from dispatch_celery.ids import DeadLetterId
from dispatch_celery.jobs.model import ENDED, Job, JobState

__all__ = ["JOB", "JOBS", "JobView"]


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


def _list(desk: Desk, query: Query) -> WorkList:
    return work_list(desk.dispatch.jobs, JobState, desk.now(), query)


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


JOBS: Final = Page(key="jobs", title="Jobs", template="jobs.html", read=_list, menu="jobs")
JOB: Final = Page(key="jobs", title="Job", template="job.html", read=_one, ids=1, menu="jobs")
