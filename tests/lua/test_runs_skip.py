"""``runs/skip``, ``resume`` and ``delete`` of a run that undoes: what a person decides, and what is left of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from dispatch_celery.store.client import RedisStore
from dispatch_celery.work.scripts import Answer
from dispatch_celery.workflows.model import RunState
from dispatch_celery.workflows.records import RunRecords
from tests.lua.run_world import ENDS, RunWorld, awaits, run_world
from tests.lua.world import START

TURNED = ("failed", "cancelled")


@pytest.fixture
def world(store: RedisStore, namespace: str) -> Iterator[RunWorld]:
    """Return a world with runs."""
    yield from run_world(store, namespace)


# -- skip and resume


def test_a_skipped_undo_is_open_no_more(world: RunWorld) -> None:
    """It keeps its place and what Python reads of it; the answer counts what is left."""
    claim = world.undoing("a#1", "b#1")
    world.undo(claim, "b#1", "stuck")
    world.park(claim)
    before = world.undos(claim.ref)["b#1"]
    world.passes(20)

    assert world.runs.skip(claim.ref, "b#1") == Answer("DONE", "1")

    skipped = world.undos(claim.ref)["b#1"]
    assert (skipped.status, skipped.at) == ("skipped", START + 20)
    assert replace(skipped, status=before.status, at=before.at) == before
    assert (world.shown(claim.ref)["state"], world.open_undos(claim.ref)) == ("parked", ["a#1"])


def test_after_the_last_skip_a_run_ends(world: RunWorld) -> None:
    """Resumed, it has nothing to undo, and ends as it was to end."""
    claim = world.undoing("a#1")
    world.undo(claim, "a#1", "stuck")
    world.park(claim)
    assert world.runs.skip(claim.ref, "a#1") == Answer("DONE", "0")
    assert world.runs.resume(claim.ref).verdict == "READY"

    again = world.take(claim.ref, nonce="b")

    assert again.undoing == "failed"
    assert world.finish(again, "completed").verdict == "UNDOING"
    assert world.finish(again, "failed").verdict == "DONE"


@pytest.mark.parametrize("turned", TURNED)
def test_a_resumed_undoing_goes_on_where_it_was(world: RunWorld, turned: str) -> None:
    """Never forward: in its direction, with the undo that was given up still in its place."""
    claim = world.undoing("a#1", "b#1", outcome=turned)
    world.undo(claim, "b#1", "stuck")
    world.park(claim)
    assert world.runs.resume(claim.ref).verdict == "READY"

    again = world.take(claim.ref, nonce="b")

    assert (again.undoing, world.open_undos(claim.ref)) == (turned, ["b#1", "a#1"])


def test_only_an_open_undo_is_skipped(world: RunWorld) -> None:
    """One that is undone, was skipped before, or never was: the answer says so, and nothing changes."""
    claim = world.taken()
    world.intend(claim, "a#1", "b#1", "c#1")
    world.undo(claim, "c#1")
    world.park(claim)
    world.runs.skip(claim.ref, "b#1")
    before = world.dump()

    for identity in ("b#1", "c#1", "d#1", ""):
        assert world.runs.skip(claim.ref, identity) == Answer("MISSING")
    assert world.dump() == before


@pytest.mark.parametrize("state", ["pending", "running", "waiting", "completed"])
def test_only_a_parked_runs_undo_is_skipped(world: RunWorld, state: str) -> None:
    """Somebody may be at it: the answer names the state."""
    ref = world.run_at(state, undos=["a#1"])
    before = world.dump()

    assert world.runs.skip(ref, "a#1") == Answer("STATE", state)
    assert world.runs.skip(world.new_run().ref, "a#1") == Answer("STATE", "missing")
    assert world.dump() == before


# -- delete


@pytest.mark.parametrize("state", ENDS)
def test_a_deleted_run_leaves_no_undo(world: RunWorld, state: str) -> None:
    """Whether it was carried out, or left alone by a run that completed."""
    claim = world.taken()
    world.intend(claim, "a#1", "b#1")
    if state != "completed":
        assert world.finish(claim, state).verdict == "UNDOING"
        claim.revision += 1
        for identity in ("b#1", "a#1"):
            world.undo(claim, identity)
    assert world.finish(claim, state).verdict == "DONE"
    world.passes(getattr(world.settings, f"retain_{state}"))

    assert world.runs.delete(claim.ref, state).verdict == "DONE"
    found = world.dump()
    assert [name for name in (*found.ordered, *found.hashes, *found.sets) if claim.ref.id in name] == []


# -- what people read of it


@pytest.mark.parametrize("way", ["turned", "cancelled by its step", "flagged"])
def test_the_reason_of_a_cancel_outlives_an_undo_that_was_given_up(world: RunWorld, way: str) -> None:
    """Parked for another reason meanwhile, the run still ends as cancelled for the one it was cancelled for."""
    claim = world.taken(nonce="a")
    world.intend(claim, "a#1")
    if way == "turned":
        world.runs.suspend(claim, [awaits("awaiting", None, "e#1")])
        world.runs.turn(claim.ref, "waiting", "asked")
        claim = world.take(claim.ref, nonce="b")
    else:
        if way == "flagged":
            world.flag(claim, "asked")
        assert world.runs.finish(claim, RunState.CANCELLED, ["reason", "asked"]).verdict == "UNDOING"
        claim.revision += 1
    world.undo(claim, "a#1", "stuck")
    world.park(claim)
    world.runs.resume(claim.ref)
    claim = world.take(claim.ref, nonce="c")
    world.undo(claim, "a#1")

    assert world.runs.finish(claim, RunState.CANCELLED, []).verdict == "DONE"
    run = RunRecords(world.port, world.keys).runs([claim.ref.id])[0]
    assert run is not None
    assert run.reason == "asked"
