"""``dispatch cron``: list, show, next, register, enable, disable, trigger, delete."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import reduce
from shlex import quote
from typing import Any, TypeVar

import click

from dispatch_celery.cli.cron_entries import arguments_of, cron_record, print_entry
from dispatch_celery.cli.explaining_crons import comes_back, enable_words, nobody_fires, since_disabled
from dispatch_celery.cli.filters import given, paging, scope_of, tenant
from dispatch_celery.cli.meant import or_similar_entry
from dispatch_celery.cli.moments import local, moment_ahead, moment_to_come, stamp, when
from dispatch_celery.cli.output import Columns, number_column, text_column
from dispatch_celery.cli.payloads import refuse_pasted_masks
from dispatch_celery.cli.session import Session, with_session
from dispatch_celery.cli.unfamiliar import doubt_of_target, quiet, tell
from dispatch_celery.cli.values import json_object
from dispatch_celery.cron.model import CronEntry, CronState, Overlap
from dispatch_celery.cron.service import CronService
from dispatch_celery.store.paging import Page

__all__ = ["cron"]

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS = (
    click.option("--arguments", type=json_object, metavar="JSON", help="What it is called with, as one JSON object."),
    click.option("--timezone", help="The zone of the schedule; Celery's by default."),
    click.option("--misfire", default="once", show_default=True, help="Of missed slots: skip, once, or all(n)."),
    click.option(
        "--overlap",
        type=click.Choice([str(one) for one in Overlap]),
        default="allow",
        show_default=True,
        help="While what it created last has not ended.",
    ),
    click.option("--jitter", type=float, default=0.0, help="Seconds by which a slot is delayed at most."),
    click.option(
        "--start",
        type=moment_ahead,
        help="Its first slot is not before: ISO 8601 (UTC), or how long from now on (15m, 2h, 3d).",
    ),
    click.option("--end", type=moment_to_come, help="Its last slot is not after, likewise; not in the past."),
)


def _as_registered(command: F) -> F:
    return reduce(lambda found, option: option(found), reversed(_OPTIONS), command)


_revision = click.option("--revision", type=int, help="The revision you have seen: refused if it was edited since.")


@click.group()
def cron() -> None:
    """Look at cron entries, register and edit them, run them now."""


@cron.command("list")
@click.option("--state", type=click.Choice([str(one) for one in CronState]), help="Whether it fires.")
@click.option("--target", help="The job or workflow.")
@click.option("--origin", type=click.Choice(["code", "api"]), help="Where it comes from.")
@tenant
@paging
@with_session
def list_entries(
    session: Session,
    /,
    *,
    scope_app: str | None,
    scope_org: str | None,
    limit: int,
    cursor: str | None,
    **filters: str | None,
) -> None:
    """List entries, the newest first."""
    chosen = given(scope=scope_of(scope_app, scope_org), **filters)
    page = session.dispatch.crons.list(limit=limit, cursor=cursor, **chosen)
    _print_entries(session, page)
    tell(session, _unfired(session, page))


def _print_entries(session: Session, page: Page[CronEntry]) -> None:
    output = session.output
    if output.as_json:
        output.document({"records": [cron_record(entry) for entry in page], "next_cursor": page.next_cursor})
        return
    columns: Columns = [
        "name",
        "state",
        "schedule",
        "timezone",
        text_column("target"),
        "next (UTC)",
        "last (UTC)",
        number_column("revision"),
    ]
    rows = [
        (
            entry.name,
            entry.state,
            entry.schedule,
            entry.timezone,
            entry.template.name,
            stamp(entry.next_fire_at) or since_disabled(entry),
            stamp(entry.last_fire_at),
            entry.revision,
        )
        for entry in page
    ]
    output.table(columns, rows, empty="None found so far." if page.next_cursor else "None.")
    disabled = [entry for entry in page if entry.state == CronState.DISABLED]
    if disabled:
        says = "1 of these is disabled" if len(disabled) == 1 else f"{len(disabled):,} of these are disabled"
        output.line(f"{says}, and not fired: {enable_words(disabled[0], session.command)}.")
    if page.next_cursor:
        output.line(f"There may be more: --cursor '{page.next_cursor}'", style="dim")


def _unfired(session: Session, page: Page[CronEntry]) -> str:
    """Return that nobody fires what is listed, and what to do; empty where somebody does, or nothing waits."""
    if not any(entry.next_fire_at is not None for entry in page):
        return ""
    says = nobody_fires(session.dispatch.crons.census(), session.insight.now())
    return f"{says}; `{session.command} doctor` says what to do" if says else ""


@cron.command("show")
@click.argument("name", metavar="NAME_OR_ID")
@click.option("--arguments", is_flag=True, help="The arguments whole, also what is masked in them as secret.")
@with_session
def show_entry(session: Session, name: str, *, arguments: bool) -> None:
    """Show one entry, with its arguments, its last fires and its next ones."""
    with or_similar_entry(session, name):
        entry = session.dispatch.crons.get(name)
    shown = arguments_of(entry, session.masking, whole=arguments, command=session.command)
    print_entry(session.output, entry, shown, now=session.insight.now(), command=session.command)


@cron.command("next")
@click.argument("name", metavar="NAME_OR_ID")
@click.option("--count", type=click.IntRange(1, 100), default=5, show_default=True, help="How many.")
@with_session
def next_fires(session: Session, name: str, *, count: int) -> None:
    """Print the next moments of an entry's schedule, whether it is enabled or not."""
    with or_similar_entry(session, name):
        zone = session.dispatch.crons.get(name).timezone
        found = session.dispatch.crons.upcoming(name, count=count)
    if session.output.as_json:
        session.output.document({"name": name, "next_fires": found})
        return
    now = session.insight.now()
    session.output.table(
        ["next"], [(when(one, now) + local(one, zone),) for one in found], empty="None: its schedule has ended."
    )


@cron.command("register")
@click.argument("name", metavar="NAME")
@click.argument("schedule", metavar="SCHEDULE")
@click.argument("target", metavar="JOB_OR_WORKFLOW")
@_as_registered
@tenant
@_revision
@with_session
def register_entry(
    session: Session,
    /,
    name: str,
    schedule: str,
    target: str,
    *,
    jitter: float,
    scope_app: str | None,
    scope_org: str | None,
    **options: Any,
) -> None:
    """Register an entry, or edit the one of that name; a whole entry is given each time.

    SCHEDULE: five cron fields, or six with the seconds first, in quotes; @hourly and kin; '@every 30s'.
    """
    chosen = given(scope=scope_of(scope_app, scope_org), **options)
    refuse_pasted_masks(options["arguments"], f"{session.command} cron show {quote(name)} --arguments")
    with quiet(CronService.__module__):
        entry = session.dispatch.crons.register(name, schedule, target, jitter=timedelta(seconds=jitter), **chosen)
    _told(session, entry, f"is registered, at revision {entry.revision}")
    tell(session, doubt_of_target(session, target))


@cron.command("enable")
@click.argument("name", metavar="NAME_OR_ID")
@_revision
@with_session
def enable_entry(session: Session, name: str, *, revision: int | None) -> None:
    """Let an entry fire again, from its first slot after now."""
    with or_similar_entry(session, name):
        entry = session.dispatch.crons.enable(name, revision=revision)
    _told(session, entry, "is enabled")


@cron.command("disable")
@click.argument("name", metavar="NAME_OR_ID")
@_revision
@with_session
def disable_entry(session: Session, name: str, *, revision: int | None) -> None:
    """Pause an entry; what it has created goes on."""
    with or_similar_entry(session, name):
        entry = session.dispatch.crons.disable(name, revision=revision)
    _told(session, entry, "is disabled")


@cron.command("trigger")
@click.argument("name", metavar="NAME_OR_ID")
@with_session
def trigger_entry(session: Session, name: str) -> None:
    """Run an entry now; its slots stay as they are."""
    with or_similar_entry(session, name):
        work_id = session.dispatch.crons.trigger(name)
    if session.output.as_json:
        session.output.document({"name": name, "id": work_id})
    else:
        session.output.line(f"{name} runs now, as {work_id}")


@cron.command("delete")
@click.argument("name", metavar="NAME_OR_ID")
@_revision
@click.option("--yes", is_flag=True, help="Do not ask.")
@with_session
def delete_entry(session: Session, name: str, *, revision: int | None, yes: bool) -> None:
    """Delete an entry; what it has created goes on. One that code declares comes back when a worker starts."""
    with or_similar_entry(session, name):
        entry = session.dispatch.crons.get(name)
    instead = comes_back(entry, session.command)
    if not yes:
        if instead:
            click.echo(instead, err=True)
        what = f"{entry.name!r} ({entry.schedule}, {entry.template.name})"
        click.confirm(f"Delete the cron entry {what}?", abort=True, err=True)
    session.dispatch.crons.delete(entry.id, revision=revision)
    if session.output.as_json:
        session.output.document({"id": entry.id, "name": entry.name, "comes_back": bool(instead)})
    else:
        session.output.line(f"{entry.name} is deleted{f'. {instead}' if instead and yes else ''}")


def _told(session: Session, entry: CronEntry, words: str) -> None:
    if session.output.as_json:
        session.output.document(cron_record(entry))
        return
    session.output.line(f"{entry.name} {words}: {_following(session, entry)}")


def _following(session: Session, entry: CronEntry) -> str:
    if entry.state == CronState.DISABLED:
        return f"it does not fire; {enable_words(entry, session.command)}"
    at = f"{when(entry.next_fire_at, session.insight.now())}{local(entry.next_fire_at, entry.timezone)}"
    return f"it fires {at or 'never, as it stands'}"
