"""``runs/rewind`` and what was under way: times, holders, waits and events of the generation that is set aside."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dispatch_celery.store.client import RedisStore
from dispatch_celery.work.scripts import Answer
from tests.lua.rewinding import at_rest, rewind
from tests.lua.run_world import RunWorld, asleep, awaits, rest, run_world
from tests.lua.world import START


@pytest.fixture
def world(store: RedisStore, namespace: str) -> Iterator[RunWorld]:
    """Return a world with runs."""
    yield from run_world(store, namespace)


@pytest.mark.parametrize("timeout", [None, 50_000])
def test_what_was_due_is_due_no_more(world: RunWorld, timeout: int | None) -> None:
    """But for the time of a run that had not ended: that goes on from its start."""
    claim = world.taken(nonce="a", timeout=timeout)
    assert world.runs.suspend(claim, [asleep(2_000), awaits("awaiting", 9_000, "said#1")]) == ("DONE", [])
    world.passes(2_000)
    world.fire(claim.ref)
    claim = world.take(claim.ref, nonce="b")
    world.park(claim)

    assert rewind(world, claim.ref, ["said#1"]).verdict == "READY"

    due = {} if timeout is None else {"deadline": START + 50_000}
    assert world.due_of(claim.ref) == due
    assert world.dump().ordered.get("timers", {}) == dict.fromkeys([claim.ref.id] * len(due), START + 50_000)
    assert world.fire(claim.ref) == ("NOTHING", "pending")


def test_an_ended_run_has_no_time_any_more(world: RunWorld) -> None:
    """Neither the time it had, nor that it was up, ends it once more."""
    claim = world.taken(nonce="a", timeout=5_000)
    world.passes(5_000)
    assert world.fire(claim.ref)[0] == "EXPIRED"
    world.finish(claim, "cancelled")

    rewind(world, claim.ref)

    assert world.due_of(claim.ref) == {}
    anew = world.take(claim.ref, nonce="b")
    assert anew.cancel == ""
    assert world.finish(anew).verdict == "DONE"


def test_a_stranded_run_is_not_revived_twice(world: RunWorld) -> None:
    """A worker that knows its workflow does not resume what has been taken back."""
    ref = world.start()
    world.runs.strand(ref, "nobody knows it")

    assert rewind(world, ref).verdict == "READY"
    assert "unknown" not in world.dump().ordered


@pytest.mark.parametrize("verb", ["finish", "park", "record"])
def test_who_had_brought_it_to_rest_says_nothing_more(world: RunWorld, verb: str) -> None:
    """His reply was lost, and the run has gone on: he is not told that what he did stands."""
    claim = at_rest(world, "parked" if verb == "park" else "failed")
    rewind(world, claim.ref)
    world.take(claim.ref, nonce="b")
    before = world.dump()

    verdict = {
        "finish": lambda: world.finish(claim, "failed").verdict,
        "park": lambda: world.park(claim).verdict,
        "record": lambda: world.runs.record(claim, "a#1", "value", rest())[0],
    }[verb]()
    assert verdict == "FENCED"
    assert world.dump() == before


def test_a_nudge_and_a_cancel_find_a_ready_run(world: RunWorld) -> None:
    """Between the rewind and the next claim, as at any other time."""
    claim = at_rest(world, "failed")
    rewind(world, claim.ref, ["a#1", "b#1"])

    assert world.runs.nudge([(claim.ref, "said#1")])[0] == Answer("NOTED")
    assert world.runs.cancel(claim.ref, "pending", "enough").verdict == "DONE"
    assert world.shown(claim.ref)["reason"] == "enough"


def test_consumed_events_that_nobody_finds_any_more_are_forgotten(world: RunWorld) -> None:
    """Each with the rewind that took its wait back."""
    claim = at_rest(world, "failed")
    rewind(world, claim.ref, consumed=["evt_1"])
    world.finish(world.take(claim.ref, nonce="b"), "failed")
    world.passes(world.settings.retain_events)

    rewind(world, claim.ref, consumed=["evt_2"], op="two")

    assert world.dump().ordered[f"run:{claim.ref.id}:consumed"].keys() == {"evt_2"}
