"""``dispatch dlq``: list, groups, get, count, note; and of ``triage`` replay, replay-all, put-back, purge."""

from __future__ import annotations

from typing import Any

import click

from dispatch_celery.cli.filters import dead_letter_filters, dead_letters_asked_for, paging
from dispatch_celery.cli.jobs import SECRET, error_of, job_fields, print_page
from dispatch_celery.cli.meant import doubt_of_filters
from dispatch_celery.cli.moments import stamp, when
from dispatch_celery.cli.output import Columns, number_column, text_column
from dispatch_celery.cli.payloads import ShownArguments
from dispatch_celery.cli.phrases import count_of
from dispatch_celery.cli.plain import plain
from dispatch_celery.cli.session import Session, with_session
from dispatch_celery.cli.triage import (
    LETTER_SECRET,
    purge_letters,
    put_back_letters,
    replay_letter,
    replay_letters,
)
from dispatch_celery.cli.unfamiliar import tell
from dispatch_celery.dlq.records import shown

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
    page = session.dispatch.dlq.list(limit=limit, cursor=cursor, **dead_letters_asked_for(**options))
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
    print_page(session.output, page, columns, rows, without=LETTER_SECRET)
    if not rows:
        tell(session, doubt_of_filters(session, **options))


@dlq.command("get")
@click.argument("letter_id", metavar="ID")
@click.option("--arguments", is_flag=True, help="The arguments whole, also what is masked in them as secret.")
@with_session
def get_letter(session: Session, letter_id: str, *, arguments: bool) -> None:
    """Show one dead letter, by its own id or its job's; a raw message is shown in part, its bytes are in --json."""
    letter = session.dispatch.dlq.get(letter_id)
    output, job = session.output, letter.job
    reveal = f"{session.command} dlq get {letter.id} --arguments"
    called = None
    if job is not None:
        called = ShownArguments.of(session.masking, job.name, job.arguments, whole=arguments, reveal=reveal)
    if output.as_json:
        document = plain(letter, without=SECRET)
        if called is not None:
            document["job"] |= plain(called.fields)
        output.document(document)
        return
    now = session.insight.now()
    output.fields(
        [
            ("dead letter", letter.id),
            ("kind", letter.kind),
            ("origin", letter.origin),
            ("fingerprint", letter.fingerprint),
            ("died", when(letter.died_at, now)),
            ("reason", letter.reason),
            *(
                [("queue", letter.queue), ("put back", letter.replayed_as), ("message", shown(letter.raw))]
                if job is None
                else []
            ),
        ]
    )
    for note in letter.notes:
        output.line(f"note of {note.by or 'somebody'}, {stamp(note.at)}: {note.text}")
    if job is not None and called is not None:
        output.line("")
        output.fields(job_fields(job, now))
        called.print(output)
    if letter.failure and letter.failure.traceback:
        output.line(f"\n{letter.failure.traceback.rstrip()}")


@dlq.command("count")
@dead_letter_filters
@with_session
def count_letters(session: Session, /, **options: Any) -> None:
    """Count dead letters."""
    count = session.dispatch.dlq.count(**dead_letters_asked_for(**options))
    if session.output.as_json:
        session.output.document({"count": count})
    else:
        session.output.line(count_of(count, "dead letter"))


@dlq.command("groups")
@dead_letter_filters
@paging
@with_session
def group_letters(session: Session, /, *, limit: int, cursor: str | None, **options: Any) -> None:
    """Count dead letters by cause: those that died of the same have one fingerprint."""
    page = session.dispatch.dlq.groups(limit=limit, cursor=cursor, **dead_letters_asked_for(**options))
    columns: Columns = [
        "fingerprint",
        number_column("count"),
        "first (UTC)",
        "last (UTC)",
        text_column("names"),
        text_column("error of the last"),
    ]
    rows = [
        (
            group.fingerprint or "(none: an older release's)",
            group.count,
            stamp(group.first_died_at),
            stamp(group.last_died_at),
            ", ".join(f"{name or '?'} {count}" for name, count in group.names.items()),
            "" if group.sample is None else error_of(group.sample.failure) or group.sample.reason,
        )
        for group in page
    ]
    print_page(session.output, page, columns, rows, without=LETTER_SECRET)


@dlq.command("note")
@click.argument("letter_id", metavar="ID")
@click.argument("text")
@click.option("--by", help="Who says so; by default the user of this process.")
@with_session
def note_letter(session: Session, letter_id: str, text: str, *, by: str | None) -> None:
    """Write a note on one dead letter, for whoever looks at it next."""
    letter = session.dispatch.dlq.note(letter_id, text, by=by)
    if session.output.as_json:
        session.output.document({"id": letter.id, "notes": letter.notes})
    else:
        session.output.line(f"{letter.id} has {count_of(len(letter.notes), 'note')}")


for _command in (replay_letter, replay_letters, put_back_letters, purge_letters):
    dlq.add_command(_command)
