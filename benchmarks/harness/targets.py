"""What is to be reached, as rows that are computed from the samples."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass

from harness.book import Book, Place
from harness.contenders import BASE, OURS, STOCK

Figure = Callable[[Book], float | None]


@dataclass(frozen=True)
class Target:
    """One figure, and what it must not pass."""

    text: str
    figure: Figure
    limit: float
    unit: str
    at_least: bool = False

    def reached(self, value: float) -> bool:
        """Return whether a value is good enough."""
        return value >= self.limit if self.at_least else value <= self.limit

    @property
    def mark(self) -> str:
        """What must be reached, in words."""
        return f"{'>=' if self.at_least else '<='} {self.limit:g} {self.unit}".rstrip()


def _ratio(measure: str, mine: Place, base: Place) -> Figure:
    def figure(book: Book) -> float | None:
        ratios = book.ratios(measure, mine, base)
        return statistics.median(ratios) if ratios else None

    return figure


def _many_against_one(book: Book) -> float | None:
    return _ratio("enqueue_many", (OURS, ""), (BASE, ""))(book)


def _median(measure: str) -> Figure:
    return lambda book: book.median(measure, OURS)


def _over(measure: str, choose: Callable[[list[float]], float]) -> Figure:
    """Choose one of all trials, whoever was killed."""

    def figure(book: Book) -> float | None:
        found = [value for contender, pool in book.places(measure) for value in book.samples(measure, contender, pool)]
        return choose(found) if found else None

    return figure


def _beyond(book: Book) -> float | None:
    mine, base = book.median("idle_processed", OURS), book.median("idle_processed", BASE)
    return None if mine is None or base is None else mine - base


_MIDDLE = statistics.median

TARGETS = (
    Target("drain of no-ops, our transport, prefork -c 2",
           _ratio("drain_noop", (OURS, "prefork"), (BASE, "prefork")), 1.5, "x plain Celery", at_least=True),
    Target("drain of no-ops, our transport, two solo workers",
           _ratio("drain_noop", (OURS, "solo"), (BASE, "solo")), 2.5, "x plain Celery", at_least=True),
    Target("drain of no-ops, stock transport, prefork -c 2",
           _ratio("drain_noop", (STOCK, "prefork"), (BASE, "prefork")), 0.7, "x plain Celery", at_least=True),
    Target("drain of no-ops, stock transport, two solo workers",
           _ratio("drain_noop", (STOCK, "solo"), (BASE, "solo")), 0.7, "x plain Celery", at_least=True),
    Target("enqueue against delay()",
           _ratio("enqueue_one", (OURS, ""), (BASE, "")), 2.0, "x plain Celery", at_least=True),
    Target("enqueue_many against a loop of delay()", _many_against_one, 10.0, "x plain Celery", at_least=True),
    Target("enqueue to start, p50",
           _ratio("start_p50", (OURS, ""), (BASE, "")), 1.2, "x plain Celery"),
    Target("killed worker, hint on, median", _over("recovery_hint", _MIDDLE), 2.0, "s"),
    Target("killed worker, hint on, worst", _over("recovery_hint", max), 3.0, "s"),
    Target("killed worker, hint off, worst", _over("recovery_plain", max), 10.0, "s"),
    Target("killed pool process, worst", _over("recovery_child", max), 2.0, "s"),
    Target("memory of a queued small job", _median("memory"), 2_560, "bytes"),
    Target("idle commands a second and worker, beyond plain Celery's", _beyond, 1.0, ""),
    Target("timers over ten seconds, lateness at p99", _median("timers_p99"), 100, "ms"),
    Target("timers of one instant, all ready", _median("timers_instant"), 1.0, "s"),
    Target("the next mark: huey's drain, by our best pool",
           lambda book: max(
               (value for pool in ("prefork", "solo")
                if (value := _ratio("drain_noop", (OURS, pool), ("huey", "processes"))(book)) is not None),
               default=None,
           ), 1.0, "x huey", at_least=True),
)  # fmt: skip
