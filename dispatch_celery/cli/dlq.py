"""``dispatch dlq``: list, get, count, replay, replay-all, purge."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import click

from dispatch_celery.cli.filters import dead_letter_filters, given, paging, scope_of
from dispatch_celery.cli.jobs import SECRET, error_of, job_fields, print_page
from dispatch_celery.cli.moments import stamp, when
from dispatch_celery.cli.output import Columns, Output, text_column
from dispatch_celery.cli.phrases import count_of
from dispatch_celery.cli.session import Session, with_session
from dispatch_celery.dlq.model import DeadLetter
from dispatch_celery.dlq.store import shown
from dispatch_celery.jobs.handle import JobHandle

__all__ = ["dlq"]


@click.group()
def dlq() -> None:
    """Look at dead letters, replay them, delete them."""


@dlq.command("list")
@dead_letter_filters
@paging
@with_session
def list_letters(session: Session, /, *, limit: int, cursor: str | None, **options: Any) -> None:
    """List dead letters, the latest first."""
    page = session.dispatch.dlq.list(limit=limit, cursor=cursor, **_filters(**options))
    columns: Columns = [
        "id",
        "kind",
        "name",
        "queue",
        "died (UTC)",
        text_column("reason"),
        text_column("error"),
        "replayed as",
    ]
    rows = [
        (
            letter.id,
            letter.kind,
            letter.name,
            letter.queue,
            stamp(letter.died_at),
            letter.reason,
            error_of(letter.failure),
            letter.replayed_as,
        )
        for letter in page
    ]
    print_page(session.output, page, columns, rows, without=(*SECRET, "attempts", "traceback", "raw", "job"))


@dlq.command("get")
@click.argument("letter_id", metavar="ID")
@with_session
def get_letter(session: Session, letter_id: str) -> None:
    """Show one dead letter, by its own id or its job's; a raw message is shown in part, its bytes are in --json."""
    letter = session.dispatch.dlq.get(letter_id)
    output = session.output
    if output.as_json:
        output.document(letter, without=SECRET)
        return
    now = session.insight.now()
    output.fields(
        [
            ("dead letter", letter.id),
            ("kind", letter.kind),
            ("died", when(letter.died_at, now)),
            ("reason", letter.reason),
            *([("queue", letter.queue), ("message", shown(letter.raw))] if letter.job is None else []),
        ]
    )
    if letter.job is not None:
        output.line("")
        output.fields(job_fields(letter.job, now))
    if letter.failure and letter.failure.traceback:
        output.line(f"\n{letter.failure.traceback.rstrip()}")


@dlq.command("count")
@dead_letter_filters
@with_session
def count_letters(session: Session, /, **options: Any) -> None:
    """Count dead letters."""
    _counted(session.output, session.dispatch.dlq.count(**_filters(**options)), "")


@dlq.command("replay")
@click.argument("letter_id", metavar="ID")
@click.option("--queue", help="Another queue than the old job's.")
@with_session
def replay_letter(session: Session, letter_id: str, *, queue: str | None) -> None:
    """Run a failed job again, as a new job that is linked to it. A second replay returns the first's."""
    handle = session.dispatch.dlq.replay(letter_id, queue=queue)
    if session.output.as_json:
        session.output.document({"id": letter_id, "replayed_as": handle.id, "state": handle.state()})
    else:
        session.output.line(f"{letter_id} is replayed as {handle.id}")


@dlq.command("replay-all")
@dead_letter_filters
@click.option("--limit", type=click.IntRange(1), default=1_000, show_default=True, help="Replay at most so many.")
@with_session
def replay_letters(session: Session, /, *, limit: int, **options: Any) -> None:
    """Replay every failed job that passes the filters and was not replayed yet."""
    handles: list[JobHandle[Any]] = session.dispatch.dlq.replay_all(limit=limit, **_filters(**options))
    if session.output.as_json:
        session.output.document({"count": len(handles), "replayed_as": [handle.id for handle in handles]})
        return
    session.output.table(["replayed as"], [(handle.id,) for handle in handles], empty="None to replay.")
    if len(handles) == limit:
        session.output.line("There may be more: run the command again.", style="dim")


@dlq.command("purge")
@click.argument("letter_id", metavar="ID", required=False)
@click.option("--all", "everything", is_flag=True, help="All that pass the filters.")
@dead_letter_filters
@click.option("--yes", is_flag=True, help="Do not ask.")
@with_session
def purge_letters(session: Session, /, letter_id: str | None, *, everything: bool, yes: bool, **options: Any) -> None:
    """Delete one dead letter, or all that pass the filters, with the records of their jobs. Cannot be undone."""
    service, filters = session.dispatch.dlq, _filters(**options)
    if (letter_id is None) != everything or (letter_id is not None and filters):
        raise click.UsageError("give one ID, or --all with filters")
    if not yes:
        what = (
            count_of(service.count(**filters), "dead letter")
            if letter_id is None
            else _described(service.get(letter_id))
        )
        click.confirm(f"Delete {what} for good, with the record of every job among them?", abort=True, err=True)
    _counted(session.output, service.purge(letter_id, **filters), " deleted")


def _described(letter: DeadLetter) -> str:
    return f"{letter.id} ({letter.name or letter.kind})"


def _counted(output: Output, count: int, words: str) -> None:
    if output.as_json:
        output.document({"count": count})
    else:
        output.line(f"{count_of(count, 'dead letter')}{words}")


def _filters(
    *,
    kind: str | None,
    name: str | None,
    queue: str | None,
    scope_app: str | None,
    scope_org: str | None,
    reason: str | None,
    error: str | None,
    after: datetime | None,
    before: datetime | None,
    replayed: bool | None,
) -> dict[str, Any]:
    return given(
        kind=kind,
        name=name,
        queue=queue,
        scope=scope_of(scope_app, scope_org),
        reason=reason,
        error=error,
        died_after=after,
        died_before=before,
        replayed=replayed,
    )
