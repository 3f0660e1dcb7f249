"""Measures: transitions counted where they are recorded, times where they end, and what only the state knows.

=================================  =========  ========================================================================
instrument                         kind       labels beside ``messaging.destination.name`` (the queue)
=================================  =========  ========================================================================
``dispatch.job.transitions``       counter    ``dispatch.name``, ``dispatch.transition``
``dispatch.run.transitions``       counter    ``dispatch.name``, ``dispatch.transition``
``messaging.process.duration``     histogram  ``dispatch.name``, ``dispatch.kind``, ``dispatch.outcome``, ``error.type``
``dispatch.job.wait``              histogram  ``dispatch.name``: ready until a worker took it
``dispatch.step.duration``         histogram  ``dispatch.name``, ``dispatch.outcome``, ``error.type``; no queue
``dispatch.worker.transitions``    counter    ``dispatch.transition``; no queue
``dispatch.event.published``       counter    ``dispatch.name``; no queue
``dispatch.queue.depth``           gauge
``dispatch.queue.oldest``          gauge
``dispatch.jobs``                  gauge      ``dispatch.state``; no queue
``dispatch.runs``                  gauge      ``dispatch.state``; no queue
``dispatch.dead_letters``          gauge      none
``dispatch.timers.overdue``        gauge      none
``dispatch.workers``               gauge      ``dispatch.state``; no queue
``dispatch.lease.left``            gauge      none: until the first lease ends
``dispatch.leader``                gauge      none: 1 while somebody leads
=================================  =========  ========================================================================

Times are in seconds. Gauges are read by the leader's process only, at each collection, in two trips.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from dispatch_celery.cluster.census import Census
from dispatch_celery.errors import DispatchError
from dispatch_celery.extensions.base import Extension
from dispatch_celery.ids import EventId
from dispatch_celery.jobs.context import JobContext
from dispatch_celery.jobs.model import JobRef
from dispatch_celery.middleware.base import ExecutionContext
from dispatch_celery.telemetry import names
from dispatch_celery.telemetry.names import Labels
from dispatch_celery.work.model import WorkRef
from dispatch_celery.workflows.model import RunRef

__all__ = ["Gauges", "Metrics"]

_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600)
_FRESH: Final = 1.0
"""Seconds for which one look serves all gauges of a collection."""


class Metrics(Extension):
    """Counts transitions, and measures steps as a middleware. Touches memory only."""

    patience = None

    def __init__(self, meter: Meter, *, labels: Labels, queues: Labels, max_labels: int) -> None:
        self._labels = labels
        self._queues = queues
        # Each kind of name has a bound of its own: callers that make up names must not fold those of steps.
        self._errors = Labels(cap=max_labels)
        self._step_names = Labels(cap=max_labels)
        self._event_names = Labels(cap=max_labels)
        self._jobs = meter.create_counter("dispatch.job.transitions", "{transition}", "What happened to jobs.")
        self._runs = meter.create_counter("dispatch.run.transitions", "{transition}", "What happened to runs.")
        self._workers = meter.create_counter("dispatch.worker.transitions", "{transition}", "What happened to workers.")
        self._events = meter.create_counter("dispatch.event.published", "{event}", "Events that were published.")
        self._processed = _histogram(meter, names.PROCESS_DURATION, "Attempts of jobs and slices of runs.")
        self._waited = _histogram(meter, "dispatch.job.wait", "From ready until a worker took it.")
        self._steps = _histogram(meter, "dispatch.step.duration", "Attempts of steps and undos.")

    # -- told by the executor

    def executed(self, ref: WorkRef, outcome: str, error: BaseException | None, elapsed: float) -> None:
        """Measure one attempt of a job or one slice of a run."""
        attributes = {**self._of(ref), names.KIND: "run" if ref.kind else "job", names.OUTCOME: outcome}
        if error is not None:
            attributes[names.ERROR_TYPE] = self._errors.of(type(error).__qualname__)
        attributes[names.MESSAGING_SYSTEM] = names.SYSTEM
        attributes[names.OPERATION_NAME] = "run"
        self._processed.record(elapsed, attributes)

    def waited(self, ref: WorkRef, seconds: float) -> None:
        """Measure for how long a job was ready before somebody took it."""
        self._waited.record(seconds, self._of(ref))

    def __call__(self, context: ExecutionContext, call_next: Callable[[], Any]) -> Any:
        """Wrap an attempt of a step or of an undo; jobs are measured as a whole."""
        if isinstance(context, JobContext):
            return call_next()
        attributes = {names.NAME: self._step_names.of(context.name), names.OUTCOME: "failed"}
        began = time.perf_counter()
        try:
            value = call_next()
            attributes[names.OUTCOME] = "completed"
        except Exception as error:
            attributes[names.ERROR_TYPE] = self._errors.of(type(error).__qualname__)
            raise
        else:
            return value
        finally:
            self._steps.record(time.perf_counter() - began, attributes)

    def _of(self, ref: WorkRef) -> dict[str, str]:
        return {names.NAME: self._labels.of(ref.name), names.DESTINATION: self._queues.of(ref.queue)}

    def _job(self, ref: WorkRef, transition: str) -> None:
        self._jobs.add(1, {**self._of(ref), names.TRANSITION: transition})

    def _run(self, ref: WorkRef, transition: str) -> None:
        self._runs.add(1, {**self._of(ref), names.TRANSITION: transition})

    # -- hooks

    def on_job_enqueued(self, job: JobRef) -> None:
        """Count."""
        self._job(job, "enqueued")

    def on_job_started(self, job: JobRef) -> None:
        """Count."""
        self._job(job, "started")

    def on_job_completed(self, job: JobRef, elapsed: float) -> None:  # noqa: ARG002 - the hook's parameter
        """Count."""
        self._job(job, "completed")

    def on_job_retrying(self, job: JobRef, attempt: int, next_run_at: datetime) -> None:  # noqa: ARG002 - as above
        """Count."""
        self._job(job, "retrying")

    def on_job_failed(self, job: JobRef, error: BaseException | None) -> None:  # noqa: ARG002 - as above
        """Count."""
        self._job(job, "failed")

    def on_job_dead_lettered(self, job: JobRef, error: BaseException | None) -> None:  # noqa: ARG002 - as above
        """Count."""
        self._job(job, "dead_lettered")

    def on_job_cancelled(self, job: JobRef) -> None:
        """Count."""
        self._job(job, "cancelled")

    def on_job_recovered(self, job: JobRef, holder: str, why: str) -> None:  # noqa: ARG002 - as above
        """Count."""
        self._job(job, "recovered")

    def on_run_enqueued(self, run: RunRef) -> None:
        """Count."""
        self._run(run, "enqueued")

    def on_run_started(self, run: RunRef) -> None:
        """Count."""
        self._run(run, "started")

    def on_run_resumed(self, run: RunRef) -> None:
        """Count."""
        self._run(run, "resumed")

    def on_run_waiting(self, run: RunRef) -> None:
        """Count."""
        self._run(run, "waiting")

    def on_run_compensating(self, run: RunRef) -> None:
        """Count."""
        self._run(run, "compensating")

    def on_run_completed(self, run: RunRef, elapsed: float) -> None:  # noqa: ARG002 - as above
        """Count."""
        self._run(run, "completed")

    def on_run_failed(self, run: RunRef, error: BaseException | None) -> None:  # noqa: ARG002 - as above
        """Count."""
        self._run(run, "failed")

    def on_run_cancelled(self, run: RunRef) -> None:
        """Count."""
        self._run(run, "cancelled")

    def on_run_parked(self, run: RunRef, reason: str) -> None:  # noqa: ARG002 - as above
        """Count."""
        self._run(run, "parked")

    def on_run_recovered(self, run: RunRef, holder: str, why: str) -> None:  # noqa: ARG002 - as above
        """Count."""
        self._run(run, "recovered")

    def on_worker_joined(self, worker: str) -> None:  # noqa: ARG002 - as above
        """Count."""
        self._workers.add(1, {names.TRANSITION: "joined"})

    def on_worker_lost(self, worker: str) -> None:  # noqa: ARG002 - as above
        """Count."""
        self._workers.add(1, {names.TRANSITION: "lost"})

    def on_leader_changed(self, leader: str) -> None:  # noqa: ARG002 - as above
        """Count."""
        self._workers.add(1, {names.TRANSITION: "leader_changed"})

    def on_event_published(self, event: EventId, name: str, key: str) -> None:  # noqa: ARG002 - as above
        """Count."""
        self._events.add(1, {names.NAME: self._event_names.of(name)})


Figure = tuple[float, Mapping[str, str]]


class Gauges(Extension):
    """Observes the state where this process leads, so that the fleet is measured once and not once per process."""

    patience = None

    def __init__(self, meter: Meter, *, census: Callable[[], Census], queues: Labels) -> None:
        self._census = census
        self._queues = queues
        self._me = ""
        self._leads = False
        self._seen: tuple[float, Census | None] = (0.0, None)
        for name, unit, words, read in self._all():
            meter.create_observable_gauge(name, [self._observing(read)], unit, words)

    def on_worker_joined(self, worker: str) -> None:
        """Know who this process is."""
        self._me, self._leads = worker, False

    def on_leader_changed(self, leader: str) -> None:
        """Know whether this process leads."""
        self._leads = bool(leader) and leader == self._me

    def on_shutdown(self) -> None:
        """Leave it to the next leader."""
        self._leads = False

    def _all(self) -> Sequence[tuple[str, str, str, Callable[[Census], Iterable[Figure]]]]:
        return (
            ("dispatch.queue.depth", "{item}", "Ready jobs and runs.", lambda now: self._by_queue(now, "depth")),
            (
                "dispatch.queue.oldest",
                "s",
                "For how long the first is ready.",
                lambda now: self._by_queue(now, "oldest"),
            ),
            ("dispatch.jobs", "{job}", "Jobs in each state.", lambda now: _by_state(now.jobs)),
            ("dispatch.runs", "{run}", "Runs in each state.", lambda now: _by_state(now.runs)),
            ("dispatch.dead_letters", "{letter}", "Dead letters.", lambda now: [(now.dead_letters, {})]),
            ("dispatch.timers.overdue", "s", "How late the first timer is.", lambda now: [(now.overdue, {})]),
            ("dispatch.workers", "{worker}", "Workers.", lambda now: _by_state(_workers(now))),
            ("dispatch.lease.left", "s", "Until the first lease ends.", lambda now: [(now.lease_left, {})]),
            ("dispatch.leader", "1", "Whether somebody leads.", lambda now: [(int(bool(now.leader)), {})]),
        )

    def _observing(
        self, read: Callable[[Census], Iterable[Figure]]
    ) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def observe(_options: CallbackOptions) -> list[Observation]:
            now = self._look()
            return [] if now is None else [Observation(value, labels) for value, labels in read(now)]

        return observe

    def _look(self) -> Census | None:
        if not self._leads:
            return None
        taken, census = self._seen
        if census is None or time.monotonic() - taken > _FRESH:
            try:
                census = self._census()
            except DispatchError:
                census = None  # the next collection looks again; a gap in the picture says it well enough
            self._seen = (time.monotonic(), census)
        return census

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


def _histogram(meter: Meter, name: str, words: str) -> Any:
    return meter.create_histogram(name, "s", words, explicit_bucket_boundaries_advisory=_SECONDS)
