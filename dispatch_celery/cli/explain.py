"""``dispatch explain ID``: what a job, a run, a dead letter or a cron entry waits for, and what to do about it."""

from __future__ import annotations

import click

from dispatch_celery.cli.explaining import explain_job, explain_message
from dispatch_celery.cli.explaining_crons import explain_entry
from dispatch_celery.cli.explaining_runs import explain_run
from dispatch_celery.cli.phrases import Explanation, Surroundings
from dispatch_celery.cli.session import Session, with_session
from dispatch_celery.errors import JobNotFound
from dispatch_celery.ids import CronId, DeadLetterId, JobId, RunId

__all__ = ["explain"]


@click.command()
@click.argument("some_id", metavar="ID")
@with_session
def explain(session: Session, some_id: str) -> None:
    """Say what a job, run, dead letter or cron entry waits for, since when, when it moves, and what to do."""
    if some_id.startswith(f"{RunId.prefix}_"):
        _explain_run(session, RunId.parse(some_id))
        return
    if some_id.startswith(f"{CronId.prefix}_"):
        entry = session.dispatch.crons.get(some_id)
        around = Surroundings(now=session.insight.now(), command=session.command)
        _print(session, entry.id, "cron entry", entry.state, explain_entry(entry, around))
        return
    is_letter = some_id.startswith(f"{DeadLetterId.prefix}_")
    job_id = DeadLetterId.parse(some_id).job_id if is_letter else JobId.parse(some_id)
    try:
        job = session.dispatch.jobs.get(job_id)
    except JobNotFound:
        if not is_letter:
            raise
        letter = session.dispatch.dlq.get(some_id)
        around = Surroundings(now=session.insight.now(), command=session.command)
        _print(session, some_id, letter.kind, "dead letter", explain_message(letter, around))
        return
    around = session.insight.surroundings(job, command=session.command)
    _print(session, some_id, "job", job.state, explain_job(job, around))


def _explain_run(session: Session, run_id: RunId) -> None:
    run = session.dispatch.runs.get(run_id)
    around = session.insight.run_surroundings(run, command=session.command)
    _print(session, run_id, "run", run.state, explain_run(run, around))


def _print(session: Session, some_id: str, kind: str, state: str, found: Explanation) -> None:
    if session.output.as_json:
        facts = {
            "explanation": found.explanation,
            "detail": found.detail or None,
            "advice": found.advice,
            "since": found.since,
            "next_at": found.next_at,
            "worker": found.worker or None,
        }
        session.output.document({"id": some_id, "kind": kind, "state": state, **facts})
        return
    session.output.line(found.explanation)
    if found.detail:
        session.output.line(found.detail)
    session.output.line(found.advice, style="bold")
