"""``dispatch runs``: list, get, count; the other commands of the group each in the room of their theme."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import click

from dispatch_celery.cli.calls import inspect_call, show_timeline
from dispatch_celery.cli.checking import check_code
from dispatch_celery.cli.families import show_children
from dispatch_celery.cli.filters import asked_for, paging, run_filters
from dispatch_celery.cli.jobs import SECRET, error_of, print_page, print_values
from dispatch_celery.cli.meant import doubt_of_filters
from dispatch_celery.cli.moments import stamp, when
from dispatch_celery.cli.operating import cancel_run, publish_to_run, resume_run, start_run
from dispatch_celery.cli.output import Columns, number_column, text_column
from dispatch_celery.cli.plain import one_line, plain
from dispatch_celery.cli.rewriting import fork_run, migrate_run, rewind_run
from dispatch_celery.cli.session import Session, with_session
from dispatch_celery.cli.undoing import compensate_run, retry_undo, skip_undo
from dispatch_celery.cli.unfamiliar import tell
from dispatch_celery.workflows.model import Run, RunState

__all__ = ["runs"]

_STATES = click.Choice([str(state) for state in RunState])


@click.group()
def runs() -> None:
    """Look at runs of workflows, start them, move them on, undo what they did, give them another past."""


for command in (
    *(inspect_call, show_timeline, show_children),
    *(start_run, cancel_run, resume_run, publish_to_run),
    *(compensate_run, retry_undo, skip_undo),
    *(fork_run, rewind_run, migrate_run, check_code),
):
    runs.add_command(command)


@runs.command("list", short_help="List runs, the newest first.")
@click.option("--state", type=_STATES, help="The state.")
@run_filters
@paging
@with_session
def list_runs(session: Session, /, *, limit: int, cursor: str | None, **filters: Any) -> None:
    """List runs, the newest first; the last column is what stopped a run, or else what it says of itself."""
    page = session.dispatch.runs.list(limit=limit, cursor=cursor, **asked_for(**filters))
    columns: Columns = [
        "id",
        "name",
        number_column("version"),
        "queue",
        "state",
        "created (UTC)",
        text_column("why, or its status"),
    ]
    rows = [(run.id, run.name, run.version, run.queue, run.shown, stamp(run.created_at), _why(run)) for run in page]
    print_page(session.output, page, columns, rows, without=(*SECRET, "traceback"))
    if not rows:
        tell(session, doubt_of_filters(session, of="workflow", **filters))


@runs.command("get", short_help="Show one run.")
@click.argument("run_id", metavar="ID")
@click.option("--arguments", is_flag=True, help="Also the arguments, which may hold secrets.")
@click.option("--result", is_flag=True, help="Also the result, which may hold secrets.")
@with_session
def get_run(session: Session, run_id: str, *, arguments: bool, result: bool) -> None:
    """Show one run: its record, why it is parked in full, and the traceback of its error."""
    run = session.dispatch.runs.get(run_id)
    hidden = [name for name, wanted in (("arguments", arguments), ("result", result)) if not wanted]
    output = session.output
    if output.as_json:
        output.document(run, without=hidden)
        return
    output.fields(_fields(run, session.insight.now()))
    print_values(output, run, [name for name in SECRET if name not in hidden])
    if run.detail:
        output.line(f"\n{run.detail.rstrip()}")
    if run.failure and run.failure.traceback:
        output.line(f"\n{run.failure.traceback.rstrip()}")


@runs.command("count", short_help="Count runs in each state.")
@click.option("--state", type=_STATES, help="Only this state.")
@click.option("--name", help="Only runs of this workflow.")
@with_session
def count_runs(session: Session, /, *, state: str | None, name: str | None) -> None:
    """Count runs in each state."""
    counts = session.dispatch.runs.count(state=state, name=name)
    if session.output.as_json:
        session.output.document(counts)
        return
    session.output.table(["state", number_column("runs")], [(one, f"{n:,}") for one, n in counts.items()], empty="")


def _why(run: Run) -> str:
    """Return what stopped a run, on one line; of one that goes on, its status."""
    return error_of(run.failure) or one_line(run.reason or run.status, 80)


def _fields(run: Run, now: datetime) -> list[tuple[str, Any]]:
    """Return a run's record for people; what is empty is not printed."""
    failure = run.failure
    return [
        ("id", run.id),
        ("name", run.name),
        ("version", run.version),
        ("state", run.shown),
        ("status", run.status),
        ("queue", run.queue),
        ("priority", run.priority or None),
        ("scope", run.scope.path),
        ("created", when(run.created_at, now)),
        ("began", when(run.started_at, now)),
        ("waiting since", when(run.waiting_since, now)),
        ("finished", when(run.finished_at, now)),
        ("generation", run.generation or None),
        ("parent", run.parent),
        ("forked from", run.forked_from),
        ("claims", run.token or None),
        ("crashes", run.crashes or None),
        ("worker", run.worker),
        ("idempotency key", run.idempotency_key),
        ("cancel requested", "yes" if run.cancel_requested else None),
        ("reason", run.reason),
        ("progress", None if run.progress is None else json.dumps(plain(run.progress))),
        ("error", f"{failure.type}: {failure.message}" if failure else None),
    ]
