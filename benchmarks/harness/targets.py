"""What is to be reached, as rows that are computed from the samples."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness.book import Book, Place
from harness.contenders import (
    BASE,
    DBOS,
    DEFAULTS,
    ELSEWHERE,
    EXTENDED,
    FLOWS,
    HUEY,
    INLINE,
    KEYED,
    MEASURED,
    NOTHING,
    OURS,
    PARKED,
    SPREAD,
    STOCK,
    WIDE,
)
from harness.rows import PAGES

Choose = Callable[[Sequence[float]], float]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One row's figures: what ours measured, what the other did, and what is judged."""

    mine: Sequence[float]
    other: Sequence[float]
    judged: float


@dataclass(frozen=True)
class Target:
    """One measure of ours, against a limit of its own or against somebody else's."""

    text: str
    measure: str
    limit: float
    unit: str
    mine: Place = (OURS, "")
    base: Place | None = None
    at_least: bool = False
    beyond: bool = False
    choose: Choose = statistics.median
    form: str = "{:,.0f}"

    def outcome(self, book: Book) -> Outcome | None:
        """Return what was measured, or None if it was not."""
        mine = book.samples(self.measure, *self.mine) if self.mine[1] != "*" else self._wherever(book)
        if self.base is None:
            return Outcome(mine=mine, other=(), judged=self.choose(mine)) if mine else None
        other = book.samples(self.measure, *self.base)
        if not mine or not other:
            return None
        if self.beyond:
            return Outcome(mine=mine, other=other, judged=self.choose(mine) - self.choose(other))
        ratios = book.ratios(self.measure, self.mine, self.base)
        return Outcome(mine=mine, other=other, judged=self.choose(ratios)) if ratios else None

    def reached(self, value: float) -> bool:
        """Return whether a value is good enough."""
        return value >= self.limit if self.at_least else value <= self.limit

    @property
    def mark(self) -> str:
        """What must be reached, in words."""
        return f"{'>=' if self.at_least else '<='} {self.limit:,g} {self.unit}".rstrip()

    def _wherever(self, book: Book) -> list[float]:
        """Return the samples of all places of ours: of a leader and of a follower, for one."""
        places = [place for place in book.places(self.measure) if place[0] == self.mine[0]]
        return [value for place in places for value in book.samples(self.measure, *place)]


def _against(text: str, measure: str, limit: float, pool: str, mine: str = OURS) -> Target:
    return Target(text, measure, limit, "x", mine=(mine, pool), base=(BASE, pool), at_least=True)


def _idle(text: str, measure: str, fleet: str) -> Target:
    mine, base = (OURS, fleet), (BASE, fleet)
    return Target(text, measure, 1, "more", mine=mine, base=base, beyond=True, choose=statistics.fmean, form="{:.2f}")


def _flow(text: str, measure: str, limit: float, unit: str, pool: str = "prefork", form: str = "{:.2f}") -> Target:
    return Target(text, measure, limit, unit, mine=(FLOWS, pool), form=form)


def _operated(text: str, key: str, limit: float, pool: str) -> Target:
    return Target(f"{text}, {pool}", "operated_noop", limit, "x", mine=(key, pool), base=(OURS, pool), at_least=True)


_PEER = (DBOS, "tuned")
_NOOPS = "Drain of no-ops, jobs/s:"

TARGETS = (
    _against(f"{_NOOPS} our transport, prefork -c 2", "drain_noop", 1.5, "prefork"),
    _against(f"{_NOOPS} the same with Celery's default prefetch", "drain_noop", 1.5, DEFAULTS),
    _against(f"{_NOOPS} our transport, two solo workers", "drain_noop", 2.5, "solo"),
    Target(f"{_NOOPS} the same against prefork -c 2", "drain_noop", 2.5, "x", mine=(OURS, "solo"),
           base=(BASE, "prefork"), at_least=True),
    _against(f"{_NOOPS} stock transport, prefork -c 2", "drain_noop", 0.7, "prefork", STOCK),
    _against(f"{_NOOPS} stock transport, two solo workers", "drain_noop", 0.7, "solo", STOCK),
    _against("`enqueue` against `delay()`, jobs/s", "enqueue_one", 2.0, ""),
    _against("`enqueue_many` against a loop of `delay()`, jobs/s", "enqueue_many", 10.0, ""),
    Target("Enqueue to start, p50, ms", "start_p50", 1.2, "x", base=(BASE, ""), form="{:.2f}"),
    Target("Killed worker, median, s", "recovery_hint", 2, "s", mine=(OURS, "*"), form="{:.2f}"),
    Target("Killed worker, worst, s", "recovery_hint", 3, "s", mine=(OURS, "*"), choose=max, form="{:.2f}"),
    Target("Killed worker, hint off, worst, s", "recovery_lease", 10, "s", mine=(OURS, "*"), choose=max, form="{:.2f}"),
    Target("Killed pool process, worst, s", "recovery_child", 2, "s", choose=max, form="{:.2f}"),
    Target("Memory per queued small job, bytes", "memory", 2_560, "bytes"),
    _idle("Idle, commands sent a second by each of two workers", "idle_sent", "two"),
    _idle("Idle, commands sent a second by a worker alone", "idle_sent", "alone"),
    _idle("Idle, commands executed for each of two, those inside scripts too", "idle_executed", "two"),
    Target("Timers due one after the other, lateness at p99, ms", "timers_p99", 100, "ms"),
    Target("Timers due in one instant, all done after, s", "timers_instant", 1, "s", form="{:.2f}"),
    Target("Dead letters, first page, ms", "letters_first", 50, "ms", form="{:.1f}"),
    Target("Dead letters, a page by name, ms", "letters_name", 50, "ms", form="{:.1f}"),
    Target("Dead letters, a page by fingerprint, ms", "letters_cause", 50, "ms", form="{:.1f}"),
    Target("Dead letters, a page that is sifted, ms", "letters_sifted", 50, "ms", form="{:.1f}"),
    Target("Dead letters, a page of groups, ms", "letters_groups", 50, "ms", form="{:.1f}"),
    Target("Cron entries due over a minute, lateness at p99, ms", "crons_spread_p99", 200, "ms"),
    Target("Cron entries due in one second, lateness at p99, ms", "crons_instant_p99", 200, "ms"),
    *(_operated(text, key, limit, pool)
      for text, key, limit in (
          ("Drain where another queue is limited", ELSEWHERE, 0.9),
          ("Drain of a queue with a limit of concurrency", WIDE, 0.75),
          ("Drain of a queue with a rate", SPREAD, 0.75),
          ("Drain of a queue with a limit for each tenant", KEYED, 0.75),
          ("Drain with an extension", EXTENDED, 0.95),
          ("Drain with an extension that touches memory only", INLINE, 0.95),
          ("Drain with OpenTelemetry's instruments", MEASURED, 0.95),
      )
      for pool in ("prefork", "solo")),
    Target("Commands executed a second while jobs wait for a permit, against none there", "parked_commands", 0.1,
           "more", mine=(OURS, PARKED), base=(OURS, NOTHING), beyond=True, form="{:.2f}"),
    *(Target(f"Flower, {title}: the slowest, ms", f"pages_{page}", 300, "ms", choose=max)
      for page, title in PAGES.items()),
    Target("The next mark: huey's drain, prefork -c 2, jobs/s", "drain_noop", 1, "x", mine=(OURS, "prefork"),
           base=(HUEY, "processes"), at_least=True),
    Target("The next mark: huey's drain, two solo workers, jobs/s", "drain_noop", 1, "x", mine=(OURS, "solo"),
           base=(HUEY, "processes"), at_least=True),
    _flow("Workflows: one extra step, p50, ms", "flow_step_p50", 0.3, "ms", form="{:.3f}"),
    Target("Workflows: the same against DBOS", "flow_step_p50", 0.125, "x", mine=(FLOWS, "prefork"), base=_PEER,
           form="{:.3f}"),
    _flow("Workflows: one extra step with an undo, p50, ms", "flow_undone_p50", 0.5, "ms", form="{:.3f}"),
    _flow("Workflows: queued, of one step, to its result, p50, ms", "flow_one_p50", 6, "ms"),
    *(Target(f"Workflows: drain, steps/s: {label}", "flow_drain", 3_000, "a second", mine=(FLOWS, pool), at_least=True)
      for pool, label in (("prefork", "prefork -c 2"), ("solo", "two solo workers"))),
    *(Target(f"Workflows: the same against DBOS: {label}", "flow_drain", 6, "x", mine=(FLOWS, pool), base=_PEER,
             at_least=True)
      for pool, label in (("prefork", "prefork -c 2"), ("solo", "two solo workers"))),
    _flow("Workflows: 1,000 members joined, s", "flow_fan", 2, "s"),
    _flow("Workflows: an event to the result, p50, ms", "flow_event_p50", 8, "ms"),
    _flow("Workflows: replay of 1,000 steps, ms", "flow_replay", 60, "ms", "", "{:.1f}"),
    _flow("Workflows: memory of a sleeping run, bytes", "flow_memory", 4_096, "bytes", "", "{:,.0f}"),
    Target("Workflows: commands sent a second while runs sleep, against none there", "flow_idle", 0.1, "more",
           mine=(FLOWS, "runs asleep"), base=(FLOWS, "nothing there"), beyond=True, form="{:.2f}"),
    _flow("Workflows: sleepers due in one instant, all done after, s", "flow_sleepers", 30, "s", "*", "{:.1f}"),
    _flow("Workflows: killed worker, median, s", "flow_takeover", 2, "s", "*"),
    Target("Workflows: killed worker, worst, s", "flow_takeover", 3, "s", mine=(FLOWS, "*"), choose=max, form="{:.2f}"),
)  # fmt: skip
