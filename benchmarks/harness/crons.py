"""Cron entries by the ten thousand, fired by one worker that leads: how late they are, spread out and all at once.

What they create goes to a queue that nobody works, so that firing is measured and not the work itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from celery import Celery

from dispatch_celery import CronEntry, Dispatch
from harness.bench import Bench, Crew, eventually
from harness.book import Book, quantile
from harness.contenders import OURS, Contender

_MINUTE = 60
_REGISTERED = 400
"""Entries registered in a second, at least: how long before they are due the first must be written."""

Spell = Callable[[int], str]


def crons(bench: Bench, contender: Contender, book: Book, count: int) -> None:
    """Fire each entry once: spread over a minute, and all in the same second; ms late."""
    with _entries(bench, contender) as (dispatch, crew):
        begins = _later(count)
        late = _late(dispatch, crew, count, begins, lambda n: f"{n % _MINUTE} * * * * *")
        book.add("crons_spread_p50", OURS, quantile(late, 0.5))
        book.add("crons_spread_p99", OURS, quantile(late, 0.99))
    with _entries(bench, contender) as (dispatch, crew):
        moment = _later(count)
        late = _late(dispatch, crew, count, moment, lambda _: f"{moment.second} {moment.minute} {moment.hour} * * *")
        book.add("crons_instant_p50", OURS, quantile(late, 0.5))
        book.add("crons_instant_p99", OURS, quantile(late, 0.99))


def _later(count: int) -> datetime:
    """Return a whole second by which so many entries are written."""
    return (datetime.now(UTC) + timedelta(seconds=6 + count / _REGISTERED)).replace(microsecond=0)


@contextmanager
def _entries(bench: Bench, contender: Contender) -> Iterator[tuple[Dispatch, Crew]]:
    bench.flush()
    app = Celery("planner", broker=f"redis://127.0.0.1:{bench.server.port}/0", set_as_current=False)
    dispatch = Dispatch(app)
    try:
        with bench.workers(contender, "solo", count=1) as crew:
            bench.warm(contender, crew.log)
            yield dispatch, crew
    finally:
        dispatch.close()
        app.close()


def _late(dispatch: Dispatch, crew: Crew, count: int, begins: datetime, spell: Spell) -> list[float]:
    """Register entries that begin to fire at a moment; return how late each one's first slot was fired, in ms."""

    @dispatch.remote("bench.fired", queue="nobody")
    def fired(number: int) -> None:
        """Stand for what is created."""

    for n in range(count):
        dispatch.crons.register(f"entry-{n}", spell(n), fired, arguments={"number": n}, start=begins)
    patience = _MINUTE + (begins - datetime.now(UTC)).total_seconds() + count / 200
    total = lambda: sum(dispatch.jobs.count(name="bench.fired").values()) >= count  # noqa: E731
    eventually(total, within=patience, what=f"{count:,} entries have fired", logs=(crew.log,))
    return [_first(entry) for entry in _all(dispatch)]


def _all(dispatch: Dispatch) -> Iterator[CronEntry]:
    cursor: str | None = None
    while True:
        page = dispatch.crons.list(limit=500, cursor=cursor)
        yield from page
        cursor = page.next_cursor
        if cursor is None:
            return


def _first(entry: CronEntry) -> float:
    first = entry.fires[-1]
    return 0.0 if first.slot is None else (first.at - first.slot).total_seconds() * 1000
