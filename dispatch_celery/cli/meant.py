"""What may be meant by a name that finds nothing: said beside an error, or beside a list that is empty."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Final

from dispatch_celery.cli.phrases import Surroundings
from dispatch_celery.cli.session import Session
from dispatch_celery.cli.unfamiliar import doubt_of_limit, doubt_of_workflow
from dispatch_celery.errors import CronNotFound

__all__ = ["doubt_of_filters", "doubt_of_new_queue", "or_similar_entry"]

_ENTRIES: Final = 200
"""Cron entries, the newest, among which similar names are looked for."""


@contextmanager
def or_similar_entry(session: Session, name: str) -> Iterator[None]:
    """Name the entry that may be meant, where there is none of a name.

    Raises:
        CronNotFound: there is none.
    """
    try:
        yield
    except CronNotFound as error:
        near = get_close_matches(name, [entry.name for entry in session.dispatch.crons.list(limit=_ENTRIES)], n=1)
        if not near:
            raise
        raise CronNotFound(f"{error}; did you mean {near[0]!r}?") from None


def doubt_of_filters(
    session: Session, *, name: str | None = None, queue: str | None = None, of: str = "job", **_: object
) -> str:
    """Return what is to be said of the filters of a list that came out empty; empty where they are known."""
    about = ""
    if name is not None:
        about = doubt_of_limit(session, None, name) if of == "job" else doubt_of_workflow(session, name)
    return about or ("" if queue is None else doubt_of_limit(session, queue, None))


def doubt_of_new_queue(session: Session, queue: str | None) -> str:
    """Return that nobody takes from a queue that a job is to go to, with the one that may be meant; else empty."""
    if queue is None:
        return ""
    around = Surroundings(now=session.insight.now(), workers=tuple(session.dispatch.workers.list()))
    if any(queue in worker.queues for worker in around.live):
        return ""
    _, meant, near = doubt_of_limit(session, queue, None).partition("; did you mean ")
    return f"no live worker consumes {queue!r}: what is replayed waits in it{meant}{near}"
