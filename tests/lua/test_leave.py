"""``lib/leave``: members are called off and taken back only by who holds their run, and knows no more than is stored.

A server that came back without its last second may have given the run to somebody else, or have taken back the outcome
for which the member was to be called off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from dispatch_celery.store.client import RedisStore
from dispatch_celery.work.scripts import Answer
from dispatch_celery.workflows.held import RunClaim
from tests.lua.families import parent_in, send_jobs, send_runs
from tests.lua.run_world import RunWorld, asleep, run_world

Ask = Callable[[str], Answer]


@pytest.fixture
def world(store: RedisStore, namespace: str) -> Iterator[RunWorld]:
    """Return a world with runs."""
    yield from run_world(store, namespace)


def _pending_job(world: RunWorld, claim: RunClaim) -> Ask:
    (ref,) = send_jobs(world, claim, "m#1")
    return lambda by: world.jobs.cancel(ref, "pending", "why", by=by)


def _running_job(world: RunWorld, claim: RunClaim) -> Ask:
    (ref,) = send_jobs(world, claim, "m#1")
    held = world.claim(ref, world.register())
    return lambda by: world.jobs.flag(ref, held.holder, "why", by=by)


def _running_child(world: RunWorld, claim: RunClaim) -> Ask:
    (ref,) = send_runs(world, claim, "m#1")
    child = world.take(ref)
    return lambda by: world.jobs.flag(ref, child.holder, "why", by=by)


def _pending_child(world: RunWorld, claim: RunClaim) -> Ask:
    (ref,) = send_runs(world, claim, "m#1")
    return lambda by: world.runs.cancel(ref, "pending", "why", by=by)


def _child_with_effects(world: RunWorld, claim: RunClaim) -> Ask:
    (ref,) = send_runs(world, claim, "m#1")
    child = world.take(ref)
    world.intend(child, "a#1")
    assert world.runs.suspend(child, [asleep(5_000)])[0] == "DONE"
    return lambda by: world.runs.turn(ref, "waiting", "why", by=by)


def _completed_child(world: RunWorld, claim: RunClaim) -> Ask:
    (ref,) = send_runs(world, claim, "m#1")
    child = world.take(ref)
    world.intend(child, "a#1")
    assert world.finish(child).verdict == "DONE"
    return lambda by: world.runs.reverse(ref, "why", by=by)


each_verb = pytest.mark.parametrize(
    "prepare",
    [
        pytest.param(_pending_job, id="jobs/cancel"),
        pytest.param(_running_job, id="jobs/flag"),
        pytest.param(_running_child, id="jobs/flag of a run"),
        pytest.param(_pending_child, id="runs/cancel"),
        pytest.param(_child_with_effects, id="runs/turn"),
        pytest.param(_completed_child, id="runs/reverse"),
    ],
)


def _leave(claim: RunClaim, *, behind: int = 0) -> str:
    return f"{claim.token} {claim.revision - behind}"


@each_verb
def test_who_holds_the_run_may(world: RunWorld, prepare: Callable[[RunWorld, RunClaim], Ask]) -> None:
    """He knows all that is recorded of it, or less: a write of his own may be under way."""
    claim = parent_in(world)
    ask = prepare(world, claim)
    world.note(claim, "a#1")

    assert ask(_leave(claim, behind=1)).verdict in ("DONE", "ASKED", "READY")


@each_verb
def test_who_knows_more_than_is_recorded_may_not(world: RunWorld, prepare: Callable[[RunWorld, RunClaim], Ask]) -> None:
    """The outcome for which the member was to be called off is not on record any more."""
    claim = parent_in(world)
    ask = prepare(world, claim)
    before = world.dump()

    assert ask(_leave(claim, behind=-1)) == Answer("FENCED", "running")
    assert world.dump() == before


@each_verb
def test_who_does_not_hold_the_run_may_not(world: RunWorld, prepare: Callable[[RunWorld, RunClaim], Ask]) -> None:
    """Another token, or a run that nobody holds."""
    claim = parent_in(world)
    ask = prepare(world, claim)
    leave = _leave(claim)

    assert ask(f"999 {claim.revision}") == Answer("FENCED", "running")
    assert world.release(claim).verdict == "DONE"
    before = world.dump()
    assert ask(leave) == Answer("FENCED", "pending")
    assert world.dump() == before


@each_verb
def test_a_person_needs_nobodys_leave(world: RunWorld, prepare: Callable[[RunWorld, RunClaim], Ask]) -> None:
    """A member can be cancelled by itself, whoever holds its run."""
    claim = parent_in(world)
    ask = prepare(world, claim)
    assert world.release(claim).verdict == "DONE"

    assert ask("").verdict in ("DONE", "ASKED", "READY")


def test_what_belongs_to_no_run_is_not_called_off_in_the_name_of_one(world: RunWorld) -> None:
    """There is nobody whose leave it could be."""
    assert world.jobs.cancel(world.enqueue(), "pending", "why", by="1 0") == Answer("FENCED", "missing")
