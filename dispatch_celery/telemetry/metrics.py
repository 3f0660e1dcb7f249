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
``dispatch.cron.late``             histogram  ``dispatch.name``: of the entry, from due until fired; no queue
``dispatch.queue.depth``           gauge
``dispatch.queue.oldest``          gauge
``dispatch.jobs``                  gauge      ``dispatch.state``; no queue
``dispatch.runs``                  gauge      ``dispatch.state``; no queue
``dispatch.dead_letters``          gauge      none
``dispatch.timers.overdue``        gauge      none
``dispatch.workers``               gauge      ``dispatch.state``; no queue
``dispatch.lease.left``            gauge      none: until the first lease ends
``dispatch.leader``                gauge      none: 1 while somebody leads
``dispatch.limit.concurrency``     gauge      ``dispatch.limit``: how many may run at once; no queue
``dispatch.limit.rate``            gauge      ``dispatch.limit``: how many may begin, a second; no queue
``dispatch.limit.permits``         gauge      ``dispatch.limit``: permits that are out; no queue
``dispatch.limit.waiting``         gauge      ``dispatch.limit``: jobs that wait for a permit; no queue
``dispatch.limit.oldest``          gauge      ``dispatch.limit``: for how long the first of them waits; no queue
``dispatch.limit.paused``          gauge      ``dispatch.limit``: 1 where it is paused; no queue
``dispatch.crons``                 gauge      ``dispatch.state``; no queue
``dispatch.cron.overdue``          gauge      none: how late the most overdue entry is by now
``dispatch.cron.leader``           gauge      none: 1 while somebody fires
=================================  =========  ========================================================================

Times are in seconds. Gauges are read by the leader's process only, at each collection, in eight bounded trips at most.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from opentelemetry.context import Context, get_current
from opentelemetry.metrics import CallbackOptions, Histogram, Meter, Observation

from dispatch_celery.extensions.base import Extension
from dispatch_celery.ids import CronId, EventId, JobId, RunId
from dispatch_celery.jobs.context import JobContext
from dispatch_celery.jobs.model import JobRef
from dispatch_celery.middleware.base import ExecutionContext
from dispatch_celery.telemetry import names
from dispatch_celery.telemetry.names import Labels
from dispatch_celery.work.model import WorkRef
from dispatch_celery.workflows.model import RunRef

__all__ = ["Metrics"]

_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600)
_IN_A_ROW: Final = 64
"""Times that are held back, at most."""

_Timing = tuple[Histogram, float, Mapping[str, str], Context]

_WORK: Final = (names.NAME, names.DESTINATION, names.TRANSITION)


class Tally:
    """A counter that is observed: counting is one addition here, and the SDK is asked at each collection only."""

    def __init__(
        self,
        meter: Meter,
        name: str,
        unit: str,
        words: str,
        labels: tuple[str, ...],
        *others: Callable[[CallbackOptions], Iterable[Observation]],
    ) -> None:
        """Make the counter; ``others`` are asked at each collection, too."""
        self._labels = labels
        self._counts: dict[tuple[str, ...], int] = {}
        self._lock = threading.Lock()
        self._pid = os.getpid()
        meter.create_observable_counter(name, [self._observe, *others], unit, words)

    def add(self, *values: str) -> None:
        """Count one."""
        if self._pid != os.getpid():
            # What a parent has counted before the fork, the parent tells.
            self._counts, self._lock, self._pid = {}, threading.Lock(), os.getpid()
        with self._lock:
            self._counts[values] = self._counts.get(values, 0) + 1

    def _observe(self, _options: CallbackOptions) -> list[Observation]:
        if self._pid != os.getpid():
            return []
        with self._lock:
            counts = list(self._counts.items())
        return [Observation(count, dict(zip(self._labels, values, strict=True))) for values, count in counts]


class Timings:
    """Times on their way to histograms: held back, and recorded many in a row.

    A record of the SDK that comes between other work takes three times as long as one that follows another: 14 us, and
    5, by a profile of a drain and a loop. Each keeps the context it was taken in, for exemplars.
    """

    def __init__(self) -> None:
        self._held: list[_Timing] = []
        self._lock = threading.Lock()
        self._pid = os.getpid()

    def add(self, histogram: Histogram, seconds: float, attributes: Mapping[str, str]) -> None:
        """Hold one back."""
        if self._pid != os.getpid():
            # What a parent has held back at the fork, the parent records.
            self._held, self._lock, self._pid = [], threading.Lock(), os.getpid()
        with self._lock:
            self._held.append((histogram, seconds, attributes, get_current()))
            enough = len(self._held) >= _IN_A_ROW
        if enough:
            self.flush()

    def flush(self, _options: CallbackOptions | None = None) -> Sequence[Observation]:
        """Record what was held back. Observes nothing: it is asked at a collection, so that nothing is told late."""
        if self._pid == os.getpid():
            with self._lock:
                held, self._held = self._held, []
            for histogram, seconds, attributes, context in held:
                histogram.record(seconds, attributes, context)
        return ()


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
        self._cron_names = Labels(cap=max_labels)
        self._timings = Timings()
        self._jobs = Tally(
            meter, "dispatch.job.transitions", "{transition}", "What happened to jobs.", _WORK, self._timings.flush
        )
        self._runs = Tally(meter, "dispatch.run.transitions", "{transition}", "What happened to runs.", _WORK)
        self._workers = Tally(
            meter, "dispatch.worker.transitions", "{transition}", "What happened to workers.", (names.TRANSITION,)
        )
        self._events = Tally(meter, "dispatch.event.published", "{event}", "Events published.", (names.NAME,))
        self._processed = _histogram(meter, names.PROCESS_DURATION, "Attempts of jobs and slices of runs.")
        self._waited = _histogram(meter, "dispatch.job.wait", "From ready until a worker took it.")
        self._late = _histogram(meter, "dispatch.cron.late", "From due until fired.")
        self._steps = _histogram(meter, "dispatch.step.duration", "Attempts of steps and undos.")

    # -- told by the executor

    def executed(self, ref: WorkRef, outcome: str, error: BaseException | None, elapsed: float) -> None:
        """Measure one attempt of a job or one slice of a run."""
        attributes = {**self._of(ref), names.KIND: "run" if ref.kind else "job", names.OUTCOME: outcome}
        if error is not None:
            attributes[names.ERROR_TYPE] = self._errors.of(type(error).__qualname__)
        attributes[names.MESSAGING_SYSTEM] = names.SYSTEM
        attributes[names.OPERATION_NAME] = "run"
        self._timings.add(self._processed, elapsed, attributes)

    def waited(self, ref: WorkRef, seconds: float) -> None:
        """Measure for how long a job was ready before somebody took it."""
        self._timings.add(self._waited, seconds, self._of(ref))

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
            self._timings.add(self._steps, time.perf_counter() - began, attributes)

    def _of(self, ref: WorkRef) -> dict[str, str]:
        return {names.NAME: self._labels.of(ref.name), names.DESTINATION: self._queues.of(ref.queue)}

    def _job(self, ref: WorkRef, transition: str) -> None:
        self._jobs.add(self._labels.of(ref.name), self._queues.of(ref.queue), transition)

    def _run(self, ref: WorkRef, transition: str) -> None:
        self._runs.add(self._labels.of(ref.name), self._queues.of(ref.queue), transition)

    # -- hooks

    def on_job_enqueued(self, job: JobRef) -> None:
        """Count."""
        self._job(job, "enqueued")

    def on_job_limited(self, job: JobRef, limit: str) -> None:  # noqa: ARG002 - the hook's parameter
        """Count."""
        self._job(job, "limited")

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

    def on_job_reopened(self, job: JobRef) -> None:
        """Count."""
        self._job(job, "reopened")

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
        self._workers.add("joined")

    def on_worker_lost(self, worker: str) -> None:  # noqa: ARG002 - as above
        """Count."""
        self._workers.add("lost")

    def on_leader_changed(self, leader: str) -> None:  # noqa: ARG002 - as above
        """Count."""
        self._workers.add("leader_changed")

    def on_event_published(self, event: EventId, name: str, key: str) -> None:  # noqa: ARG002 - as above
        """Count."""
        self._events.add(self._event_names.of(name))

    def on_cron_fired(
        self,
        cron: CronId,  # noqa: ARG002 - as above
        name: str,
        slot: datetime | None,
        id: JobId | RunId,  # noqa: A002, ARG002 - as above
        late: float,
    ) -> None:
        """Measure how late a slot was fired; by hand, nothing is late."""
        if slot is not None:
            self._timings.add(self._late, late, {names.NAME: self._cron_names.of(name)})


def _histogram(meter: Meter, name: str, words: str) -> Histogram:
    return meter.create_histogram(name, "s", words, explicit_bucket_boundaries_advisory=_SECONDS)
