"""What a run sends to the fleet: jobs and child runs, each with a promise by which the run waits for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, Protocol, TypeVar

from dispatch_celery.codec import Codec
from dispatch_celery.errors import JobCancelled, JobFailed, RunCancelled, RunFailed, WorkflowMisuse
from dispatch_celery.jobs.definition import Call
from dispatch_celery.work.model import Parent, WorkRef
from dispatch_celery.work.records import decode_failure
from dispatch_celery.workflows.definition import RunCall
from dispatch_celery.workflows.failure import rebuilt
from dispatch_celery.workflows.held import Family, Member
from dispatch_celery.workflows.journal import MEMBER_KINDS, Entry

__all__ = [
    "MEMBER_KINDS",
    "Fleet",
    "FleetCall",
    "NewMember",
    "Outcome",
    "SyncPromise",
    "called_off",
    "check_member",
    "families",
    "outcome_of",
]

R_co = TypeVar("R_co", covariant=True)

_BATCH: Final = 500

FleetCall = Call[Any] | RunCall[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewMember:
    """A job or child run as it would be written, and the options that all of a family share."""

    ref: WorkRef
    spec: dict[str, Any]
    payload: bytes
    due: int | None = None
    expires: int | None = None
    timeout: int | None = None
    detached: bool = False


class Fleet(Protocol):
    """What a run needs of the floors above to work with the fleet."""

    def member(self, call: FleetCall, *, seed: str, parent: Parent, now: int) -> NewMember:
        """Return what would be written for a call; its id derives from ``seed``."""
        ...

    def riders(self, members: Sequence[NewMember]) -> list[Any]:
        """Return the commands that publish the members' wake-ups along with the script that writes them, if any."""
        ...

    def published(self, members: Sequence[NewMember], *, rode: bool) -> None:
        """Publish the members' wake-ups where they could not ride; tell who listens."""
        ...

    def call_off(self, member_id: str, reason: str, *, by: str) -> bool:
        """Cancel a member that has not ended; return whether it has.

        ``by`` says who holds the run, and where it stands; raises ``Fenced`` where that is not so any more.
        """
        ...

    def take_back(self, member_id: str, reason: str, *, by: str) -> bool:
        """Let a child that has completed undo what it did; return whether nothing of that is left to do.

        ``by`` as for ``call_off``.
        """
        ...


@dataclass(frozen=True, slots=True)
class Outcome(Generic[R_co]):
    """How one member of a ``map`` ended: with a value, or with an error."""

    value: R_co | None = None
    error: Exception | None = None

    @property
    def ok(self) -> bool:
        """Whether it has a value."""
        return self.error is None

    def result(self) -> R_co:
        """Return the value, or raise the error."""
        if self.error is not None:
            raise self.error
        return self.value  # type: ignore[return-value]  # there is one where there is no error


class SyncPromise(Generic[R_co]):
    """A job or child run that its run has sent to the fleet and does not wait for yet."""

    def __init__(self, identity: str, member_id: str, codec: Codec, wait: Callable[[str], Entry]) -> None:
        self.identity = identity
        self.id = member_id
        """The id of the job or run: a handle of it works anywhere."""
        self._codec = codec
        self._wait = wait

    def __repr__(self) -> str:
        return f"<promise {self.identity} of {self.id}>"

    def result(self) -> R_co:
        """Wait for its end, without holding a worker; return its result.

        Raises:
            JobFailed, JobCancelled, RunFailed, RunCancelled: it ended without one.
        """
        value: R_co = outcome_of(self._wait(self.identity), self._codec).result()
        return value


def called_off(run_id: str, name: str) -> str:
    """Return the reason that members are cancelled for when what their run has done is undone."""
    return f"its run {run_id} ({name}) is undone"


def families(made: Sequence[tuple[str, bytes, NewMember]]) -> Iterator[tuple[Family, list[NewMember]]]:
    """Yield what one script can write: neighbours of one kind, name and lane, with the same options."""
    batch: list[tuple[str, bytes, NewMember]] = []
    for one in made:
        if batch and (len(batch) == _BATCH or _family(one[2]) != _family(batch[0][2])):
            yield _written(batch)
            batch = []
        batch.append(one)
    if batch:
        yield _written(batch)


def _family(member: NewMember) -> tuple[Any, ...]:
    ref = member.ref
    options = (member.due, member.expires, member.timeout, member.detached)
    return ref.kind, ref.name, ref.lane, ref.scope, *options


def _written(batch: Sequence[tuple[str, bytes, NewMember]]) -> tuple[Family, list[NewMember]]:
    first = batch[0][2]
    members = [
        Member(identity=identity, rest=rest, ref=new.ref, spec=new.spec, payload=new.payload)
        for identity, rest, new in batch
    ]
    family = Family(
        members=members, due=first.due, expires=first.expires, timeout=first.timeout, detached=first.detached
    )
    return family, [new for _, _, new in batch]


def outcome_of(entry: Entry, codec: Codec) -> Outcome[Any]:
    """Return how a resolved promise ended, as on every replay."""
    if entry.status == "value":
        return Outcome(codec.decode(entry.payload))
    if entry.head["k"] not in MEMBER_KINDS:
        return Outcome(error=rebuilt(entry.identity, entry.payload))
    first, _, told = entry.payload.partition(b"\n")
    state, _, member_id = first.decode().partition(" ")
    failed, cancelled = (RunFailed, RunCancelled) if member_id[:3] == "run" else (JobFailed, JobCancelled)
    if state == "cancelled":
        return Outcome(error=cancelled(f"{member_id} ({entry.identity}) was cancelled: {told.decode()}", id=member_id))
    failure = decode_failure(told)
    if failure is None:
        return Outcome(error=failed(f"{member_id} ({entry.identity}) failed", id=member_id))
    words = f"{member_id} ({entry.identity}) failed: {failure.type}: {failure.message}"
    error = failed(
        words,
        id=member_id,
        error_type=failure.type,
        error_message=failure.message,
        remote_traceback=failure.traceback,
    )
    if failure.traceback:
        # Printed with it, and so part of this run's own traceback, should the error end it.
        error.add_note(failure.traceback)
    return Outcome(error=error)


def check_member(call: FleetCall) -> None:
    """Refuse options that contradict what a run's own journal already guarantees.

    Raises:
        WorkflowMisuse: it has an idempotency key.
    """
    if call.options.unique is not None:
        raise WorkflowMisuse(f"{call.definition.name}: a run waits for its own jobs, so it takes no unique here")
    if call.options.idempotency_key is not None:
        raise WorkflowMisuse(
            f"{call.definition.name}: a run enqueues it exactly once by itself, so it takes no idempotency_key here"
        )
