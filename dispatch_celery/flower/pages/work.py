"""What the pages of jobs and of runs have in common: their list with its filters, and how far one has come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from dispatch_celery.flower.pages.model import PAGE_SIZE, Choice, Filters, Query
from dispatch_celery.jobs.service import JobService
from dispatch_celery.store.paging import Page
from dispatch_celery.workflows.service import RunService

__all__ = ["WORK_FILTERS", "WorkList", "page_of", "share_done", "work_list"]

_TEXTS: Final = ("state", "name", "queue", "error")
WORK_FILTERS: Final = (*_TEXTS, "after", "before", "app", "org")
"""The names by which jobs and runs are looked for in an address."""


@dataclass(frozen=True, kw_only=True)
class WorkList:
    """One page of jobs, or of runs."""

    filters: Filters
    records: Sequence[Any]
    next_cursor: str | None
    is_first: bool
    counts: Mapping[Any, int]


def work_list(service: JobService | RunService, states: type[StrEnum], now: datetime, query: Query) -> WorkList:
    """Return the page that was asked for, with how many there are in each state."""
    page = page_of(service, query)
    return WorkList(
        filters=_filters(query, list(states), now),
        records=page.records,
        next_cursor=page.next_cursor,
        is_first=query.text("cursor") is None,
        counts=service.count(name=query.text("name")),
    )


def page_of(service: JobService | RunService, query: Query) -> Page[Any]:
    """Return the records that were asked for."""
    filters = query.filters(*_TEXTS, times=("created_after", "created_before"))
    return service.list(limit=PAGE_SIZE, cursor=query.text("cursor"), **filters)


def _filters(query: Query, states: Sequence[str], now: datetime) -> Filters:
    def choice(name: str, label: str, **more: Any) -> Choice:
        return Choice(name=name, label=label, value=query.text(name) or "", **more)

    return Filters(
        now=now,
        choices=[
            choice("state", "State", options=states),
            choice("name", "Name", hint="the whole name"),
            choice("queue", "Queue"),
            choice("error", "Error", hint="text in the error"),
            choice("after", "After", hint="2h, or 2026-01-31T12:00", is_further=True),
            choice("before", "Before", hint="15m, or a time in UTC", is_further=True),
            choice("app", "Tenant: app", is_further=True),
            choice("org", "Tenant: org", is_further=True),
        ],
    )


def share_done(progress: Any) -> float | None:
    """Return how far something has come, by what it reported of itself."""
    done, total = (progress or {}).get("done"), (progress or {}).get("total")
    if not isinstance(done, int | float) or not isinstance(total, int | float) or total <= 0:
        return None
    return min(1.0, max(0.0, done / total))
