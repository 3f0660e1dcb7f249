"""Cron: entries with their next and last fires, and one entry with its history. Shown where the app has ``crons``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, cast

from dispatch_celery.flower.buttons import Button, of_cron
from dispatch_celery.flower.desk import Desk
from dispatch_celery.flower.pages.model import PAGE_SIZE, Choice, Filters, Page, Query, Row

__all__ = ["CRON", "CRONS", "CronList", "CronView"]

_STATES: Final = ("enabled", "disabled", "orphaned", "finished")


@dataclass(frozen=True, kw_only=True)
class CronList:
    """One page of entries."""

    filters: Filters
    crons: Sequence[Any]
    next_cursor: str | None
    is_first: bool

    def buttons_at(self, cron: Any) -> Sequence[Button]:
        """Return what can be done with an entry."""
        return of_cron(cron)


@dataclass(frozen=True, kw_only=True)
class CronView:
    """One entry."""

    cron: Any
    now: datetime
    arguments: str

    @property
    def buttons(self) -> Sequence[Button]:
        """What can be done with it as it stands."""
        return of_cron(self.cron)

    @property
    def rows(self) -> Sequence[Row]:
        """Its record; what is empty is not shown."""
        cron = self.cron
        rows = (
            Row("Schedule", cron.schedule, "code"),
            Row("Zone", cron.timezone),
            Row("Creates", cron.template.name),
            Row("Queue", cron.template.queue),
            Row("Tenant", cron.scope.path),
            Row("Misfire", str(cron.misfire)),
            Row("Overlap", str(cron.overlap)),
            Row("Origin", cron.origin),
            Row("Next fire", cron.next_fire_at, "time"),
            Row("Last fire", cron.last_fire_at, "time"),
            Row("Last created", cron.last_id, "id"),
            Row("Last run by hand", cron.triggered_id, "id"),
            Row("Orphaned", cron.orphaned_at, "time"),
            Row("Disabled", cron.disabled_at, "time"),
            Row("Created", cron.created_at, "time"),
            Row("Edited", cron.updated_at, "time"),
            Row("Edits", cron.revision),
        )
        return [row for row in rows if row.is_shown]


def _list(desk: Desk, query: Query) -> CronList:
    crons, cursor = cast("Any", desk.dispatch).crons, query.text("cursor")
    page = crons.list(limit=PAGE_SIZE, cursor=cursor, **query.filters("state", "target", "origin"))
    fields: Sequence[tuple[str, str, Sequence[str]]] = (
        ("state", "State", _STATES),
        ("target", "Creates", ()),
        ("origin", "Origin", ("code", "api")),
        ("app", "Tenant: app", ()),
        ("org", "Tenant: org", ()),
    )
    choices = [
        Choice(name=name, label=label, value=query.text(name) or "", options=options, is_further=label[0] == "T")
        for name, label, options in fields
    ]
    return CronList(
        filters=Filters(choices=choices, now=desk.now()),
        crons=page.records,
        next_cursor=page.next_cursor,
        is_first=cursor is None,
    )


def _one(desk: Desk, _: Query, cron_id: str) -> CronView:
    cron, masking = cast("Any", desk.dispatch).crons.get(cron_id), desk.masking
    template = cron.template
    arguments = masking.arguments(template.name, cron.arguments, template.version)
    return CronView(cron=cron, now=desk.now(), arguments=masking.text(arguments))


CRONS: Final = Page(key="crons", title="Cron", template="crons.html", read=_list, menu="crons", service="crons")
CRON: Final = Page(
    key="crons", title="Cron entry", template="cron.html", read=_one, ids=1, menu="crons", service="crons"
)
