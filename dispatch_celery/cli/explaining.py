"""Says what a job or a dead letter waits for, since when, who holds it, when it moves next, and what to do.

Pure: sentences are made of values that were read before. One function per state; each returns what there is
to say and what there is to do, and beside them the facts a program would ask for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from dispatch_celery.cli.explaining_limits import explain_limited
from dispatch_celery.cli.moments import span
from dispatch_celery.cli.phrases import (
    Explanation,
    Surroundings,
    attempt_of,
    hint_of,
    kept_until,
    named,
    progress_of,
    reason_of,
    start_worker,
    with_failure,
)
from dispatch_celery.cli.plain import one_line
from dispatch_celery.cli.readiness import explain_pending, explain_timed, holder_of
from dispatch_celery.dlq.model import DeadLetter
from dispatch_celery.ids import DeadLetterId
from dispatch_celery.jobs.model import Job, JobState

__all__ = ["explain_job", "explain_message"]


def explain_job(job: Job, around: Surroundings) -> Explanation:
    """Explain a job in the state it was read in."""
    return _STATES[job.state](job, around)


def explain_message(letter: DeadLetter, around: Surroundings) -> Explanation:
    """Explain a dead letter that never was a job."""
    return Explanation(
        explanation=f"{letter.id} is a message from the queue {letter.queue!r} that never became a job;"
        f" it is kept since {around.ago(letter.died_at)}: {one_line(letter.reason)}.",
        advice=f"Look at it with `{around.command} dlq get {letter.id}`. Mend its sender, or deploy a worker that can"
        f" read it and put it back with `{around.command} dlq put-back {letter.id}`."
        f" `{around.command} dlq purge {letter.id}` deletes it.",
        since=letter.died_at,
    )


def _scheduled(job: Job, around: Surroundings) -> Explanation:
    opening = f"{named(job)} is scheduled, since it was enqueued {around.ago(job.created_at)}; nobody holds it"
    return _timed(job, around, f"{opening}, and it waits for its time")


def _retrying(job: Job, around: Surroundings) -> Explanation:
    last = job.attempts[-1] if job.attempts else None
    ended = (
        f"{attempt_of(job.attempt - 1, around) if job.attempt > 1 else 'an attempt'} ended{with_failure(job.failure)}"
    )
    if last is not None and last.outcome == "snoozed":
        ended = "its handler snoozed"
    elif last is not None and last.outcome in ("crashed", "worker lost"):
        ended = f"its process died (crashes: {job.crashes}, lost workers: {job.lost_workers})"
    since = last.ended_at if last else None
    moment = f" {around.ago(since)}" if since else ""
    found = _timed(job, around, f"{named(job)} is retrying: {ended}{moment}; nobody holds it, and it waits")
    return Explanation(
        explanation=found.explanation, advice=found.advice, next_at=found.next_at, since=since or job.created_at
    )


def _timed(job: Job, around: Surroundings, opening: str) -> Explanation:
    return explain_timed(
        job,
        around,
        opening,
        what=attempt_of(job.attempt, around),
        due=job.due_at,
        advice=f"Nothing to do; `{around.command} jobs run-now {job.id}` runs it at once.",
    )


def _running(job: Job, around: Surroundings) -> Explanation:
    who, is_lost = holder_of(job, around)
    opening = f"{named(job)} is running: {who} holds it since {around.ago(job.started_at)}"
    if is_lost:
        return Explanation(
            explanation=f"{opening}, but that worker is lost; the leading worker makes the job ready again.",
            advice="Nothing to do: it is recovered within seconds." if around.live else start_worker(job, around),
            since=job.started_at,
            worker=job.worker,
        )
    ends = job.started_at + around.timeout if job.started_at and around.timeout else None
    says = f"{opening}, as {attempt_of(job.attempt, around)}{progress_of(job.progress)}"
    says += f"; its timeout ends the attempt {around.ago(ends)}." if ends else "; it has no timeout."
    advice = f"Nothing to do; `{around.command} jobs cancel {job.id}` asks it to stop."
    if job.cancel_requested:
        says += f" Its cancellation was requested: {one_line(job.reason)}."
        advice = "Nothing to do: its worker interrupts it, and ends its process if it does not obey."
    return Explanation(explanation=says, advice=advice, since=job.started_at, next_at=ends, worker=job.worker)


def _completed(job: Job, around: Surroundings) -> Explanation:
    took = f" in {span(job.finished_at - job.started_at)}" if job.finished_at and job.started_at else ""
    says = f"{named(job)} completed {around.ago(job.finished_at)}{took}, at {attempt_of(job.attempt, around)}."
    return Explanation(
        explanation=f"{says} Its result is {hint_of(job.result)}{kept_until(around)}.",
        advice=f"Nothing to do; `{around.command} jobs get {job.id} --result` shows the result.",
        since=job.finished_at,
        next_at=around.kept_until,
        worker=job.worker,
    )


def _failed(job: Job, around: Surroundings) -> Explanation:
    command, letter = around.command, DeadLetterId.of_job(job.id)
    says = f"{named(job)} failed {around.ago(job.finished_at)}: {reason_of(job, around)}{with_failure(job.failure)}."
    if job.replayed_as:
        return Explanation(
            explanation=f"{says} It was replayed as {job.replayed_as}{kept_until(around)}.",
            advice=f"Follow the replay: `{command} explain {job.replayed_as}`.",
            since=job.finished_at,
            next_at=around.kept_until,
        )
    advice = (
        f"Mend the cause, then `{command} dlq replay {letter}` runs it as a new job,"
        f" or `{command} jobs retry {job.id}` under the same id."
    )
    if job.reason == "unknown":
        advice = f"Deploy a worker that declares {job.name!r}; the job goes on by itself."
    return Explanation(
        explanation=f"{says} It is the dead letter {letter}{kept_until(around)}.",
        advice=advice,
        since=job.finished_at,
        next_at=around.kept_until,
    )


def _cancelled(job: Job, around: Surroundings) -> Explanation:
    why = one_line(job.reason)
    return Explanation(
        explanation=f"{named(job)} was cancelled {around.ago(job.finished_at)}: {why}{kept_until(around)}.",
        advice="Nothing to do; to run it after all, enqueue it again.",
        since=job.finished_at,
        next_at=around.kept_until,
    )


_STATES: Final[Mapping[JobState, Callable[[Job, Surroundings], Explanation]]] = {
    JobState.SCHEDULED: _scheduled,
    JobState.LIMITED: explain_limited,
    JobState.PENDING: explain_pending,
    JobState.RUNNING: _running,
    JobState.RETRYING: _retrying,
    JobState.COMPLETED: _completed,
    JobState.FAILED: _failed,
    JobState.CANCELLED: _cancelled,
}
