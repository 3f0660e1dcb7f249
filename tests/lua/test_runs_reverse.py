"""``runs/reverse``: a run that has completed undoes what it did, and ends as cancelled then."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from dispatch_celery.store.client import RedisStore
from dispatch_celery.work.scripts import Answer
from dispatch_celery.workflows.held import RunClaim
from dispatch_celery.workflows.model import RunState
from tests.lua.run_world import ENDS, RunWorld, run_world
from tests.lua.world import START


@pytest.fixture
def world(store: RedisStore, namespace: str) -> Iterator[RunWorld]:
    """Return a world with runs."""
    yield from run_world(store, namespace)


def _completed(world: RunWorld, *undos: str, **options: object) -> RunClaim:
    """Return a run that has completed, with effects that can be undone."""
    claim = world.taken(nonce="a", **options)
    world.intend(claim, *undos)
    assert world.finish(claim).verdict == "DONE"
    return claim


def test_a_reversed_run_is_ready_to_undo(world: RunWorld) -> None:
    """It is in its lane, to be published, and not to be deleted; its record says what it will end as, and why."""
    claim = _completed(world, "a#1", "b#1", scope="a/b", queue="p", priority=2)
    world.passes(40)

    assert world.runs.reverse(claim.ref, "a mistake") == Answer("READY", "2")

    record, found, ref = world.shown(claim.ref), world.dump(), claim.ref
    assert (record["state"], record["undoing"], record["undoing_since"]) == ("pending", "cancelled", str(START + 40))
    assert (record["reason"], record["undoing_for"]) == ("a mistake", "a mistake")
    assert not {"finished_at", "closed", "token", "holder"} & set(record)
    assert found.ordered["lane:p:2"] == {ref.id: START + 40}
    assert found.ordered["marks"][f"{ref.id}:2"] == START + 1_040
    assert "p:2" in found.sets["lanes"]
    assert found.ordered["run-state:pending"] == {ref.id: START}
    assert not {"expiry", "run-state:completed", "timers"} & set(found.ordered)
    events = [(one["event"], one["from"], one["to"]) for one in found.journal[-2:]]
    assert events == [
        ("dispatch.run.compensating", "", "cancelled"),
        ("dispatch.run.ready", "completed", "pending"),
    ]


def test_a_reversed_run_undoes_and_ends_as_cancelled(world: RunWorld) -> None:
    """From the last effect to the first, under a new token, never forward again; its result stays on record."""
    claim = _completed(world, "a#1", "b#1")
    result = world.shown(claim.ref)["result"]
    world.runs.reverse(claim.ref, "a mistake")

    again = world.take(claim.ref, nonce="b")

    assert (again.undoing, again.token, again.revision) == ("cancelled", "2.b", 2)
    assert world.open_undos(claim.ref) == ["b#1", "a#1"]
    for outcome in ENDS:
        assert world.finish(again, outcome).verdict == "UNDOING"
    for identity in ("b#1", "a#1"):
        world.undo(again, identity)
    for outcome in ("completed", "failed"):
        assert world.finish(again, outcome).verdict == "UNDOING"
    assert world.runs.finish(again, RunState.CANCELLED, []).verdict == "DONE"
    record = world.shown(claim.ref)
    assert (record["state"], record["reason"], record["result"]) == ("cancelled", "a mistake", result)
    assert world.dump().ordered["expiry"] == {claim.ref.id: START + world.settings.retain_cancelled}


def test_a_run_without_effects_is_not_reversed(world: RunWorld) -> None:
    """It had none, or has undone them on its way: the answer says so, and nothing changes."""
    plain = _completed(world)
    amended = world.taken(nonce="a")
    world.intend(amended, "a#1")
    world.undo(amended, "a#1")
    world.finish(amended)
    before = world.dump()

    for claim in (plain, amended):
        assert world.runs.reverse(claim.ref, "x") == Answer("EMPTY")
    assert world.dump() == before


@pytest.mark.parametrize("state", ["pending", "running", "waiting", "parked"])
def test_only_a_completed_run_is_reversed(world: RunWorld, state: str) -> None:
    """The answer names the state, and nothing changes; one that is gone is missing."""
    ref = world.run_at(state, undos=["a#1"])
    before = world.dump()

    assert world.runs.reverse(ref, "x") == Answer("STATE", state)
    assert world.runs.reverse(world.new_run().ref, "x") == Answer("STATE", "missing")
    assert world.dump() == before


@pytest.mark.parametrize("outcome", ["failed", "cancelled"])
def test_a_run_that_has_undone_is_not_reversed(world: RunWorld, outcome: str) -> None:
    """There is nothing it could undo again."""
    claim = world.undoing("a#1", outcome=outcome)
    world.undo(claim, "a#1")
    world.finish(claim, outcome)
    before = world.dump()

    assert world.runs.reverse(claim.ref, "x") == Answer("STATE", outcome)
    assert world.dump() == before


def test_a_reversal_sent_again_changes_nothing(world: RunWorld) -> None:
    """Neither while it is ready, nor when somebody undoes, nor when it has ended: the answer names the state."""
    claim = _completed(world, "a#1")
    world.runs.reverse(claim.ref, "first")
    again: RunClaim | None = None
    for state in ("pending", "running", "cancelled"):
        if state == "running":
            again = world.take(claim.ref, nonce="b")
        elif state == "cancelled":
            assert again is not None
            world.undo(again, "a#1")
            assert world.finish(again, "cancelled").verdict == "DONE"
        world.passes(5)
        before = world.dump()

        assert world.runs.reverse(claim.ref, "second") == Answer("STATE", state)
        assert world.dump() == before


def test_who_had_completed_it_ends_nothing_any_more(world: RunWorld) -> None:
    """Its outcome, sent again late, is no news, and is not taken for that of the undoing."""
    claim = _completed(world, "a#1")
    world.runs.reverse(claim.ref, "x")
    before = world.dump()
    for outcome in ENDS:
        assert world.finish(claim, outcome).verdict == "FENCED"
    assert world.dump() == before

    again = world.take(claim.ref, nonce="b")
    before = world.dump()
    for zombie in (claim, replace(claim, revision=again.revision)):
        assert world.finish(zombie, "cancelled").verdict == "FENCED"
    assert world.dump() == before


def test_a_reversed_run_is_not_deleted(world: RunWorld) -> None:
    """Its retention began with its end, and is void: it begins anew with its next one."""
    claim = _completed(world, "a#1")
    world.runs.reverse(claim.ref, "x")
    world.passes(10 * world.settings.retain_completed)

    assert world.runs.delete(claim.ref, "completed") == Answer("STATE", "pending")
    assert world.runs.delete(claim.ref, "pending") == Answer("STATE", "pending")


def test_a_reversed_run_keeps_its_idempotency_key(world: RunWorld) -> None:
    """A key lives as long as the record it names: while the run undoes, it has no end."""
    claim = _completed(world, "a#1", key="k")
    key = world.runs.idempotency(claim.ref)
    assert int(world.ask("PEXPIRETIME", key)) > START
    world.runs.reverse(claim.ref, "x")

    assert int(world.ask("PEXPIRETIME", key)) == -1
    assert world.runs.start(world.new_run(key="k")) == ["EXISTING", claim.ref.id]


def test_a_reversal_leaves_the_key_of_another_alone(world: RunWorld) -> None:
    """Its own key was gone by the time, and names a run that came later."""
    claim = _completed(world, "a#1", key="k")
    world.ask("DEL", world.runs.idempotency(claim.ref))
    other = _completed(world, key="k")
    until = world.ask("PEXPIRETIME", world.runs.idempotency(claim.ref))

    assert world.runs.reverse(claim.ref, "x").verdict == "READY"
    assert world.ask("PEXPIRETIME", world.runs.idempotency(other.ref)) == until


def test_a_run_is_reversed_when_memory_is_full(full: RunWorld) -> None:
    """Undoing frees what effects took, so it is not held up by them."""
    claim = _completed(full, "a#1")
    full.fill()

    assert full.runs.reverse(claim.ref, "x").verdict == "READY"
    assert full.take(claim.ref, nonce="b").undoing == "cancelled"
