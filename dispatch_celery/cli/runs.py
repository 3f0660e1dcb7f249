"""``dispatch runs``: list, get, count, start, cancel, resume, publish, timeline; ``undoing`` adds those about undos."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import click

from dispatch_celery.cli.events import payload_option, print_published
from dispatch_celery.cli.filters import given, paging
from dispatch_celery.cli.jobs import SECRET, error_of, print_moved, print_page, print_values
from dispatch_celery.cli.moments import stamp, when
from dispatch_celery.cli.output import Columns, number_column, text_column
from dispatch_celery.cli.plain import one_line, plain
from dispatch_celery.cli.session import Session, with_session
from dispatch_celery.cli.timeline import Timeline
from dispatch_celery.cli.undoing import compensate_run, retry_undo, skip_undo
from dispatch_celery.cli.values import json_object
from dispatch_celery.workflows.model import Run, RunState

__all__ = ["runs"]

_STATES = click.Choice([str(state) for state in RunState])


@click.group()
def runs() -> None:
    """Look at runs of workflows, start them, cancel them, let parked ones go on, undo what they have done."""


for command in (compensate_run, retry_undo, skip_undo):
    runs.add_command(command)


@runs.command("list")
@click.option("--state", type=_STATES, help="The state.")
@click.option("--name", help="The workflow's name.")
@paging
@with_session
def list_runs(session: Session, /, *, state: str | None, name: str | None, limit: int, cursor: str | None) -> None:
    """List runs, the newest first."""
    page = session.dispatch.runs.list(limit=limit, cursor=cursor, **given(state=state, name=name))
    columns: Columns = [
        "id",
        "name",
        number_column("version"),
        "queue",
        "state",
        "created (UTC)",
        text_column("why"),
    ]
    rows = [(run.id, run.name, run.version, run.queue, run.shown, stamp(run.created_at), _why(run)) for run in page]
    print_page(session.output, page, columns, rows, without=(*SECRET, "traceback"))


@runs.command("get")
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


@runs.command("count")
@click.option("--state", type=_STATES, help="Only this state.")
@click.option("--name", help="Only runs of this workflow.")
@with_session
def count_runs(session: Session, /, *, state: str | None, name: str | None) -> None:
    """Count runs in each state."""
    found = session.dispatch.runs.count(name=name)
    counts = {one: number for one, number in found.items() if state in (None, one)}
    if session.output.as_json:
        session.output.document(counts)
        return
    session.output.table(["state", number_column("runs")], [(one, f"{n:,}") for one, n in counts.items()], empty="")


@runs.command("start")
@click.argument("name", metavar="NAME")
@click.option(
    "--arguments",
    type=json_object,
    default="{}",
    metavar="JSON",
    help="The arguments by name, as one JSON object; '-' reads it from the standard input.",
)
@with_session
def start_run(session: Session, name: str, *, arguments: Mapping[str, Any]) -> None:
    """Start the latest version of a workflow that the app declares."""
    handle = session.dispatch.runs.start(name, **arguments)
    words = f"`{session.command} runs timeline {handle.id}` follows it"
    print_moved(session.output, handle.id, handle.state(), words)


@runs.command("cancel")
@click.argument("run_id", metavar="ID")
@click.option("--reason", default="", help="Why; it is kept in the record.")
@click.option("--discard-undo", is_flag=True, help="Leave what it has done as it is; nobody may hold the run.")
@with_session
def cancel_run(session: Session, run_id: str, *, reason: str, discard_undo: bool) -> None:
    """Cancel a run: at once if nobody holds it, else its worker is told. What can be undone is undone first."""
    state = session.dispatch.runs.cancel(run_id, reason=reason, discard_undo=discard_undo)
    words = "it undoes what it has done first"
    if state in (RunState.RUNNING, RunState.CANCELLED):
        words = "its worker was told to stop it" if state == RunState.RUNNING else "it will not go on"
    print_moved(session.output, run_id, state, words)


@runs.command("resume")
@click.argument("run_id", metavar="ID")
@with_session
def resume_run(session: Session, run_id: str) -> None:
    """Let a parked run go on: it is replayed, with the code that workers have now."""
    state = session.dispatch.runs.resume(run_id)
    print_moved(session.output, run_id, state, "the next free worker replays it")


@runs.command("publish")
@click.argument("run_id", metavar="ID")
@click.argument("name", metavar="NAME")
@payload_option
@with_session
def publish_to_run(session: Session, run_id: str, name: str, *, payload: Any) -> None:
    """Publish an event to one run, whatever key it waits for; it need not wait yet, nor exist."""
    event_id = session.dispatch.runs.publish(run_id, name, payload)
    print_published(session.output, event_id, f"a wait of {run_id} for {name!r} takes it")


@runs.command("timeline")
@click.argument("run_id", metavar="ID")
@click.option("--values", is_flag=True, help="Also what the calls returned, which may hold secrets.")
@with_session
def show_timeline(session: Session, run_id: str, *, values: bool) -> None:
    """Draw what a run has done and what it waits for: one row for each durable call. Times are UTC."""
    run, promises = session.dispatch.runs.get(run_id), session.dispatch.runs.timeline(run_id)
    insight = session.insight
    now, last_errors, members = insight.now(), insight.last_errors(run, promises), insight.members(run, promises)
    output = session.output
    if output.as_json:
        document = {"run": run, "records": promises, "members": members, "last_errors": last_errors, "now": now}
        output.document(document, without=(*SECRET, *([] if values else ["value"])))
        return
    drawn = Timeline(
        run=run,
        promises=promises,
        now=now,
        width=output.console.width,
        last_errors=last_errors,
        members=members,
        with_values=values,
        ascii_only=output.console.options.ascii_only,
    )
    output.lines(drawn.lines())


def _why(run: Run) -> str:
    """Return what stopped a run, on one line; empty for one that goes on."""
    return error_of(run.failure) or one_line(run.reason, 80)


def _fields(run: Run, now: datetime) -> list[tuple[str, Any]]:
    """Return a run's record for people; what is empty is not printed."""
    failure = run.failure
    return [
        ("id", run.id),
        ("name", run.name),
        ("version", run.version),
        ("state", run.shown),
        ("queue", run.queue),
        ("priority", run.priority or None),
        ("scope", run.scope.path),
        ("created", when(run.created_at, now)),
        ("began", when(run.started_at, now)),
        ("waiting since", when(run.waiting_since, now)),
        ("finished", when(run.finished_at, now)),
        ("claims", run.token or None),
        ("crashes", run.crashes or None),
        ("worker", run.worker),
        ("idempotency key", run.idempotency_key),
        ("cancel requested", "yes" if run.cancel_requested else None),
        ("reason", run.reason),
        ("status", run.status),
        ("progress", None if run.progress is None else json.dumps(plain(run.progress))),
        ("error", f"{failure.type}: {failure.message}" if failure else None),
    ]
