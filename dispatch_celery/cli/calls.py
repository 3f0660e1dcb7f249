"""The commands of ``dispatch runs`` about a run's durable calls: timeline, inspect."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import click

from dispatch_celery.cli.jobs import SECRET, print_values
from dispatch_celery.cli.moments import when
from dispatch_celery.cli.phrases import MADE_AT_ONCE, Member, hint_of
from dispatch_celery.cli.session import Session, with_session
from dispatch_celery.cli.stretches import begin_of
from dispatch_celery.cli.timeline import Timeline
from dispatch_celery.workflows.model import PromiseRecord

__all__ = ["inspect_call", "show_timeline"]


@click.command("timeline", short_help="Draw what a run has done and waits for.")
@click.argument("run_id", metavar="ID")
@click.option("--values", is_flag=True, help="Also what the calls returned, which may hold secrets.")
@click.option(
    "--previous", is_flag=True, help="What was set aside when the run began anew, or was rewound, the last time."
)
@with_session
def show_timeline(session: Session, run_id: str, *, values: bool, previous: bool) -> None:
    """Draw what a run has done and what it waits for: one row for each durable call. Times are UTC."""
    runs, insight, output = session.dispatch.runs, session.insight, session.output
    run = runs.get(run_id)
    before = runs.timeline(run.id, previous=True) if run.generation else []
    promises = before if previous else runs.timeline(run.id)
    now = insight.now()
    last_errors = insight.last_errors(run, promises, previous=previous)
    members = insight.members(run, promises, previous=previous)
    if output.as_json:
        document = {"run": run, "records": promises, "members": members, "last_errors": last_errors, "now": now}
        output.document(document, without=(*SECRET, *([] if values else ["value"])))
        return
    drawn = Timeline(
        run=run,
        promises=promises,
        now=now,
        width=output.console.width,
        since=begin_of(promises, [] if previous else before) if run.generation or run.forked_from else None,
        is_previous=previous,
        last_errors=last_errors,
        members=members,
        with_values=values,
        ascii_only=output.console.options.ascii_only,
    )
    output.lines(drawn.lines())


@click.command("inspect", short_help="Show one durable call of a run.")
@click.argument("run_id", metavar="ID")
@click.argument("identity", metavar="IDENTITY")
@click.option("--value", is_flag=True, help="Also what the call returned, which may hold secrets.")
@with_session
def inspect_call(session: Session, run_id: str, identity: str, *, value: bool) -> None:
    """Show one durable call of a run, such as 'charge#1': when, where, its value or the traceback of its error."""
    promise = session.dispatch.runs.inspect(run_id, identity)
    run, insight, output = session.dispatch.runs.get(run_id), session.insight, session.output
    member = insight.members(run, [promise]).get(promise.identity)
    last_error = insight.last_errors(run, [promise]).get(promise.identity)
    if output.as_json:
        document = {"run_id": run.id, "promise": promise, "member": member, "last_error": last_error}
        output.document(document, without=() if value else ("value",))
        return
    output.fields(_fields(promise, member, last_error, insight.now()))
    if value:
        print_values(output, promise, ["value"])
    if promise.failure and promise.failure.traceback:
        output.line(f"\n{promise.failure.traceback.rstrip()}")


def _fields(
    promise: PromiseRecord, member: Member | None, last_error: str | None, now: datetime
) -> list[tuple[str, Any]]:
    """Return a durable call for people; what is empty is not printed."""
    failure = promise.failure
    return [
        ("call", promise.identity),
        ("kind", promise.kind),
        ("status", promise.status),
        ("begun", when(promise.begun_at, now)),
        ("resolved", when(promise.resolved_at, now)),
        ("due", when(promise.due_at, now)),
        ("attempts", promise.attempts or None),
        ("value", _hint(promise)),
        ("worker", promise.worker),
        ("member", None if member is None else f"{member.id} ({member.state or 'its record is gone'})"),
        ("error", f"{failure.type}: {failure.message}" if failure else last_error),
    ]


def _hint(promise: PromiseRecord) -> str | None:
    """Return what kind of value a call has; the value itself where it is this package's own."""
    if promise.value is None:
        return None
    return str(promise.value) if promise.kind in MADE_AT_ONCE else hint_of(promise.value)
