"""Gauges: what only the state knows, observed at each collection by the process that leads, and by no other."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from dispatch_celery.cluster.census import Census
from dispatch_celery.errors import DispatchError
from dispatch_celery.extensions.base import Extension
from dispatch_celery.queues.census import LimitCensus
from dispatch_celery.telemetry import names
from dispatch_celery.telemetry.names import Labels
from dispatch_celery.telemetry.picture import Picture, folded

__all__ = ["Gauges"]

_FRESH: Final = 1.0
"""Seconds for which one look serves all gauges of a collection."""

Figure = tuple[float, Mapping[str, str]]

_LIMITS: Final[Sequence[tuple[str, str, str, Callable[[LimitCensus], float | None]]]] = (
    ("dispatch.limit.concurrency", "{job}", "How many may run at once.", lambda one: one.concurrency),
    ("dispatch.limit.rate", "{job}/s", "How many may begin.", lambda one: one.rate),
    ("dispatch.limit.permits", "{permit}", "Permits that are out.", lambda one: one.permits),
    ("dispatch.limit.waiting", "{job}", "Jobs that wait for a permit.", lambda one: one.waiting),
    ("dispatch.limit.oldest", "s", "For how long the first of them waits.", lambda one: one.oldest),
    ("dispatch.limit.paused", "1", "Whether it is paused.", lambda one: int(one.paused)),
)


class Gauges(Extension):
    """Observes the state where this process leads, so that the fleet is measured once and not once per process."""

    patience = None

    def __init__(self, meter: Meter, *, look: Callable[[], Picture], queues: Labels, limits: Labels) -> None:
        self._take = look
        self._queues = queues
        self._limits = limits
        self._me = ""
        self._leader_pid = 0
        """The process that leads, as this one was told; a child that is forked from it later has the number, too."""
        self._seen: tuple[float, Picture | None] = (0.0, None)
        for name, unit, words, read in self._all():
            meter.create_observable_gauge(name, [self._observing(read)], unit, words)

    def on_worker_joined(self, worker: str) -> None:
        """Know who this process is."""
        self._me, self._leader_pid = worker, 0

    def on_leader_changed(self, leader: str) -> None:
        """Know whether this process leads."""
        self._leader_pid = os.getpid() if leader and leader == self._me else 0

    def on_shutdown(self) -> None:
        """Leave it to the next leader."""
        self._leader_pid = 0

    def _all(self) -> Sequence[tuple[str, str, str, Callable[[Picture], Iterable[Figure]]]]:
        return (
            ("dispatch.queue.depth", "{item}", "Ready jobs and runs.", lambda now: self._by_queue(now.state, "depth")),
            (
                "dispatch.queue.oldest",
                "s",
                "For how long the first is ready.",
                lambda now: self._by_queue(now.state, "oldest"),
            ),
            ("dispatch.jobs", "{job}", "Jobs in each state.", lambda now: _by_state(now.state.jobs)),
            ("dispatch.runs", "{run}", "Runs in each state.", lambda now: _by_state(now.state.runs)),
            ("dispatch.dead_letters", "{letter}", "Dead letters.", lambda now: [(now.state.dead_letters, {})]),
            ("dispatch.timers.overdue", "s", "How late the first timer is.", lambda now: [(now.state.overdue, {})]),
            ("dispatch.workers", "{worker}", "Workers.", lambda now: _by_state(_workers(now.state))),
            ("dispatch.lease.left", "s", "Until the first lease ends.", lambda now: [(now.state.lease_left, {})]),
            ("dispatch.leader", "1", "Whether somebody leads.", lambda now: [(int(bool(now.state.leader)), {})]),
            *((name, unit, words, self._of_limits(read)) for name, unit, words, read in _LIMITS),
            ("dispatch.crons", "{entry}", "Cron entries in each state.", lambda now: _by_state(now.crons.states)),
            ("dispatch.cron.overdue", "s", "How late the first entry is.", lambda now: [(now.crons.overdue, {})]),
            ("dispatch.cron.leader", "1", "Whether somebody fires.", lambda now: [(int(bool(now.crons.leader)), {})]),
        )

    def _observing(
        self, read: Callable[[Picture], Iterable[Figure]]
    ) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def observe(_options: CallbackOptions) -> list[Observation]:
            now = self._look()
            return [] if now is None else [Observation(value, labels) for value, labels in read(now)]

        return observe

    def _look(self) -> Picture | None:
        if self._leader_pid != os.getpid():
            return None
        taken, seen = self._seen
        if seen is None or time.monotonic() - taken > _FRESH:
            try:
                seen = self._take()
            except DispatchError:
                seen = None  # the next collection looks again; a gap in the picture says it well enough
            self._seen = (time.monotonic(), seen)
        return seen

    def _of_limits(self, read: Callable[[LimitCensus], float | None]) -> Callable[[Picture], Iterable[Figure]]:
        def figures(now: Picture) -> list[Figure]:
            found = ((read(one), name) for name, one in folded(now.queues.limits, self._limits).items())
            return [(value, {names.LIMIT: name}) for value, name in found if value is not None]

        return figures

    def _by_queue(self, now: Census, figure: str) -> list[Figure]:
        found: dict[str, float] = {}
        for queue, one in now.queues.items():
            label, value = self._queues.of(queue), getattr(one, figure)
            found[label] = max(found.get(label, 0), value) if figure == "oldest" else found.get(label, 0) + value
        return [(value, {names.DESTINATION: label}) for label, value in found.items()]


def _by_state(counts: Mapping[str, int]) -> list[Figure]:
    return [(count, {names.STATE: str(state)}) for state, count in counts.items()]


def _workers(now: Census) -> dict[str, int]:
    return {"registered": now.workers, "lost": now.condemned}
