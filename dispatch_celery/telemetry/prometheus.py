"""Exposes the state of the server to Prometheus: read at each scrape, in eight bounded trips at most.

``install(dispatch)`` registers with the default registry of the process: in Flower that is what ``/metrics`` shows.

=====================================  ============  ==================================================================
metric                                 labels        says
=====================================  ============  ==================================================================
``dispatch_up``                                      1 where the state server answered this scrape
``dispatch_jobs``                      ``state``     jobs in each state
``dispatch_runs``                      ``state``     runs in each state
``dispatch_queue_depth``               ``queue``     jobs and runs that are ready
``dispatch_queue_oldest_seconds``      ``queue``     for how long the first of them is ready, or was sent again
``dispatch_dead_letters``                            dead letters
``dispatch_timers``                                  what has a due time
``dispatch_timers_overdue_seconds``                  how late the first of them is
``dispatch_unpublished``                             ready work whose message is not known to be published
``dispatch_events``                                  events that can be found
``dispatch_workers``                   ``state``     workers: ``registered``, and ``lost`` ones that are recovered
``dispatch_lease_left_seconds``                      until the first lease ends, as things stand
``dispatch_leader``                                  1 while a worker leads
``dispatch_leader_term``                             the number of its term: a change is a change of leader
``dispatch_limit_concurrency``         ``limit``     how many may run at once, where that is limited
``dispatch_limit_rate``                ``limit``     how many may begin, a second, where that is limited
``dispatch_limit_permits``             ``limit``     permits that are out
``dispatch_limit_waiting``             ``limit``     jobs that wait for a permit
``dispatch_limit_oldest_seconds``      ``limit``     for how long the first of them waits
``dispatch_limit_paused``              ``limit``     1 where it is paused
``dispatch_permits_under_way``                       requests, returns and permits that the leader has yet to carry
``dispatch_crons``                     ``state``     cron entries in each state; ``resting``: any but ``enabled``
``dispatch_cron_overdue_seconds``                    how late the most overdue entry is by now; 0 where none is
``dispatch_cron_late_seconds``                       how late a slot of the last five minutes was fired, at most
``dispatch_cron_leader``                             1 while a worker or a beat fires; 0, too, where no entry waits
``dispatch_cron_leader_term``                        the number of its term
=====================================  ============  ==================================================================

The label ``limit`` is ``queue:<name>`` or ``job:<name>``. Where keys take turns, the first of those that wait is looked
for among ten. Fires are looked at of the 200 entries that are due next. Entries that do not fire are told apart up to
1,000 of them; beyond that, or among more than 20,000 entries, they are ``resting``.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final
from weakref import WeakKeyDictionary

from prometheus_client import REGISTRY
from prometheus_client.core import GaugeMetricFamily

from dispatch_celery.cluster.census import Census
from dispatch_celery.errors import DispatchError
from dispatch_celery.telemetry.names import Labels
from dispatch_celery.telemetry.picture import Counted, Picture, folded, take_picture

__all__ = ["Counted", "StateCollector", "install"]

logger = logging.getLogger(__name__)

Source = Callable[[], Iterable[Any]]
"""Yields further metric families at each scrape: limits, cron lateness, whatever another room knows."""


class StateCollector:
    """Reads the state when Prometheus asks. A server that does not answer is told as ``dispatch_up 0``, and no more."""

    def __init__(self, dispatch: Counted, *, max_labels: int = 500) -> None:
        self._dispatch = dispatch
        self._queues = Labels(cap=max_labels)
        self._limits = Labels(cap=max_labels)
        self._sources: list[Source] = []
        self._away_until = 0.0

    def add(self, source: Source) -> None:
        """Let another source be asked at each scrape; one that fails leaves out its own part."""
        self._sources.append(source)

    def describe(self) -> list[Any]:
        """Return nothing: registering must not ask the server."""
        return []

    def collect(self) -> Iterator[Any]:
        """Look, and yield every metric."""
        now = self._look()
        if now is None:
            yield _gauge("up", "Whether the state server answered this scrape.", 0)
            return
        yield _gauge("up", "Whether the state server answered this scrape.", 1)
        yield from self._figures(now.state)
        yield from self._limit_figures(now)
        yield from _cron_figures(now)
        for source in self._sources:
            try:
                yield from list(source())
            except Exception:
                logger.exception("a source of measures failed")

    def _look(self) -> Picture | None:
        # Flower collects on its event loop: a server that hangs must not hold up every page at every scrape.
        if time.monotonic() < self._away_until:
            return None
        try:
            return take_picture(self._dispatch)
        except DispatchError as error:
            logger.warning("the state cannot be measured: %s", error)
            self._away_until = time.monotonic() + _AWAY
            return None

    def _figures(self, now: Census) -> Iterator[Any]:
        yield _gauges("jobs", "Jobs in each state.", "state", now.jobs)
        yield _gauges("runs", "Runs in each state.", "state", now.runs)
        depth: dict[str, float] = {}
        oldest: dict[str, float] = {}
        for queue, one in sorted(now.queues.items()):
            label = self._queues.of(queue)
            depth[label] = depth.get(label, 0) + one.depth
            oldest[label] = max(oldest.get(label, 0.0), one.oldest)
        yield _gauges("queue_depth", "Jobs and runs that are ready.", "queue", depth)
        yield _gauges("queue_oldest_seconds", "For how long the first of them is ready.", "queue", oldest)
        yield _gauge("dead_letters", "Dead letters.", now.dead_letters)
        yield _gauge("timers", "What has a due time.", now.timers)
        yield _gauge("timers_overdue_seconds", "How late the first of them is.", now.overdue)
        yield _gauge("unpublished", "Ready work whose message is not known to be published.", now.marks)
        yield _gauge("events", "Events that can be found.", now.events)
        workers = {"registered": now.workers, "lost": now.condemned}
        yield _gauges("workers", "Workers, and lost ones that are being recovered.", "state", workers)
        yield _gauge("lease_left_seconds", "Until the first lease ends, as things stand.", now.lease_left)
        yield _gauge("leader", "Whether a worker leads.", int(bool(now.leader)))
        yield _gauge("leader_term", "The number of the leader's term.", now.term)

    def _limit_figures(self, now: Picture) -> Iterator[Any]:
        limits = folded(now.queues.limits, self._limits)
        most = {name: one.concurrency for name, one in limits.items() if one.concurrency is not None}
        rates = {name: one.rate for name, one in limits.items() if one.rate is not None}
        waits = {name: one.oldest for name, one in limits.items()}
        yield _gauges("limit_concurrency", "How many may run at once.", "limit", most)
        yield _gauges("limit_rate", "How many may begin, a second.", "limit", rates)
        yield _gauges("limit_permits", "Permits that are out.", "limit", {n: one.permits for n, one in limits.items()})
        yield _gauges("limit_waiting", "Jobs that wait.", "limit", {n: one.waiting for n, one in limits.items()})
        yield _gauges("limit_oldest_seconds", "For how long the first of them waits.", "limit", waits)
        yield _gauges(
            "limit_paused", "Whether it is paused.", "limit", {n: int(one.paused) for n, one in limits.items()}
        )
        yield _gauge("permits_under_way", "What the leader has yet to carry.", now.queues.under_way)


def _cron_figures(now: Picture) -> Iterator[Any]:
    crons = now.crons
    yield _gauges("crons", "Cron entries in each state.", "state", crons.states)
    yield _gauge("cron_overdue_seconds", "How late the most overdue entry is by now.", crons.overdue)
    yield _gauge("cron_late_seconds", "How late a slot was fired lately, at most.", crons.late)
    yield _gauge("cron_leader", "Whether a worker or a beat fires.", int(bool(crons.leader)))
    yield _gauge("cron_leader_term", "The number of its term.", crons.term)


_PREFIX: Final = "dispatch_"
_AWAY: Final = 10.0
"""Seconds for which a server that did not answer is not asked again."""
_installed: Final[WeakKeyDictionary[Any, StateCollector]] = WeakKeyDictionary()


def install(dispatch: Counted) -> StateCollector:
    """Show the state of an app at this process's metrics; a second call returns the first's collector."""
    collector = _installed.get(dispatch)
    if collector is None:
        collector = _installed[dispatch] = StateCollector(dispatch)
        REGISTRY.register(collector)
    return collector


def _gauge(name: str, words: str, value: float) -> Any:
    return GaugeMetricFamily(_PREFIX + name, words, value=value)


def _gauges(name: str, words: str, label: str, values: Mapping[str, float]) -> Any:
    family = GaugeMetricFamily(_PREFIX + name, words, labels=[label])
    for value, figure in values.items():
        family.add_metric([str(value)], figure)
    return family
