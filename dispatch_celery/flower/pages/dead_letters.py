"""Dead letters: triage by filters and, where the service has them, by groups of one cause; and one letter."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, cast

from dispatch_celery.cli.masking import block
from dispatch_celery.dlq.model import DeadLetter, DeadLetterKind, DeadLetterOrigin
from dispatch_celery.errors import ConfigurationError
from dispatch_celery.flower.buttons import Button, of_letter
from dispatch_celery.flower.desk import Desk
from dispatch_celery.flower.pages.model import PAGE_SIZE, Choice, Filters, Page, Query, Row

__all__ = ["DEAD_LETTER", "DEAD_LETTERS", "LETTER_FILTERS", "DeadLetterList", "DeadLetterView", "letter_filters"]

_TIMES: Final = ("died_after", "died_before")
_BEGIN: Final = 200
_CAUSE: Final = ("fingerprint",) if hasattr(DeadLetter, "fingerprint") else ()
"""The filter by cause, where the service tells which letters have one."""
_TEXTS: Final = ("kind", "name", "queue", "reason", "error", "error_class", "text", "origin")
_YES_NO: Final = {"yes": True, "no": False}
LETTER_FILTERS: Final = (*_TEXTS, *_CAUSE, "after", "before", "replayed", "app", "org")
"""The names by which dead letters are looked for in an address."""


@dataclass(frozen=True, kw_only=True)
class DeadLetterList:
    """One page of dead letters."""

    filters: Filters
    letters: Sequence[DeadLetter]
    next_cursor: str | None
    is_first: bool
    total: int
    """How many there are in all, whatever is filtered."""
    has_groups: bool = False
    """Whether the service tells which have one cause."""
    groups: Sequence[Any] | None = None
    """Those of one cause together, where that was asked for."""

    def letters_of(self, group: Any) -> dict[str, str]:
        """Return what to look for, to see the letters of one cause."""
        return {**self.filters.chosen, "fingerprint": group.fingerprint}

    @property
    def before(self) -> datetime:
        """Until when letters had died that this page shows, or that lie behind it: what many-at-once is about."""
        return self.letters[0].died_at if self.letters and self.is_first else self.filters.now

    @property
    def is_filtered(self) -> bool:
        """Whether not all are shown."""
        return bool(self.filters.chosen)


@dataclass(frozen=True, kw_only=True)
class DeadLetterView:
    """One dead letter."""

    letter: DeadLetter
    now: datetime
    arguments: str | None
    raw: str | None
    can_put_back: bool = False
    """Whether the service can put a message back into its queue."""
    can_note: bool = False

    @property
    def notes(self) -> Sequence[Any]:
        """What people wrote on it, where the service keeps that."""
        return getattr(self.letter, "notes", ())

    @property
    def verbs(self) -> Sequence[str]:
        """What can be done with it as it stands."""
        if self.letter.kind == DeadLetterKind.MESSAGE:
            return ("put-back", "purge") if self.can_put_back and not self.letter.replayed_as else ("purge",)
        return ("purge",) if self.letter.replayed_as else ("replay", "edit", "retry", "purge")

    @property
    def buttons(self) -> Sequence[Button]:
        """The same, as buttons."""
        return of_letter(self.letter, self.verbs)

    @property
    def rows(self) -> Sequence[Row]:
        """Its record; what is empty is not shown."""
        letter, job = self.letter, self.letter.job
        rows = [
            Row("Kind", letter.kind),
            Row("Origin", str(getattr(letter, "origin", ""))),
            Row("Cause", getattr(letter, "fingerprint", ""), "code"),
            Row("Reason", letter.reason),
            Row("Queue", letter.queue),
            Row("Died", letter.died_at, "time"),
            Row("Job", letter.job_id, "id"),
            Row("Replayed as", letter.replayed_as, "id"),
        ]
        if job is not None:
            rows += [
                Row("Enqueued", job.created_at, "time"),
                Row("Attempts", len(job.attempts) or None),
                Row("Crashes", job.crashes or None),
                Row("Tenant", job.scope.path),
            ]
        return [row for row in rows if row.is_shown]


def letter_filters(query: Query) -> dict[str, Any]:
    """Return what was asked for, as the service names it."""
    found = query.filters(*_TEXTS, *_CAUSE, times=_TIMES)
    wanted = query.text("replayed")
    if wanted is not None and wanted not in _YES_NO:
        raise ConfigurationError(f"replayed is yes or no, not {wanted!r}")
    replayed = None if wanted is None else _YES_NO[wanted]
    return found if replayed is None else {**found, "replayed": replayed}


def _list(desk: Desk, query: Query) -> DeadLetterList:
    dlq, cursor = desk.dispatch.dlq, query.text("cursor")
    has_groups = hasattr(dlq, "groups")
    is_grouped = has_groups and query.text("by") == "cause"
    listed = cast("Any", dlq).groups if is_grouped else dlq.list
    page = listed(limit=PAGE_SIZE, cursor=cursor, **letter_filters(query))
    return DeadLetterList(
        filters=Filters(choices=_choices(query, has_groups=has_groups), now=desk.now()),
        letters=() if is_grouped else page.records,
        groups=page.records if is_grouped else None,
        has_groups=has_groups,
        next_cursor=page.next_cursor,
        is_first=cursor is None,
        total=dlq.count(),
    )


def _choices(query: Query, *, has_groups: bool) -> list[Choice]:
    fields: Sequence[tuple[str, str, Mapping[str, Any]]] = (
        ("name", "Name", {"hint": "the whole name"}),
        ("queue", "Queue", {}),
        ("error", "Error", {"hint": "text in the error"}),
        ("replayed", "Replayed", {"options": list(_YES_NO)}),
        ("kind", "Kind", {"options": list(DeadLetterKind), "is_further": True}),
        ("reason", "Reason", {"hint": "attempts used up", "is_further": True}),
        ("error_class", "Class of the error", {"hint": "the whole, or its last word", "is_further": True}),
        ("text", "Text", {"hint": "in error, traceback, reason, notes", "is_further": True}),
        ("origin", "Origin", {"options": list(DeadLetterOrigin), "is_further": True}),
        ("after", "Died after", {"hint": "2h, or 2026-01-31T12:00", "is_further": True}),
        ("before", "Died before", {"hint": "15m, or a time in UTC", "is_further": True}),
        ("app", "Tenant: app", {"is_further": True}),
        ("org", "Tenant: org", {"is_further": True}),
    )
    found = [Choice(name=name, label=label, value=query.text(name) or "", **more) for name, label, more in fields]
    cause = query.text("fingerprint") or ""
    return [*found, Choice(name="fingerprint", label="Cause", value=cause, is_further=True)] if has_groups else found


def _one(desk: Desk, _: Query, letter_id: str) -> DeadLetterView:
    letter = desk.dispatch.dlq.get(letter_id)
    job, masking = letter.job, desk.masking
    return DeadLetterView(
        letter=letter,
        now=desk.now(),
        arguments=None if job is None else masking.text(masking.arguments(job.name, job.arguments)),
        raw=None if job is not None else _message(desk, letter.raw),
        can_put_back=hasattr(desk.dispatch.dlq, "put_back"),
        can_note=hasattr(desk.dispatch.dlq, "note"),
    )


def begin_of(raw: bytes) -> str:
    """Return how a message begins: text where it is text, base64 where not."""
    try:
        found = raw.decode()
    except UnicodeDecodeError:
        found = "base64:" + base64.b64encode(raw[:_BEGIN]).decode()
    return found if len(found) <= _BEGIN else f"{found[:_BEGIN]}..."


def _message(desk: Desk, raw: bytes) -> str:
    """Return a message that nobody could read: masked where it is JSON, else only how it begins."""
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError):
        return block(begin_of(raw))
    return desk.masking.text(desk.masking.value(found)) if isinstance(found, dict | list) else block(begin_of(raw))


DEAD_LETTERS: Final = Page(
    key="dead-letters", title="Dead letters", template="dead_letters.html", read=_list, menu="dead-letters"
)
DEAD_LETTER: Final = Page(
    key="dead-letters", title="Dead letter", template="dead_letter.html", read=_one, ids=1, menu="dead-letters"
)
