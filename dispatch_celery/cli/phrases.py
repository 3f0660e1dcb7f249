"""What explanations are made of: the surroundings of a job or a run, and the phrases several states share. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from dispatch_celery.cli.moments import when
from dispatch_celery.cli.plain import one_line
from dispatch_celery.cluster.model import Worker, WorkerState
from dispatch_celery.jobs.model import Job
from dispatch_celery.queues.model import Place
from dispatch_celery.work.model import Failure
from dispatch_celery.workflows.members import MEMBER_KINDS
from dispatch_celery.workflows.model import PromiseRecord, Run

__all__ = [
    "AWAITED",
    "GROUPS",
    "MADE_AT_ONCE",
    "Explanation",
    "Member",
    "RunSurroundings",
    "Surroundings",
    "Work",
    "attempt_of",
    "count_of",
    "declared",
    "group_of",
    "hint_of",
    "is_under_way",
    "is_undo",
    "kept_until",
    "kind_of",
    "named",
    "noun_of",
    "other_version",
    "progress_of",
    "reason_of",
    "share_of",
    "start_worker",
    "step_of",
    "with_failure",
]

_STILL_KNOWN: Final = timedelta(minutes=2)
"""Live workers say every minute which names they know; one that was not said for two is known to nobody."""


Work = Job | Run

AWAITED: Final = frozenset({"sleeping", "awaiting", "retrying"})
"""How a durable call stands that a run waits for; jobs, child runs and groups are ``open`` instead."""

GROUPS: Final = frozenset({"gather", "map", "race", "first_ok"})
"""Kinds of calls that have members."""

MADE_AT_ONCE: Final = frozenset({"now", "patched", "undo", "publish", "cancel"})
"""Kinds without a duration, whose values are this package's own, so that they can be shown."""


def kind_of(group: str) -> str:
    """Return the kind of call that the identity of a group names."""
    return group.rpartition("/")[2].rpartition("#")[0]


def group_of(identity: str) -> str:
    """Return the identity of the group that a call is a member of; empty where it is none. A task is no group."""
    group = identity.rpartition("/")[0]
    return "" if kind_of(group) == "task" else group


def share_of(members: Sequence[PromiseRecord]) -> str:
    """Return how many of a map's members have ended; empty where it is not recorded how many it has."""
    total = next((member.total for member in members if member.total is not None), None)
    if total is None:
        return ""
    return f"{sum(member.resolved_at is not None for member in members):,} of {total:,}"


def is_undo(promise: PromiseRecord) -> bool:
    """Return whether a line of the timeline is how something is undone."""
    return promise.kind == "undo" and promise.identity.startswith("undo:")


def is_under_way(promise: PromiseRecord) -> bool:
    """Return whether a call has begun and has no outcome yet; what is noted to be undone has not begun."""
    return promise.status in AWAITED or (promise.status == "open" and promise.kind in MEMBER_KINDS | GROUPS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A job or child run that a run has sent to the fleet, as its own record was when it was read."""

    id: str
    state: str = ""
    """Empty where the record is gone: its retention has passed."""
    begun_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What is around a job or a run at ``now``, beside its own record."""

    now: datetime
    command: str = "celery -A app dispatch"
    workers: tuple[Worker, ...] = ()
    pid: int = 0
    published_at: datetime | None = None
    publishes: int = 0
    ahead: int = 0
    place: Place | None = None
    limited_at: datetime | None = None
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
        """Whether some live worker declares the job's name, or the run's version of its workflow."""
        return self.known_at is not None and self.now - self.known_at < _STILL_KNOWN

    def ago(self, moment: datetime | None) -> str:
        """Return a moment and its distance."""
        return when(moment, self.now)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSurroundings(Surroundings):
    """What is around a run: its durable calls too, and what of it has a time."""

    promises: tuple[PromiseRecord, ...] = ()
    last_errors: Mapping[str, str] = field(default_factory=dict)
    """Of each call that waits for its next attempt, what ended the last one."""
    members: Mapping[str, Member] = field(default_factory=dict)
    """The jobs and child runs that it has sent, by the identity of their call."""
    waits: frozenset[str] | None = None
    """The identities it rests for; None where that is not known: then all that is under way."""
    topics: Mapping[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)
    """The names and keys of the events that each wait for events waits for, by the identity of the wait."""
    enough: int = 0
    """So many of them may be left when it goes on."""
    held_since: datetime | None = None
    parked_at: datetime | None = None
    start_at: datetime | None = None
    pause_until: datetime | None = None
    deadline: datetime | None = None
    max_promises: int = 0
    """How many durable calls it may record; 0 where that is not known."""

    @property
    def open_promises(self) -> tuple[PromiseRecord, ...]:
        """The calls under way without an outcome: what a waiting run waits for."""
        return tuple(
            promise
            for promise in self.promises
            if is_under_way(promise) and (self.waits is None or is_undo(promise) or promise.identity in self.waits)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What there is to say. ``since``: from when on; ``next_at``: when it moves by itself, if that is known."""

    explanation: str
    advice: str
    detail: str = ""
    """Further lines that no sentence could hold."""
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


def named(work: Work) -> str:
    """Return an id and a name; of a run, the version of its workflow too, and in which generation it is."""
    if not isinstance(work, Run):
        return f"{work.id} ({work.name})"
    return f"{work.id} ({work.name}, version {work.version}{f', generation {work.generation}' * (work.generation > 0)})"


def noun_of(work: Work) -> str:
    """Return what it is."""
    return "run" if isinstance(work, Run) else "job"


def declared(work: Work) -> str:
    """Return what a worker must declare to take it."""
    return f"version {work.version} of the workflow {work.name!r}" if isinstance(work, Run) else repr(work.name)


def other_version(run: Run, command: str) -> str:
    """Return how a run goes on with another version of its workflow, and how to find out whether it can."""
    return (
        f"`{command} runs migrate {run.id} VERSION` lets it go on with another version, where"
        f" `{command} runs check-code --run {run.id} --version VERSION` says that it fits."
    )


def attempt_of(number: int, around: Surroundings) -> str:
    """Return an attempt, and how many there may be."""
    return f"attempt {number} of {around.max_attempts}" if around.max_attempts else f"attempt {number}"


def with_failure(failure: Failure | None) -> str:
    """Return an error as the rest of a sentence."""
    return f", with {failure.type}: {one_line(failure.message)}".rstrip(": ") if failure else ""


def kept_until(around: Surroundings) -> str:
    """Return how long what has ended is kept, as the rest of a sentence."""
    return f"; its record is kept until {around.ago(around.kept_until)}" if around.kept_until else ""


def start_worker(work: Work, around: Surroundings) -> str:
    """Return the advice to start a worker that takes this job or run."""
    return f"Start a worker: `{around.command.removesuffix(' dispatch')} worker -Q {work.queue}`."


def count_of(number: int, noun: str) -> str:
    """Return a number of things."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def progress_of(progress: Mapping[str, Any] | None) -> str:
    """Return what a running job or step reported, as the rest of a sentence."""
    if not progress:
        return ""
    total, message = progress.get("total"), one_line(str(progress.get("message") or ""))
    share = f" of {_number(total)}" if isinstance(total, int | float) else ""
    return f", which has done {_number(progress.get('done', 0))}{share}{f' ({message})' if message else ''}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:g}"


def step_of(progress: Mapping[str, Any]) -> str:
    """Return which attempt of which step of a running run has reported, and what; or how far its map has come."""
    identity = one_line(str(progress.get("step")))
    if kind_of(identity) in GROUPS:
        return f"{identity}{progress_of(progress)}"
    kind = "" if identity.startswith("undo:") else "step "
    return f"attempt {progress.get('attempt')} of {kind}{identity}{progress_of(progress)}"


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
