"""``dispatch jobs``: list, get, count, cancel, retry, run-now."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import click

from dispatch_celery.cli.filters import asked_for, job_filters, paging
from dispatch_celery.cli.meant import doubt_of_filters
from dispatch_celery.cli.moments import stamp, when
from dispatch_celery.cli.output import Columns, Output, number_column, text_column
from dispatch_celery.cli.plain import one_line, plain
from dispatch_celery.cli.session import Session, with_session
from dispatch_celery.cli.unfamiliar import tell
from dispatch_celery.jobs.model import Job, JobState
from dispatch_celery.store.paging import Page
from dispatch_celery.work.model import Failure

__all__ = ["SECRET", "error_of", "job_fields", "jobs", "print_moved", "print_page", "print_values"]

SECRET = ("arguments", "result")
"""What is left out unless it is asked for."""


@click.group()
def jobs() -> None:
    """Look at jobs, cancel them, run them again or earlier."""


@jobs.command("list")
@click.option("--state", type=click.Choice([str(state) for state in JobState]), help="The state.")
@job_filters
@paging
@with_session
def list_jobs(session: Session, /, *, limit: int, cursor: str | None, **filters: Any) -> None:
    """List jobs, the newest first."""
    page = session.dispatch.jobs.list(limit=limit, cursor=cursor, **asked_for(**filters))
    columns: Columns = [
        "id",
        "name",
        "queue",
        "state",
        number_column("attempt"),
        "enqueued (UTC)",
        text_column("error"),
    ]
    rows = [
        (job.id, job.name, job.queue, job.state, job.attempt, stamp(job.created_at), error_of(job.failure))
        for job in page
    ]
    print_page(session.output, page, columns, rows, without=(*SECRET, "attempts", "traceback"))
    if not rows:
        tell(session, doubt_of_filters(session, **filters))


@jobs.command("get")
@click.argument("job_id", metavar="ID")
@click.option("--arguments", is_flag=True, help="Also the arguments, which may hold secrets.")
@click.option("--result", is_flag=True, help="Also the result, which may hold secrets.")
@with_session
def get_job(session: Session, job_id: str, *, arguments: bool, result: bool) -> None:
    """Show one job: its record, its attempts, and the traceback of its error."""
    job = session.dispatch.jobs.get(job_id)
    hidden = [name for name, wanted in (("arguments", arguments), ("result", result)) if not wanted]
    output = session.output
    if output.as_json:
        output.document(job, without=hidden)
        return
    output.fields(job_fields(job, session.insight.now()))
    print_values(output, job, [name for name in SECRET if name not in hidden])
    if job.attempts:
        _print_attempts(output, job)
    if job.failure and job.failure.traceback:
        output.line(job.failure.traceback.rstrip())


@jobs.command("count")
@click.option("--state", type=click.Choice([str(state) for state in JobState]), help="Only this state.")
@click.option("--name", help="Only jobs of this name.")
@with_session
def count_jobs(session: Session, /, *, state: str | None, name: str | None) -> None:
    """Count jobs in each state."""
    counts = session.dispatch.jobs.count(state=state, name=name)
    if session.output.as_json:
        session.output.document(counts)
        return
    session.output.table(["state", number_column("jobs")], [(one, f"{n:,}") for one, n in counts.items()], empty="")


@jobs.command("cancel")
@click.argument("job_id", metavar="ID")
@click.option("--reason", default="", help="Why; it is kept in the record.")
@with_session
def cancel_job(session: Session, job_id: str, *, reason: str) -> None:
    """Cancel a job: at once if nobody holds it, else its worker is told."""
    state = session.dispatch.jobs.cancel(job_id, reason=reason)
    words = "its worker was told to stop it" if state == JobState.RUNNING else "it will not run"
    print_moved(session.output, job_id, state, words)


@jobs.command("retry")
@click.argument("job_id", metavar="ID")
@with_session
def retry_job(session: Session, job_id: str) -> None:
    """Run a failed job again under the same id, its attempts counted anew."""
    handle = session.dispatch.jobs.retry(job_id)
    words = "it runs again" if handle.id == job_id else f"{job_id} was replayed before, as this job"
    print_moved(session.output, handle.id, handle.state(), words)


@jobs.command("run-now")
@click.argument("job_id", metavar="ID")
@with_session
def run_job_now(session: Session, job_id: str) -> None:
    """Make a scheduled or retrying job ready at once."""
    state = session.dispatch.jobs.run_now(job_id)
    words = "it waits for a permit" if state == JobState.LIMITED else "it waits for nothing but a worker"
    print_moved(session.output, job_id, state, words)


def print_moved(output: Output, some_id: str, state: str, words: str) -> None:
    """Print the state that a command has led to."""
    if output.as_json:
        output.document({"id": some_id, "state": state})
    else:
        output.line(f"{some_id} is {state}: {words}")


def print_values(output: Output, record: Any, names: Sequence[str]) -> None:
    """Print fields of a record that hold whole values, each under its name."""
    for name in names:
        output.line(f"\n{name}", style="bold")
        output.line(json.dumps(plain(getattr(record, name)), indent=2, ensure_ascii=False))


def error_of(failure: Failure | None) -> str:
    """Return an error on one line; empty for none."""
    return "" if failure is None else one_line(f"{failure.type}: {failure.message}", 80)


def job_fields(job: Job, now: datetime) -> list[tuple[str, Any]]:
    """Return a job's record for people; what is empty is not printed."""
    failure = job.failure
    return [
        ("id", job.id),
        ("name", job.name),
        ("state", job.state),
        ("queue", job.queue),
        ("priority", job.priority or None),
        ("scope", job.scope.path),
        ("enqueued", when(job.created_at, now)),
        ("due", when(job.due_at, now)),
        ("started", when(job.started_at, now)),
        ("finished", when(job.finished_at, now)),
        ("expires", when(job.expires_at, now)),
        ("attempt", job.attempt),
        ("crashes", job.crashes or None),
        ("lost workers", job.lost_workers or None),
        ("snoozes", job.snoozes or None),
        ("worker", job.worker),
        ("idempotency key", job.idempotency_key),
        ("cancel requested", "yes" if job.cancel_requested else None),
        ("reason", job.reason),
        ("error", f"{failure.type}: {failure.message}" if failure else None),
        ("progress", None if job.progress is None else json.dumps(plain(job.progress))),
        ("replay of", job.replay_of),
        ("replayed as", job.replayed_as),
    ]


def _print_attempts(output: Output, job: Job) -> None:
    columns: Columns = [
        number_column("attempt"),
        "outcome",
        "started (UTC)",
        "ended (UTC)",
        "worker",
        text_column("error"),
    ]
    rows = [
        (one.number, one.outcome, stamp(one.started_at), stamp(one.ended_at), one.worker, error_of(one.failure))
        for one in job.attempts
    ]
    output.table(columns, rows, empty="")


def print_page(
    output: Output, page: Page[Any], columns: Columns, rows: list[tuple[Any, ...]], *, without: tuple[str, ...]
) -> None:
    """Print one page of records, and how to get the next."""
    if output.as_json:
        output.document({"records": list(page), "next_cursor": page.next_cursor}, without=without)
        return
    output.table(columns, rows, empty="None found so far." if page.next_cursor else "None.")
    if page.next_cursor:
        output.line(f"There may be more: --cursor '{page.next_cursor}'", style="dim")
