"""The commands of ``dispatch runs`` that give a run another past: fork, rewind, migrate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from dispatch_celery.cli.checking import misfit_of
from dispatch_celery.cli.jobs import print_moved
from dispatch_celery.cli.session import Session, with_session
from dispatch_celery.cli.values import json_object, json_of_call
from dispatch_celery.workflows.model import RunState

__all__ = ["fork_run", "migrate_run", "rewind_run"]


_once = click.option(
    "--idempotency-key",
    "key",
    help="A key of your choice: whoever got no answer asks again under it, and it is done once.",
)


@click.command("fork", short_help="Start another run with the past of this one.")
@click.argument("run_id", metavar="ID")
@click.option("--at", metavar="IDENTITY", help="The first call that happens again; by default, what has no outcome.")
@click.option(
    "--arguments",
    type=json_object,
    metavar="JSON",
    help="Arguments that take the place of the run's own, as one JSON object; '-' reads it from the standard input.",
)
@click.option(
    "--result",
    "results",
    type=json_of_call,
    multiple=True,
    metavar="IDENTITY=JSON",
    help="What a call that is taken over has returned instead, such as 'charge#1={\"paid\": 3}'; may be repeated.",
)
@click.option("--version", type=click.IntRange(1), help="The version of the workflow; by default the run's own.")
@_once
@with_session
def fork_run(
    session: Session,
    run_id: str,
    *,
    at: str | None,
    arguments: Mapping[str, Any] | None,
    results: tuple[tuple[str, Any], ...],
    version: int | None,
    key: str | None,
) -> None:
    """Start a run that has what another one recorded before a durable call, and goes on from there by itself.

    The first run is left as it is. What was under way is sent anew, and the fork undoes nothing of what it takes over.
    """
    edited = dict(results)
    if len(edited) < len(results):
        raise click.BadParameter("the result of one call is given twice", param_hint="--result")
    handle = session.dispatch.runs.fork(
        run_id, at, arguments=arguments, results=edited, version=version, idempotency_key=key
    )
    taken = "all that has an outcome" if at is None else f"what came before {at}"
    words = f"it has {taken} of {run_id}; `{session.command} runs timeline {handle.id}` follows it"
    print_moved(session.output, handle.id, handle.state(), words)


@click.command("rewind", short_help="Let a run go on from an earlier call.")
@click.argument("run_id", metavar="ID")
@click.option("--to", metavar="IDENTITY", help="The first call that happens again; by default all of them do.")
@click.option("--discard-undo", is_flag=True, help="Leave what happens again as it is, though it is not undone.")
@_once
@with_session
def rewind_run(session: Session, run_id: str, *, to: str | None, discard_undo: bool, key: str | None) -> None:
    """Take a run that is parked or has ended back to before a durable call, and let it go on from there.

    It keeps its id. That call and what followed happens again, under idempotency keys of its own; `runs timeline
    --previous` shows what is set aside.
    """
    state = session.dispatch.runs.rewind(run_id, to, discard_undo=discard_undo, idempotency_key=key)
    place = "from its start" if to is None else f"with {to}"
    words = f"the next free worker goes on {place}"
    print_moved(
        session.output, run_id, state, words if state == RunState.PENDING else "it was taken back under this key"
    )


@click.command("migrate", short_help="Pin a run to another version of its workflow.")
@click.argument("run_id", metavar="ID")
@click.argument("version", type=click.IntRange(1), metavar="VERSION")
@with_session
def migrate_run(session: Session, run_id: str, version: int) -> None:
    """Pin a run to another version of its workflow; a parked one goes on with it at once.

    `runs check-code --run ID --version VERSION` tells before whether that version fits what the run has recorded.
    """
    runs = session.dispatch.runs
    misfits = runs.check_code(run_id=run_id, version=version).bad
    state = runs.migrate(run_id, version)
    words = f"it goes on with version {version}{' when what it waits for has come' * (state == RunState.WAITING)}"
    words += "".join(f", but it {misfit_of(check)}" for check in misfits)
    print_moved(session.output, run_id, state, words)
