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

import time
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from opentelemetry.metrics import Histogram, Meter

from dispatch_celery.extensions.base import Extension
from dispatch_celery.ids import CronId, EventId, JobId, RunId
from dispatch_celery.jobs.context import JobContext
from dispatch_celery.jobs.model import JobRef
from dispatch_celery.middleware.base import ExecutionContext
from dispatch_celery.telemetry import names
from dispatch_celery.telemetry.instruments import Tally, Timings
from dispatch_celery.telemetry.names import Labels
from dispatch_celery.work.model import WorkRef
from dispatch_celery.workflows.model import RunRef

__all__ = ["Metrics"]

_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600)
_WORK: Final = (names.NAME, names.DESTINATION, names.TRANSITION)


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
