"""``dispatch events``: publish, list, get."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import click

from dispatch_celery.cli.filters import given, paging, scope_of, tenant
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
    with _within(scope_app, scope_org):
        event_id = session.dispatch.events.publish(name, payload, key=key)
    under = "without a key" if key is None else f"under the key {key!r}"
    print_published(session.output, event_id, f"runs that wait for {name!r} {under} go on")


@events.command("list")
@click.option("--name", help="Only of this name, without a key unless --key names one.")
@click.option("--key", help="Only under this key; with --name.")
@tenant
@paging
@with_session
def list_events(
    session: Session,
    /,
    *,
    name: str | None,
    key: str | None,
    scope_app: str | None,
    scope_org: str | None,
    limit: int,
    cursor: str | None,
) -> None:
    """List events, the newest first: all of them, or those of one name and key in a tenant."""
    if name is None and (key, scope_app, scope_org) != (None, None, None):
        raise click.UsageError("--key, --scope-app and --scope-org choose among the events of one name: give --name")
    with _within(scope_app, scope_org):
        page = session.dispatch.events.list(limit=limit, cursor=cursor, **given(name=name, key=key))
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


def _within(app: str | None, org: str | None) -> AbstractContextManager[Scope]:
    return restored(scope_of(app, org) or Scope())
