"""``dispatch events``: publish, list, get."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import click

from dispatch_celery.cli.filters import given, paging, scope_of, tenant, within
from dispatch_celery.cli.jobs import print_page, print_values
from dispatch_celery.cli.moments import stamp, when
from dispatch_celery.cli.output import Columns, Output, text_column
from dispatch_celery.cli.session import Session, with_session
from dispatch_celery.cli.values import json_value
from dispatch_celery.ids import EventId
from dispatch_celery.scope import Scope, restored

__all__ = ["events", "payload_option", "print_published"]

_SECRET = ("payload",)

payload_option = click.option(
    "--payload",
    type=json_value,
    default="null",
    metavar="JSON",
    help="The payload, as one JSON value; '-' reads it from the standard input. The default is null.",
)


@click.group()
def events() -> None:
    """Publish events, and look at those that were published."""


@events.command("publish")
@click.argument("name", metavar="NAME")
@payload_option
@click.option("--key", help="The key: only runs that wait under it go on.")
@tenant
@with_session
def publish_event(
    session: Session, name: str, *, payload: Any, key: str | None, scope_app: str | None, scope_org: str | None
) -> None:
    """Publish an event by name; runs of the tenant that wait for its name and key go on.

    The payload is not checked here: a run that waits for another type is told so, and the event stays for others.
    """
    with restored(scope_of(scope_app, scope_org) or Scope()):
        event_id = session.dispatch.events.publish(name, payload, key=key)
    under = "without a key" if key is None else f"under the key {key!r}"
    print_published(session.output, event_id, f"runs that wait for {name!r} {under} go on")


@events.command("list")
@click.option("--name", help="The event's name.")
@click.option("--key", help="The key; with --name, in the tenant that --scope-app and --scope-org name, or in none.")
@tenant
@within("Published")
@paging
@with_session
def list_events(
    session: Session,
    /,
    *,
    scope_app: str | None,
    scope_org: str | None,
    after: datetime | None,
    before: datetime | None,
    limit: int,
    cursor: str | None,
    **filters: str | None,
) -> None:
    """List events, the newest first."""
    chosen = given(scope=scope_of(scope_app, scope_org), published_after=after, published_before=before, **filters)
    page = session.dispatch.events.list(limit=limit, cursor=cursor, **chosen)
    columns: Columns = ["id", text_column("name"), text_column("key"), "scope", "published (UTC)"]
    rows = [(one.id, one.name, one.key, one.scope.path, stamp(one.published_at)) for one in page]
    print_page(session.output, page, columns, rows, without=_SECRET)


@events.command("get")
@click.argument("event_id", metavar="ID")
@click.option("--payload", is_flag=True, help="Also the payload, which may hold secrets.")
@with_session
def get_event(session: Session, event_id: str, *, payload: bool) -> None:
    """Show one event."""
    event, output = session.dispatch.events.get(event_id), session.output
    if output.as_json:
        output.document(event, without=() if payload else _SECRET)
        return
    output.fields(
        [
            ("id", event.id),
            ("name", event.name),
            ("key", event.key),
            ("scope", event.scope.path),
            ("published", when(event.published_at, session.insight.now())),
        ]
    )
    print_values(output, event, _SECRET if payload else ())


def print_published(output: Output, event_id: EventId, words: str) -> None:
    """Print that an event is stored."""
    if output.as_json:
        output.document({"id": event_id})
    else:
        output.line(f"{event_id} is published: {words}")
