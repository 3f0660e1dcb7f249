"""Many dead letters at once, in bounded batches: who asks goes on with the cursor until there is none.

What is chosen is a list of ids, or what a filter let through on the page: letters that died after that page was made
are never touched, for nobody has seen them. A dry run of the same counts them and changes nothing; it looks for a few
seconds only, and says so where there may be more. A rate holds over all batches: the cursor knows how many came before.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, Final

from dispatch_celery.cli.masking import line
from dispatch_celery.cli.phrases import count_of
from dispatch_celery.dlq.model import DeadLetter, DeadLetterKind
from dispatch_celery.dlq.pacing import due_times
from dispatch_celery.errors import ConfigurationError, DeadLetterNotFound, StateConflict, UnknownJob
from dispatch_celery.flower.asking import Asked, Done
from dispatch_celery.flower.desk import Desk
from dispatch_celery.flower.pages.dead_letters import LETTER_FILTERS, letter_filters
from dispatch_celery.flower.pages.model import Query
from dispatch_celery.jobs.options import check_duration

__all__ = ["BULK", "BulkVerb"]

BulkVerb = Callable[[Desk, Asked], Done]

_BATCH: Final = 100
_LOOK: Final = 1_000
_PATIENCE: Final = 4.0
"""Seconds a dry run goes on counting; a page of a thousand takes well under one."""
_NAMES: Final = 5
_WORDS: Final = ("ids", "filters", "before", "cursor", "dry_run")
_UNPLAYABLE: Final = "none of these can be replayed: they were, or are no jobs"


def _replay(desk: Desk, asked: Asked) -> Done:
    asked.only(*_WORDS, "rate")
    rate, (done, cursor) = asked.text("rate"), _place(asked.text("cursor"))
    delays = due_times(rate, done=done)
    if asked.flag("dry_run"):
        return _look(desk, asked, "run again as new jobs", is_replay=True)
    ids, further = _chosen(desk, asked, cursor, is_replay=True)
    soon = [(delay or 0) / 1000 for delay in islice(delays, len(ids))]
    check_duration("the delay of the last one at this rate", soon[-1] if soon else None)
    due = iter(soon)
    return _each(ids, "replayed", further, done, lambda one: bool(desk.dispatch.dlq.replay(one, delay=next(due))))


def _purge(desk: Desk, asked: Asked) -> Done:
    asked.only(*_WORDS)
    if asked.flag("dry_run"):
        return _look(desk, asked, "deleted", is_replay=False)
    done, cursor = _place(asked.text("cursor"))
    ids, further = _chosen(desk, asked, cursor, is_replay=False)
    return _each(ids, "purged", further, done, lambda one: bool(desk.dispatch.dlq.purge(one)))


def _each(ids: Sequence[str], what: str, further: str | None, before: int, act: Callable[[str], bool]) -> Done:
    """Do one batch."""
    done = gone = 0
    for letter_id in ids:
        try:
            is_done = act(letter_id)
        except (DeadLetterNotFound, StateConflict, UnknownJob):  # somebody was there first, or nobody could run it
            is_done = False
        done, gone = done + is_done, gone + (not is_done)
    left = f"; {count_of(gone, 'other')} could not be, or was gone" if gone else ""
    cursor = None if further is None else f"{before + len(ids)}~{further}"
    return Done(
        message=f"{count_of(done, 'dead letter')} {what}{left}.",
        more={"done": done, "gone": gone, "cursor": cursor},
    )


def _look(desk: Desk, asked: Asked, what: str, *, is_replay: bool) -> Done:
    """Count what would be touched, by name, and touch nothing."""
    names: Counter[str] = Counter()
    limit, cursor, is_whole = time.monotonic() + _PATIENCE, None, True
    if (ids := _ids(asked)) is not None:
        names.update(_names(desk, ids, is_replay=is_replay))
    else:
        filters = _filters(asked, is_replay=is_replay)
        while True:
            page = desk.dispatch.dlq.list(limit=_LOOK, cursor=cursor, **filters)
            names.update(letter.name or "messages" for letter in page)
            cursor = page.next_cursor
            if cursor is None or time.monotonic() > limit:
                is_whole = cursor is None
                break
    count = names.total()
    most = ", ".join(f"{number:,} of {line(name, 80)}" for name, number in names.most_common(_NAMES))
    more = f", {count_of(len(names) - _NAMES, 'other name')}" if len(names) > _NAMES else ""
    words = f"{'' if is_whole else 'At least '}{count_of(count, 'dead letter')} would be {what}"
    return Done(
        message=f"{words}{f': {most}{more}' if count else ''}. Nothing has been changed.",
        more={"dry_run": True, "count": count, "is_whole": is_whole},
    )


def _names(desk: Desk, ids: Sequence[str], *, is_replay: bool) -> list[str]:
    """Return the names of those that are there, and of a replay, could be."""
    found: list[DeadLetter] = []
    for letter_id in ids:
        try:
            found.append(desk.dispatch.dlq.get(letter_id))
        except DeadLetterNotFound:  # somebody else was there first
            continue
    return [
        letter.name or "messages"
        for letter in found
        if not is_replay or (letter.kind == DeadLetterKind.JOB and not letter.replayed_as)
    ]


def _place(cursor: str | None) -> tuple[int, str | None]:
    """Return how many were done before, and where the next batch begins."""
    done, mark, further = (cursor or "").partition("~")
    if not mark or not done.isdecimal():
        return 0, cursor
    return int(done[:9]), further


def _ids(asked: Asked) -> Sequence[str] | None:
    """Return the ids that were chosen; None where there is a filter."""
    ids = asked.values.get("ids")
    if ids is None:
        return None
    is_list = isinstance(ids, list) and all(isinstance(one, str) for one in ids)
    if not is_list or not 1 <= len(ids) <= _BATCH:
        raise ConfigurationError(f"ids must be a list of 1 to {_BATCH} ids of dead letters")
    return tuple(ids)


def _chosen(desk: Desk, asked: Asked, cursor: str | None, *, is_replay: bool) -> tuple[Sequence[str], str | None]:
    """Return one batch of ids, and where the next one begins."""
    if (ids := _ids(asked)) is not None:
        return ids, None
    page = desk.dispatch.dlq.list(limit=_BATCH, cursor=cursor, **_filters(asked, is_replay=is_replay))
    return [letter.id for letter in page], page.next_cursor


def _filters(asked: Asked, *, is_replay: bool) -> Mapping[str, Any]:
    """Return what passes: what the page has shown, and of a replay, what can be replayed."""
    filters = asked.values.get("filters")
    if not isinstance(filters, Mapping) or not all(isinstance(value, str) for value in filters.values()):
        raise ConfigurationError("say which: ids, or filters as the page has them")
    query = Query({str(name): value for name, value in filters.items()})
    query.only(*LETTER_FILTERS)
    chosen = letter_filters(query)
    seen = _moment(asked.must_have("before"))
    chosen["died_before"] = min(seen, chosen.get("died_before", seen))
    if is_replay:
        if chosen.get("replayed") or chosen.get("kind") == DeadLetterKind.MESSAGE:
            raise ConfigurationError(_UNPLAYABLE)
        chosen |= {"kind": DeadLetterKind.JOB, "replayed": False}
    return chosen


def _moment(words: str) -> datetime:
    try:
        found = datetime.fromisoformat(words)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise ConfigurationError("before must be the time at which the page was made, with its zone")
    return found


BULK: Final[Mapping[str, BulkVerb]] = {"replay": _replay, "purge": _purge}
"""By their name in an address."""
