"""The commands of ``dispatch runs`` about what runs undo: compensate, retry-undo, skip-undo."""

from __future__ import annotations

import click

from dispatch_celery.cli.jobs import print_moved
from dispatch_celery.cli.session import Session, with_session
from dispatch_celery.workflows.model import RunState

__all__ = ["compensate_run", "retry_undo", "skip_undo"]

_NEXT = "the next free worker goes on with its undos"


@click.command("compensate", short_help="Undo what a run did, also after its end.")
@click.argument("run_id", metavar="ID")
@click.option("--reason", default="compensated by request", help="Why; it is kept in the record.")
@with_session
def compensate_run(session: Session, run_id: str, *, reason: str) -> None:
    """Undo what a run has done, also one that has completed, and end it as cancelled."""
    state = session.dispatch.runs.compensate(run_id, reason=reason)
    words = {
        RunState.RUNNING: "its worker was told to stop it, and undoes what it has done",
        RunState.CANCELLED: "nothing is left to undo",
    }
    print_moved(session.output, run_id, state, words.get(state, "the next free worker undoes what it has done"))


@click.command("retry-undo", short_help="Try the undo again that was given up.")
@click.argument("run_id", metavar="ID")
@with_session
def retry_undo(session: Session, run_id: str) -> None:
    """Try the undo again that was given up, with new attempts; the run is parked for it."""
    print_moved(session.output, run_id, session.dispatch.runs.retry_undo(run_id), _NEXT)


@click.command("skip-undo", short_help="Strike off one undo of a parked run.")
@click.argument("run_id", metavar="ID")
@click.argument("identity", metavar="IDENTITY")
@with_session
def skip_undo(session: Session, run_id: str, identity: str) -> None:
    """Strike off one undo of a parked run, such as 'charge#1': it is not needed, or was done by hand."""
    state = session.dispatch.runs.skip_undo(run_id, identity)
    words = "that undo is skipped; what the run is parked for remains" if state == RunState.PARKED else _NEXT
    print_moved(session.output, run_id, state, words)
