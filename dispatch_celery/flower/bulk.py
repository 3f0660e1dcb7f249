"""Many dead letters at once, in bounded batches: who asks goes on with the cursor until there is none.

What is chosen is a list of ids, or what a filter let through on the page: letters that died after that page was made
are never touched, for nobody has seen them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from dispatch_celery.cli.phrases import count_of
from dispatch_celery.dlq.model import DeadLetterKind
from dispatch_celery.errors import ConfigurationError, DeadLetterNotFound, StateConflict
from dispatch_celery.flower.desk import Desk
from dispatch_celery.flower.pages.dead_letters import letter_filters
from dispatch_celery.flower.pages.model import Query
from dispatch_celery.flower.verbs import Asked, Done

__all__ = ["BULK", "BulkVerb"]

BulkVerb = Callable[[Desk, Asked], Done]

_BATCH: Final = 100


def _replay(desk: Desk, asked: Asked) -> Done:
    return _each(desk, asked, "replayed", lambda one: bool(desk.dispatch.dlq.replay(one)), replayed=False)


def _purge(desk: Desk, asked: Asked) -> Done:
    return _each(desk, asked, "purged", lambda one: bool(desk.dispatch.dlq.purge(one)))


def _each(desk: Desk, asked: Asked, what: str, act: Callable[[str], bool], **only: Any) -> Done:
    """Do one batch."""
    ids, cursor = _chosen(desk, asked, only)
    done = gone = 0
    for letter_id in ids:
        try:
            is_done = act(letter_id)
        except (DeadLetterNotFound, StateConflict):  # somebody else was there first, or it is no job
            is_done = False
        done, gone = done + is_done, gone + (not is_done)
    left = f"; {count_of(gone, 'other')} could not be, or was gone" if gone else ""
    return Done(
        message=f"{count_of(done, 'dead letter')} {what}{left}.",
        more={"done": done, "gone": gone, "cursor": cursor},
    )


def _chosen(desk: Desk, asked: Asked, only: Mapping[str, Any]) -> tuple[Iterable[str], str | None]:
    """Return one batch of ids, and where the next one begins."""
    ids = asked.values.get("ids")
    if ids is not None:
        is_list = isinstance(ids, list) and all(isinstance(one, str) for one in ids)
        if not is_list or not 1 <= len(ids) <= _BATCH:
            raise ConfigurationError(f"ids must be a list of 1 to {_BATCH} ids of dead letters")
        return ids, None
    filters = asked.values.get("filters")
    if not isinstance(filters, Mapping) or not all(isinstance(value, str) for value in filters.values()):
        raise ConfigurationError("say which: ids, or filters as the page has them")
    chosen = letter_filters(Query({str(name): value for name, value in filters.items()}))
    seen = _moment(asked.must_have("before"))
    chosen["died_before"] = min(seen, chosen.get("died_before", seen))
    if only:
        if chosen.get("replayed") or chosen.get("kind") == DeadLetterKind.MESSAGE:
            raise ConfigurationError("none of these can be replayed: they were, or are no jobs")
        chosen |= {"kind": DeadLetterKind.JOB, **only}
    page = desk.dispatch.dlq.list(limit=_BATCH, cursor=asked.text("cursor"), **chosen)
    return [letter.id for letter in page], page.next_cursor


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
