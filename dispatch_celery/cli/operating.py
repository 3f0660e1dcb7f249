"""The commands of ``dispatch runs`` that begin a run or move it on: start, cancel, resume, publish."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from dispatch_celery.cli.events import payload_option, print_published
from dispatch_celery.cli.jobs import print_moved
from dispatch_celery.cli.session import Session, with_session
from dispatch_celery.cli.values import json_object
from dispatch_celery.workflows.model import RunState

__all__ = ["cancel_run", "publish_to_run", "resume_run", "start_run"]


@click.command("start", short_help="Start a workflow.")
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


@click.command("cancel", short_help="Cancel a run; what it did is undone first.")
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


@click.command("resume", short_help="Let a parked run go on.")
@click.argument("run_id", metavar="ID")
@with_session
def resume_run(session: Session, run_id: str) -> None:
    """Let a parked run go on: it is replayed, with the code that workers have now."""
    state = session.dispatch.runs.resume(run_id)
    print_moved(session.output, run_id, state, "the next free worker replays it")


@click.command("publish", short_help="Publish an event to one run.")
@click.argument("run_id", metavar="ID")
@click.argument("name", metavar="NAME")
@payload_option
@with_session
def publish_to_run(session: Session, run_id: str, name: str, *, payload: Any) -> None:
    """Publish an event to one run, whatever key it waits for; it need not wait yet, nor exist."""
    event_id = session.dispatch.runs.publish(run_id, name, payload)
    print_published(session.output, event_id, f"a wait of {run_id} for {name!r} takes it")
