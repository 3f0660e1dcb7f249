"""Events: what was published, under which name and key, with its payload masked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from dispatch_celery.events.model import EventRecord
from dispatch_celery.flower.desk import Desk
from dispatch_celery.flower.pages.model import PAGE_SIZE, Choice, Filters, Page, Query

__all__ = ["EVENT", "EVENTS", "EventList", "EventView"]

_TIMES: Final = ("published_after", "published_before")


@dataclass(frozen=True, kw_only=True)
class EventList:
    """One page of events."""

    filters: Filters
    events: Sequence[EventRecord]
    next_cursor: str | None
    is_first: bool


@dataclass(frozen=True, kw_only=True)
class EventView:
    """One event."""

    event: EventRecord
    payload: str


def _list(desk: Desk, query: Query) -> EventList:
    cursor = query.text("cursor")
    page = desk.dispatch.events.list(limit=PAGE_SIZE, cursor=cursor, **query.filters("name", "key", times=_TIMES))
    fields = (
        ("name", "Name", "the whole name"),
        ("key", "Key", ""),
        ("after", "After", "2h, or 2026-01-31T12:00"),
        ("before", "Before", "15m, or a time in UTC"),
        ("app", "Tenant: app", ""),
        ("org", "Tenant: org", ""),
    )
    choices = [
        Choice(name=name, label=label, value=query.text(name) or "", hint=hint, is_further=place > 3)
        for place, (name, label, hint) in enumerate(fields)
    ]
    return EventList(
        filters=Filters(choices=choices, now=desk.now()),
        events=page.records,
        next_cursor=page.next_cursor,
        is_first=cursor is None,
    )


def _one(desk: Desk, _: Query, event_id: str) -> EventView:
    event = desk.dispatch.events.get(event_id)
    return EventView(event=event, payload=desk.masking.text(desk.masking.value(event.payload)))


EVENTS: Final = Page(key="events", title="Events", template="events.html", read=_list, menu="events")
EVENT: Final = Page(key="events", title="Event", template="event.html", read=_one, ids=1, menu="events")
