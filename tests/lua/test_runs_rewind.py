"""``runs/rewind``: a run that rests or has ended is taken back, once, and nothing of what it drops reaches into it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from dispatch_celery.store.client import RedisStore
from dispatch_celery.work.scripts import Answer
from tests.lua.rewinding import RESTS, at_rest, rewind
from tests.lua.run_world import RunWorld, run_world
from tests.lua.world import START


@pytest.fixture
def world(store: RedisStore, namespace: str) -> Iterator[RunWorld]:
    """Return a world with runs."""
    yield from run_world(store, namespace)


# -- what it does


@pytest.mark.parametrize("state", RESTS)
def test_a_run_at_rest_is_taken_back(world: RunWorld, state: str) -> None:
    """Ready, as its next generation, with what it keeps; all that it had recorded is set aside."""
    claim = at_rest(world, state, scope="a/b")
    world.passes(30)

    assert rewind(world, claim.ref, ["b#1"]) == Answer("READY", "2")

    record, found = world.shown(claim.ref), world.dump()
    assert (record["state"], record["generation"], record["revision"]) == ("pending", "1", "3")
    assert {name: one.payload for name, one in world.promises(claim.ref).items()} == {"a#1": b'"kept"'}
    assert found.hashes[f"run:{claim.ref.id}:aside"].keys() == {"a#1", "b#1"}
    assert found.ordered["marks"].keys() == {f"{claim.ref.id}:2"}
    assert found.ordered["run-scope:a/b"] == {claim.ref.id: START}
    told = found.journal[-1]
    assert (told["event"], told["from"], told["to"]) == ("dispatch.run.rewound", state, "pending")


@pytest.mark.parametrize("state", RESTS)
def test_nothing_tells_any_more_how_it_ended(world: RunWorld, state: str) -> None:
    """Not its record, and not the index of what is to be deleted."""
    claim = at_rest(world, state)
    assert rewind(world, claim.ref).verdict == "READY"

    gone = {"result", "error", "reason", "detail", "finished_at", "parked_at", "cancel", "undoing", "closed", "op"}
    assert not gone & set(world.shown(claim.ref))
    assert "expiry" not in world.dump().ordered
    world.passes(world.settings.retain_failed)
    assert world.runs.delete(claim.ref, state).verdict == "STATE"


def test_a_rewound_run_goes_on_as_any_other(world: RunWorld) -> None:
    """Its next holder is told what is kept, records in new places, and ends it."""
    claim = at_rest(world, "failed")
    rewind(world, claim.ref, ["b#1"], consumed=["evt_1"])

    anew = world.take(claim.ref, nonce="b")

    assert (anew.generation, anew.revision, anew.cancel, anew.undoing) == (1, 3, "", "")
    assert ([one.identity for one in anew.entries], anew.consumed) == (["a#1"], {"evt_1"})
    world.note(anew, "b#1", b"2")
    assert world.promises(claim.ref)["b#1"].seq == 3
    assert world.finish(anew).verdict == "DONE"


def test_what_undid_goes_forward_again(world: RunWorld) -> None:
    """A run whose undoing was given up is taken back to before what is stuck, on a person's word."""
    claim = world.undoing("a#1", nonce="a")
    world.undo(claim, "a#1", "stuck")
    world.park(claim)

    assert rewind(world, claim.ref, ["a#1"]) == Answer("OPEN", "a#1")
    assert rewind(world, claim.ref, ["a#1"], discard=True).verdict == "READY"
    anew = world.take(claim.ref, nonce="b")
    assert (anew.undoing, anew.undos) == ("", [])
    assert world.finish(anew).verdict == "DONE"


def test_effects_before_the_place_stay_to_be_undone(world: RunWorld) -> None:
    """A run that fails after all undoes them, in their order."""
    claim = world.taken(nonce="a")
    world.intend(claim, "a#1", "b#1")
    world.finish(claim)

    assert rewind(world, claim.ref, ["b#1"]) == Answer("OPEN", "b#1")
    assert rewind(world, claim.ref, ["b#1"], discard=True).verdict == "READY"
    assert world.open_undos(claim.ref) == ["a#1"]
    anew = world.take(claim.ref, nonce="b")
    world.intend(anew, "b#1")
    assert world.open_undos(claim.ref) == ["b#1", "a#1"]
    assert world.finish(anew, "failed").verdict == "UNDOING"


def test_a_key_of_a_rewound_run_lives_as_long_as_it(world: RunWorld) -> None:
    """Its end had given the key an end; a run that goes on is found under it until it ends again."""
    claim = at_rest(world, "completed", key="k")
    key = world.runs.idempotency(claim.ref)
    assert world.ask("PEXPIRETIME", key) > 0

    rewind(world, claim.ref)

    assert world.ask("PEXPIRETIME", key) == -1
    assert world.runs.start(world.new_run(key="k")) == ["EXISTING", claim.ref.id]
    world.finish(world.take(claim.ref, nonce="b"))
    assert world.ask("PEXPIRETIME", key) > 0


def test_another_runs_key_is_left_alone(world: RunWorld) -> None:
    """The key of a run that is kept longer than its key may be another's by now."""
    claim = at_rest(world, "failed", key="k")
    key = world.runs.idempotency(claim.ref)
    world.ask("SET", key, f"{world.new_run().ref.id} digest", "PX", 100_000)
    rewind(world, claim.ref)

    assert world.ask("PTTL", key) > 0


# -- when it is refused


@pytest.mark.parametrize("state", ["pending", "running", "waiting"])
def test_a_run_that_goes_on_is_not_taken_back(world: RunWorld, state: str) -> None:
    """Whatever the caller has seen; and one that is gone is missing."""
    ref = world.taken().ref if state == "running" else world.run_at(state)
    before = world.dump()

    for expected in (state, *RESTS):
        assert rewind(world, ref, expected=expected) == Answer("STATE", state)
    gone = world.new_run().ref
    assert world.runs.rewind(
        gone, "failed", op="x", revision=0, generation=0, dropped=[], consumed=[], discard=True
    ) == Answer("STATE", "missing")
    assert world.dump() == before


@pytest.mark.parametrize("changed", [{"revision": 0}, {"revision": 9}, {"generation": 1}])
def test_a_run_that_has_changed_is_not_taken_back(world: RunWorld, changed: dict[str, int]) -> None:
    """What is dropped was worked out from what it had recorded by then."""
    claim = at_rest(world, "failed")
    before = world.dump()

    assert rewind(world, claim.ref, ["b#1"], **changed) == Answer("CHANGED")
    assert rewind(world, claim.ref, ["b#1"], expected="cancelled") == Answer("STATE", "failed")
    assert world.dump() == before


# -- once


@pytest.mark.parametrize("since", ["at once", "claimed", "ended", "begun anew", "parked"])
def test_a_rewind_sent_again_is_done_once(world: RunWorld, since: str) -> None:
    """Its reply was lost; whatever the run has come to by then stays, and that is the answer."""
    claim = at_rest(world, "failed")
    assert rewind(world, claim.ref, ["b#1"]).verdict == "READY"
    if since != "at once":
        anew = world.take(claim.ref, nonce="b")
    if since == "ended":
        world.finish(anew, "failed")
    elif since == "begun anew":
        world.runs.continue_as_new(anew, b"{}", {"schema": 1}, [])
    elif since == "parked":
        world.park(anew)
    before = world.dump()
    world.passes(700)

    again = world.runs.rewind(
        claim.ref, "failed", op="once", revision=2, generation=0, dropped=["b#1"], consumed=[], discard=True
    )
    assert again == Answer("REPEATED", world.shown(claim.ref)["state"])
    assert world.dump() == before


def test_two_who_take_a_run_back_do_it_once(world: RunWorld) -> None:
    """The second has seen what the first one has changed; when it has ended again, it is another rewind."""
    claim = at_rest(world, "failed")
    assert rewind(world, claim.ref, op="one").verdict == "READY"
    late: dict[str, Any] = {"expected": "failed", "revision": 2, "generation": 0}
    assert rewind(world, claim.ref, op="two", **late) == Answer("STATE", "pending")
    world.finish(world.take(claim.ref, nonce="b"), "failed")

    assert rewind(world, claim.ref, op="two", **late) == Answer("CHANGED")
    assert rewind(world, claim.ref, op="two").verdict == "READY"
    assert world.shown(claim.ref)["generation"] == "2"


def test_only_the_generation_before_is_kept(world: RunWorld) -> None:
    """What is set aside takes the place of what was set aside before."""
    claim = at_rest(world, "failed")
    rewind(world, claim.ref, ["a#1", "b#1"])
    anew = world.take(claim.ref, nonce="b")
    world.note(anew, "c#1")
    world.finish(anew, "failed")

    assert rewind(world, claim.ref, ["c#1"], op="two").verdict == "READY"

    assert world.dump().hashes[f"run:{claim.ref.id}:aside"].keys() == {"c#1"}
    assert world.promises(claim.ref) == {}
