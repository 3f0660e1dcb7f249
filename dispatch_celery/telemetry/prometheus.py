"""Exposes the state of the server to Prometheus: read at each scrape, in two bounded trips.

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
=====================================  ============  ==================================================================
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, Protocol
from weakref import WeakKeyDictionary

from prometheus_client import REGISTRY
from prometheus_client.core import GaugeMetricFamily

from dispatch_celery.cluster.census import Census
from dispatch_celery.errors import DispatchError
from dispatch_celery.telemetry.names import Labels

__all__ = ["Counted", "StateCollector", "install"]

logger = logging.getLogger(__name__)

Source = Callable[[], Iterable[Any]]
"""Yields further metric families at each scrape: limits, cron lateness, whatever another room knows."""


class Counted(Protocol):
    """What the collector asks of a ``Dispatch``."""

    def census(self) -> Census:
        """Look at the whole state."""
        ...


class StateCollector:
    """Reads the state when Prometheus asks. A server that does not answer is told as ``dispatch_up 0``, and no more."""

    def __init__(self, dispatch: Counted, *, max_labels: int = 500) -> None:
        self._dispatch = dispatch
        self._queues = Labels(cap=max_labels)
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
        yield from self._figures(now)
        for source in self._sources:
            try:
                yield from list(source())
            except Exception:
                logger.exception("a source of measures failed")

    def _look(self) -> Census | None:
        # Flower collects on its event loop: a server that hangs must not hold up every page at every scrape.
        if time.monotonic() < self._away_until:
            return None
        try:
            return self._dispatch.census()
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
