"""What ``dispatch dlq`` changes: replay, replay-all, put-back, purge; each shows first, with ``--dry-run``."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

import click

from dispatch_celery.cli.filters import dead_letter_filters, dead_letters_asked_for
from dispatch_celery.cli.jobs import SECRET, error_of
from dispatch_celery.cli.masking import Masking
from dispatch_celery.cli.meant import doubt_of_filters, doubt_of_new_queue
from dispatch_celery.cli.moments import duration, span, stamp
from dispatch_celery.cli.output import Output, text_column
from dispatch_celery.cli.payloads import ShownArguments, refuse_pasted_masks
from dispatch_celery.cli.phrases import count_of
from dispatch_celery.cli.progress import bar
from dispatch_celery.cli.session import Session, with_session
from dispatch_celery.cli.unfamiliar import tell
from dispatch_celery.cli.values import json_object
from dispatch_celery.dlq.model import DeadLetter, DeadLetterKind, ReplayPreview
from dispatch_celery.dlq.pacing import due_times
from dispatch_celery.dlq.selection import BulkProgress, DeadLetterSelection
from dispatch_celery.errors import DeadLetterNotFound
from dispatch_celery.ids import JobId

__all__ = ["LETTER_SECRET", "purge_letters", "put_back_letters", "replay_letter", "replay_letters"]

LETTER_SECRET = (*SECRET, "attempts", "traceback", "raw", "job")
"""What lists of dead letters leave out."""

_ONE_OR_ALL: Final = "give one ID alone, or --all with filters, to which --dry-run belongs"

_dry_run = click.option("--dry-run", is_flag=True, help="Count them, show the latest, and change nothing.")


@click.command("replay")
@click.argument("letter_id", metavar="ID")
@click.option("--arguments", type=json_object, help="All arguments, as one JSON object; '-' reads it.")
@click.option("--queue", help="Another queue than the old job's.")
@click.option("--delay", type=duration, help="How long until the new job is due: 90s, 15m, 2h, 3d.")
@click.option("--force", is_flag=True, help="Also if no live worker knows the job's name.")
@click.option("--dry-run", is_flag=True, help="Check it, show the new job, and change nothing.")
@with_session
def replay_letter(
    session: Session,
    /,
    letter_id: str,
    *,
    arguments: Mapping[str, Any] | None,
    dry_run: bool,
    **how: Any,
) -> None:
    """Run a failed job again, as a new job that is linked to it. A second replay returns the first's."""
    service, output = session.dispatch.dlq, session.output
    reveal = f"{session.command} dlq get {letter_id} --arguments"
    refuse_pasted_masks(arguments, reveal)
    if dry_run:
        found = service.preview(letter_id, arguments=arguments, **how)
        _refuse_itself(session, letter_id, found.job_id)
        _print_replay(output, letter_id, found, how["delay"], session.masking, reveal)
        tell(session, doubt_of_new_queue(session, how["queue"] if found.job_id is None else None))
        return
    doubt = doubt_of_new_queue(session, how["queue"])  # before its job makes the queue a known one
    handle = service.replay(letter_id, arguments=arguments, **how)
    _refuse_itself(session, letter_id, handle.id)
    if output.as_json:
        output.document({"id": letter_id, "replayed_as": handle.id, "state": handle.state()})
    else:
        output.line(f"{letter_id} is replayed as {handle.id}")
    tell(session, doubt)


def _refuse_itself(session: Session, letter_id: str, found: JobId | None) -> None:
    """Refuse what the API takes for done: a replay whose job is the same one, for it never died or was retried since.

    Raises:
        DeadLetterNotFound: it is.
    """
    if found is not None and found.endswith(letter_id.partition("_")[2]):
        state = session.dispatch.jobs.get(found).state
        raise DeadLetterNotFound(
            f"{found} is no dead letter, or none any more: it is {state}; there is nothing to replay"
        )


def _print_replay(
    output: Output, letter_id: str, found: ReplayPreview, delay: timedelta | None, masking: Masking, reveal: str
) -> None:
    """Print what a replay would do."""
    called = ShownArguments.of(masking, found.name, found.arguments, whole=False, reveal=reveal)
    if output.as_json:
        facts = {"name": found.name, "queue": found.queue, "delay": delay, **called.fields}
        output.document({"id": letter_id, "dry_run": True, "replayed_as": found.job_id, **facts})
    elif found.job_id is not None:
        output.line(f"{letter_id} was replayed before: this would return {found.job_id} and make nothing")
    else:
        due = f", due in {span(delay)}" if delay else ""
        output.line(f"{letter_id} would be replayed as a new job {found.name} in the queue {found.queue}{due}")
        called.print(output)
        output.line("Nothing was changed.")


@click.command("replay-all")
@dead_letter_filters
@click.option("--limit", type=click.IntRange(1), default=1_000, show_default=True, help="Replay at most so many.")
@click.option("--rate", help="Spread the new jobs' due times: 10/s, 300/m.")
@_dry_run
@with_session
def replay_letters(session: Session, /, *, limit: int, rate: str | None, dry_run: bool, **options: Any) -> None:
    """Replay every failed job that passes the filters and was not replayed yet."""
    service, output = session.dispatch.dlq, session.output
    filters = dead_letters_asked_for(**options)
    due_times(rate)
    if dry_run:
        chosen = service.select(**{"kind": DeadLetterKind.JOB, "replayed": False, **filters})
        if not _preview(output, chosen, "replayed", most=limit):
            tell(session, doubt_of_filters(session, **filters))
        return
    with bar(output, "replaying") as follower:
        jobs, done = service.select(**filters).replayed(limit=limit, rate=rate, on_progress=follower)
    if not jobs and not done.refused:
        tell(session, doubt_of_filters(session, **filters))
    if output.as_json:
        output.document({"count": len(jobs), "replayed_as": jobs, "refused": done.refused})
        return
    output.table(["replayed as"], [(job_id,) for job_id in jobs], empty="None to replay.")
    for name, why in done.refused.items():
        output.line(f"{name} is not replayed: {why}")
    if len(jobs) == limit:
        output.line("There may be more: run the command again.", style="dim")


@click.command("put-back")
@click.argument("letter_id", metavar="ID", required=False)
@click.option("--all", "everything", is_flag=True, help="All messages that pass the filters.")
@dead_letter_filters
@click.option("--to", "target", metavar="QUEUE", help="Of one message: another queue than it came from.")
@click.option("--force", is_flag=True, help="Also what was, or may have been, put back before.")
@_dry_run
@with_session
def put_back_letters(
    session: Session,
    /,
    letter_id: str | None,
    *,
    everything: bool,
    target: str | None,
    force: bool,
    dry_run: bool,
    **options: Any,
) -> None:
    """Put messages that never became jobs back into their queues, as they came, each once: after a deploy."""
    service, output = session.dispatch.dlq, session.output
    filters = dead_letters_asked_for(**options)
    if letter_id is not None and not everything and not filters and not dry_run:
        letter = service.put_back(letter_id, queue=target, force=force)
        words = f"{letter.id} is back in the queue {target or letter.queue} since {letter.replayed_as}"
        _told(output, {"id": letter.id, "put_back_at": letter.replayed_as}, words)
        return
    if letter_id is not None or not everything or target is not None:
        raise click.UsageError(_ONE_OR_ALL)
    asked = {"kind": DeadLetterKind.MESSAGE, **({} if force else {"replayed": False}), **filters}
    if dry_run:
        _preview(output, service.select(**asked), "put back")
        return
    with bar(output, "putting back") as follower:
        done = service.select(**asked).put_back(force=force, on_progress=follower)
    _done(output, done, "put back")


@click.command("purge")
@click.argument("letter_id", metavar="ID", required=False)
@click.option("--all", "everything", is_flag=True, help="All that pass the filters.")
@dead_letter_filters
@_dry_run
@click.option("--yes", is_flag=True, help="Do not ask.")
@with_session
def purge_letters(
    session: Session, /, letter_id: str | None, *, everything: bool, dry_run: bool, yes: bool, **options: Any
) -> None:
    """Delete one dead letter, or all that pass the filters, with the records of their jobs. Cannot be undone."""
    service, output, filters = session.dispatch.dlq, session.output, dead_letters_asked_for(**options)
    if (letter_id is None) != everything or (letter_id is not None and (filters or dry_run)):
        raise click.UsageError(_ONE_OR_ALL)
    if dry_run:
        _preview(output, service.select(**filters), "deleted")
        return
    if not yes:
        what = (
            count_of(service.count(**filters), "dead letter")
            if letter_id is None
            else _described(service.get(letter_id))
        )
        click.confirm(f"Delete {what} for good, with the record of every job among them?", abort=True, err=True)
    if letter_id is not None:
        count = service.purge(letter_id)
    else:
        with bar(output, "deleting") as follower:
            count = service.select(**filters).purge(on_progress=follower).changed
    _told(output, {"count": count}, f"{count_of(count, 'dead letter')} deleted")


def _described(letter: DeadLetter) -> str:
    return f"{letter.id} ({letter.name or letter.kind})"


def _preview(output: Output, chosen: DeadLetterSelection, done: str, *, most: int | None = None) -> int:
    """Print what would be changed: ``most`` at once, of all that pass; return how many that are."""
    found = chosen.preview()
    count = found.count if most is None else min(found.count, most)
    if output.as_json:
        output.document({"dry_run": True, "count": count, "sample": found.sample}, without=LETTER_SECRET)
        return count
    rows = [
        (one.id, one.name, one.queue, stamp(one.died_at), one.reason, error_of(one.failure)) for one in found.sample
    ]
    if rows:
        output.table(["id", "name", "queue", "died (UTC)", text_column("reason"), text_column("error")], rows, empty="")
    of_all = f" of {found.count:,} that pass" if count < found.count else ""
    output.line(f"{count_of(count, 'dead letter')}{of_all} would be {done}; nothing was changed")
    return count


def _done(output: Output, done: BulkProgress, words: str) -> None:
    """Print what a bulk operation did, and what it refused."""
    refused = [f"{name}: {why}" for name, why in done.refused.items()]
    told = "\n".join([f"{count_of(done.changed, 'dead letter')} {words}", *refused])
    _told(output, {"count": done.changed, "refused": done.refused}, told)


def _told(output: Output, document: Mapping[str, Any], words: str) -> None:
    if output.as_json:
        output.document(document)
    else:
        output.line(words)
