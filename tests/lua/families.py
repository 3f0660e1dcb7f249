"""Runs with members, jobs and child runs: how to send them, and every way in which one can end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import pytest

from dispatch_celery.ids import JobId, RunId
from dispatch_celery.jobs.model import JobRef, JobState
from dispatch_celery.work.model import Parent, WorkRef
from dispatch_celery.work.scripts import Answer
from dispatch_celery.workflows.held import Awaited, Family, Member, RunClaim
from dispatch_celery.workflows.journal import rest_of
from dispatch_celery.workflows.model import RunRef
from tests.lua.run_world import FIELDS, RunWorld, asleep, awaits
from tests.lua.world import ERROR, START

__all__ = [
    "ENDINGS",
    "Act",
    "Ending",
    "about",
    "awaited",
    "bound_to",
    "each_ending",
    "member",
    "parent_in",
    "send",
    "send_jobs",
    "send_runs",
]

R = TypeVar("R", bound=WorkRef)
Act = Callable[[], Answer]

_DUE = START + 60_000


def parent_in(world: RunWorld, **options: Any) -> RunClaim:
    """Return a held run in a lane of its own."""
    return world.taken(queue="p", priority=5, nonce="parent", **options)


def bound_to(claim: RunClaim, identity: str) -> Parent:
    """Return what a member keeps of its run."""
    ref = claim.ref
    return Parent(id=RunId(ref.id), name=ref.name, lane=ref.lane, version=ref.version, at=identity)


def member(claim: RunClaim, identity: str, kind: str = "job", **options: Any) -> Member:
    """Return a member that is not written yet."""
    parent, scope = bound_to(claim, identity), options.get("scope", "")
    named: dict[str, Any] = {
        "queue": options.get("queue", "q"),
        "priority": options.get("priority", 0),
        "scope": scope,
        "parent": parent,
    }
    if kind == "job":
        ref: WorkRef = JobRef(id=JobId.mint(time_ms=START), name=options.get("name", "mail"), **named)
    else:
        ref = RunRef(id=RunId.mint(time_ms=START), name=options.get("name", "leaf"), version=1, **named)
    spec = {"schema": 1, "parent": parent.dump(), **({"scope": scope} if scope else {})}
    payload = options.get("payload", b'{"n":1}')
    head = rest_of({"k": kind, "d": "0" * 12, "o": options.get("place", 0), "m": ref.id})
    return Member(identity=identity, rest=head, ref=ref, spec=spec, payload=payload)


def send(world: RunWorld, claim: RunClaim, family: Family) -> None:
    """Write a family, and let the holder know of its own write."""
    assert world.runs.spawn(claim, family)[0] == "DONE"
    claim.revision += 1


def _sent(
    world: RunWorld, claim: RunClaim, kind: str, identities: Sequence[str], family: dict[str, Any], **options: Any
) -> list[WorkRef]:
    members = [member(claim, one, kind, place=n, **options) for n, one in enumerate(identities)]
    send(world, claim, Family(members=members, **family))
    return [one.ref for one in members]


def send_jobs(
    world: RunWorld, claim: RunClaim, *identities: str, due: int | None = None, **options: Any
) -> list[JobRef]:
    """Send jobs of one family."""
    family = {"due": due, "expires": options.pop("expires", None)}
    return [_as(JobRef, ref) for ref in _sent(world, claim, "job", identities, family, **options)]


def send_runs(
    world: RunWorld, claim: RunClaim, *identities: str, due: int | None = None, **options: Any
) -> list[RunRef]:
    """Send child runs of one family."""
    family = {"due": due, "timeout": options.pop("timeout", None), "detached": options.pop("detached", False)}
    return [_as(RunRef, ref) for ref in _sent(world, claim, "child", identities, family, **options)]


def _as(kind: type[R], ref: WorkRef) -> R:
    assert isinstance(ref, kind)
    return ref


def awaited(*identities: str) -> list[Awaited]:
    """Return what a run registers to wait for members."""
    return [awaits("open", None, identity) for identity in identities]


def about(world: RunWorld, claim: RunClaim) -> Mapping[str, object]:
    """Return all that is known of a run, and where it is listed."""
    found, run_id = world.dump(), claim.ref.id
    listed = {name: members[run_id] for name, members in found.ordered.items() if run_id in members}
    marks = {mark for mark in found.ordered.get("marks", {}) if mark.startswith(run_id)}
    parts = {**found.ordered, **found.hashes, **found.sets}
    own = {name: part for name, part in parts.items() if name.startswith(f"run:{run_id}:")}
    return {"record": found.runs.get(run_id), "listed": listed, "marks": marks, **own}


# -- the ways to end


@dataclass(frozen=True)
class Ending:
    """One way in which a member ends: how to come to where it does, and what follows."""

    kind: str
    outcome: str
    prepare: Callable[[RunWorld, RunClaim, str], tuple[WorkRef, Act]]
    tells: str
    """What its run is told, with ``<id>`` for the member's id."""
    again: str = "REPEATED"
    """What it is answered the second time."""

    @property
    def status(self) -> str:
        """What becomes of the promise."""
        return "value" if self.outcome == "completed" else "error"

    def told(self, ref: WorkRef) -> bytes:
        """Return what the run of this member is told."""
        return self.tells.replace("<id>", ref.id).encode()


def _held_job(verb: str, *, flagged: bool = False) -> Callable[[RunWorld, RunClaim, str], tuple[WorkRef, Act]]:
    def prepare(world: RunWorld, claim: RunClaim, identity: str) -> tuple[WorkRef, Act]:
        (ref,) = send_jobs(world, claim, identity)
        held = world.claim(ref, world.register())
        if flagged:
            assert world.jobs.flag(ref, held.holder, "enough").verdict == "ASKED"
        return ref, lambda: world.end(verb, held)

    return prepare


def _resting_job(state: str) -> Callable[[RunWorld, RunClaim, str], tuple[WorkRef, Act]]:
    def prepare(world: RunWorld, claim: RunClaim, identity: str) -> tuple[WorkRef, Act]:
        (ref,) = send_jobs(world, claim, identity, due=_DUE if state == "scheduled" else None)
        if state == "retrying":
            assert world.end("retry", world.claim(ref, world.register())).verdict == "DONE"
        return ref, lambda: world.jobs.cancel(ref, JobState(state), "why")

    return prepare


def _abandoned(world: RunWorld, claim: RunClaim, identity: str) -> tuple[WorkRef, Act]:
    (ref,) = send_jobs(world, claim, identity)
    return ref, lambda: world.jobs.abandon(ref, error=ERROR, reason="unknown")


def _held_run(outcome: str, *undos: str) -> Callable[[RunWorld, RunClaim, str], tuple[WorkRef, Act]]:
    def prepare(world: RunWorld, claim: RunClaim, identity: str) -> tuple[WorkRef, Act]:
        (ref,) = send_runs(world, claim, identity)
        child = world.take(ref)
        world.intend(child, *undos)
        if undos:
            assert world.finish(child, outcome).verdict == "UNDOING"
            child.revision += 1
            for undo in reversed(undos):
                world.undo(child, undo)
        return ref, lambda: world.finish(child, outcome)

    return prepare


def _resting_run(state: str, *, discard: bool = False) -> Callable[[RunWorld, RunClaim, str], tuple[WorkRef, Act]]:
    def prepare(world: RunWorld, claim: RunClaim, identity: str) -> tuple[WorkRef, Act]:
        (ref,) = send_runs(world, claim, identity, due=_DUE if state == "waiting" and not discard else None)
        if state == "parked" or discard:
            child = world.take(ref)
            world.intend(child, *(["a#1"] if discard else []))
            if state == "parked":
                assert world.park(child).verdict == "DONE"
            else:
                assert world.runs.suspend(child, [asleep(5_000)])[0] == "DONE"
        if discard:
            return ref, lambda: world.discard(ref, state)
        return ref, lambda: world.runs.cancel(ref, state, "why")

    return prepare


_FAILED, _CANCELLED = f"failed <id>\n{ERROR}", "cancelled <id>\n"

ENDINGS: dict[str, Ending] = {
    "job completes": Ending("job", "completed", _held_job("complete"), "1"),
    "job fails": Ending("job", "failed", _held_job("fail"), _FAILED),
    "job obeys": Ending("job", "cancelled", _held_job("obey"), _CANCELLED + "asked"),
    "flagged job obeys": Ending("job", "cancelled", _held_job("obey", flagged=True), _CANCELLED + "enough"),
    **{
        f"{state} job is cancelled": Ending("job", "cancelled", _resting_job(state), _CANCELLED + "why", "STATE")
        for state in ("scheduled", "pending", "retrying")
    },
    "job is abandoned": Ending("job", "failed", _abandoned, _FAILED, "STATE"),
    "run completes": Ending("child", "completed", _held_run("completed"), FIELDS["completed"][1]),
    "run fails": Ending("child", "failed", _held_run("failed"), _FAILED),
    "run is cancelled": Ending("child", "cancelled", _held_run("cancelled"), _CANCELLED + "asked"),
    "run fails and is undone": Ending("child", "failed", _held_run("failed", "a#1", "b#1"), _FAILED),
    "run is cancelled and undone": Ending("child", "cancelled", _held_run("cancelled", "a#1"), _CANCELLED + "asked"),
    **{
        f"{state} run is cancelled": Ending("child", "cancelled", _resting_run(state), _CANCELLED + "why", "STATE")
        for state in ("pending", "waiting", "parked")
    },
    **{
        f"{state} run is discarded": Ending(
            "child", "cancelled", _resting_run(state, discard=True), _CANCELLED + "asked", "STATE"
        )
        for state in ("waiting", "parked")
    },
}
"""Every way in which a job or a child run ends."""

each_ending = pytest.mark.parametrize("ending", [pytest.param(one, id=name) for name, one in ENDINGS.items()])
"""Runs a test once for each of them."""
