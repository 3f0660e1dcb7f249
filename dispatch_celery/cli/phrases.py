"""What explanations are made of: the surroundings of a job, and the phrases several states share. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from dispatch_celery.cli.moments import when
from dispatch_celery.cli.plain import one_line
from dispatch_celery.cluster.model import Worker, WorkerState
from dispatch_celery.jobs.model import Failure, Job

__all__ = [
    "Explanation",
    "Surroundings",
    "attempt_of",
    "count_of",
    "hint_of",
    "kept_until",
    "named",
    "progress_of",
    "reason_of",
    "start_worker",
    "with_failure",
]

_STILL_KNOWN: Final = timedelta(minutes=2)
"""Live workers say every minute which names they know; one that was not said for two is known to nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What is around a job at ``now``, beside its own record."""

    now: datetime
    command: str = "celery -A app dispatch"
    workers: tuple[Worker, ...] = ()
    pid: int = 0
    published_at: datetime | None = None
    publishes: int = 0
    ahead: int = 0
    unknown_since: datetime | None = None
    known_at: datetime | None = None
    unknown_grace: timedelta = timedelta(minutes=10)
    timeout: timedelta | None = None
    max_attempts: int | None = None
    kept_until: datetime | None = None

    @property
    def live(self) -> tuple[Worker, ...]:
        """The workers that claim jobs."""
        return tuple(worker for worker in self.workers if worker.state == WorkerState.ACTIVE and self.leased(worker))

    def leased(self, worker: Worker) -> bool:
        """Return whether a worker's lease stands."""
        return worker.lease_until is not None and worker.lease_until > self.now

    @property
    def name_is_known(self) -> bool:
        """Whether some live worker declares the job's name."""
        return self.known_at is not None and self.now - self.known_at < _STILL_KNOWN

    def ago(self, moment: datetime | None) -> str:
        """Return a moment and its distance."""
        return when(moment, self.now)


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What there is to say. ``since``: from when on; ``next_at``: when it moves by itself, if that is known."""

    explanation: str
    advice: str
    since: datetime | None = None
    next_at: datetime | None = None
    worker: str = ""


_REASONS: Final = {
    "attempts used up": "its attempts are used up",
    "given up": "its retry policy gives up on this error",
    "payload": "its arguments or its result do not fit their types",
    "crashed": "its process died too often",
    "unknown": "no live worker knew its name",
}


def reason_of(job: Job, around: Surroundings) -> str:
    """Return why a job failed."""
    if job.reason == "attempts used up" and around.max_attempts:
        return (
            "its only attempt is used up"
            if around.max_attempts == 1
            else f"all {around.max_attempts} attempts are used up"
        )
    return _REASONS.get(job.reason, one_line(job.reason))


def named(job: Job) -> str:
    """Return a job's id and name."""
    return f"{job.id} ({job.name})"


def attempt_of(number: int, around: Surroundings) -> str:
    """Return an attempt, and how many there may be."""
    return f"attempt {number} of {around.max_attempts}" if around.max_attempts else f"attempt {number}"


def with_failure(failure: Failure | None) -> str:
    """Return an error as the rest of a sentence."""
    return f", with {failure.type}: {one_line(failure.message)}".rstrip(": ") if failure else ""


def kept_until(around: Surroundings) -> str:
    """Return how long an ended job is kept, as the rest of a sentence."""
    return f"; its record is kept until {around.ago(around.kept_until)}" if around.kept_until else ""


def start_worker(job: Job, around: Surroundings) -> str:
    """Return the advice to start a worker that takes this job."""
    return f"Start a worker: `{around.command.removesuffix(' dispatch')} worker -Q {job.queue}`."


def count_of(number: int, noun: str) -> str:
    """Return a number of things."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def progress_of(progress: Mapping[str, Any] | None) -> str:
    """Return what a running job reported, as the rest of a sentence."""
    if not progress:
        return ""
    total, message = progress.get("total"), one_line(str(progress.get("message") or ""))
    share = f" of {total:g}" if isinstance(total, int | float) else ""
    return f", which has done {progress.get('done', 0):g}{share}{f' ({message})' if message else ''}"


def hint_of(result: Any) -> str:
    """Return what kind of value a result is; never the value, which may be secret."""
    if result is None:
        return "null"
    if isinstance(result, Mapping):
        return f"an object of {count_of(len(result), 'field')}"
    if isinstance(result, list):
        return f"a list of {count_of(len(result), 'item')}"
    if isinstance(result, str):
        return f"a text of {count_of(len(result), 'character')}"
    return "a truth value" if isinstance(result, bool) else "a number"
