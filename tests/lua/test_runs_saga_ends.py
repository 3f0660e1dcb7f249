"""``runs/finish``, ``cancel``, ``turn`` and others: how a run with something to undo turns, and ends."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from dispatch_celery.store.client import RedisStore
from dispatch_celery.work.scripts import Answer
from dispatch_celery.workflows.model import RunState
from tests.lua.run_world import ENDS, FIELDS, RunWorld, asleep, run_world
from tests.lua.world import START

UNHELD = ("pending", "waiting", "parked")
TURNED = ("failed", "cancelled")


@pytest.fixture
def world(store: RedisStore, namespace: str) -> Iterator[RunWorld]:
    """Return a world with runs."""
    yield from run_world(store, namespace)


# -- finish


@pytest.mark.parametrize("outcome", TURNED)
def test_a_run_with_something_to_undo_turns_before_it_ends(world: RunWorld, outcome: str) -> None:
    """It stays with its holder and has its error or reason; once nothing is open, it ends as it was to end."""
    claim = world.taken(timeout=9_000)
    world.intend(claim, "a#1")
    world.passes(10)

    assert world.finish(claim, outcome).verdict == "UNDOING"

    name, value = FIELDS[outcome]
    record = world.shown(claim.ref)
    assert (record["state"], record["undoing"], record["undoing_since"]) == ("running", outcome, str(START + 10))
    assert record[name] == value
    told = world.dump().journal[-1]
    assert (told["event"], told["from"], told["to"]) == ("dispatch.run.compensating", "", outcome)
    claim.revision += 1
    world.undo(claim, "a#1")
    assert world.finish(claim, outcome).verdict == "DONE"
    assert (world.shown(claim.ref)["state"], world.shown(claim.ref)[name]) == (outcome, value)


@pytest.mark.parametrize("turned", TURNED)
def test_a_run_that_undoes_never_ends_in_another_way(world: RunWorld, turned: str) -> None:
    """Neither as something else, nor while anything is open; the answer says so, and nothing changes."""
    claim = world.undoing("a#1", outcome=turned)
    before = world.dump()

    for outcome in ENDS:
        assert world.finish(claim, outcome).verdict == "UNDOING"
    assert world.dump() == before
    world.undo(claim, "a#1")
    after = world.dump()
    for outcome in set(ENDS) - {turned}:
        assert world.finish(claim, outcome).verdict == "UNDOING"
    assert world.dump() == after
    assert world.finish(claim, turned).verdict == "DONE"


def test_a_run_that_completes_leaves_its_effects(world: RunWorld) -> None:
    """They were wanted: its undos stay as they are, for people to see, until the record goes."""
    claim = world.taken()
    world.intend(claim, "a#1")

    assert world.finish(claim).verdict == "DONE"
    assert world.undos(claim.ref)["a#1"].status == "open"
    assert "undoing" not in world.shown(claim.ref)


def test_a_run_asked_to_cancel_undoes_for_that_reason(world: RunWorld) -> None:
    """It does not complete; it turns as cancelled, with the reason of who asked, and ends with it."""
    claim = world.asked()
    world.intend(claim, "a#1")
    assert world.finish(claim) == Answer("CANCELLING", "enough")
    assert world.runs.finish(claim, RunState.CANCELLED, []).verdict == "UNDOING"
    assert (world.shown(claim.ref)["undoing"], world.shown(claim.ref)["reason"]) == ("cancelled", "enough")
    claim.revision += 1
    world.undo(claim, "a#1")

    assert world.runs.finish(claim, RunState.CANCELLED, []).verdict == "DONE"
    assert world.shown(claim.ref)["reason"] == "enough"


def test_a_run_that_failed_before_it_heard_of_its_cancel_fails(world: RunWorld) -> None:
    """What happened first stands, though its end comes later."""
    claim = world.asked()
    world.intend(claim, "a#1")
    assert world.finish(claim, "failed").verdict == "UNDOING"
    claim.revision += 1
    world.undo(claim, "a#1")

    assert world.finish(claim, "cancelled").verdict == "UNDOING"
    assert world.finish(claim, "failed").verdict == "DONE"
    assert "reason" not in world.shown(claim.ref)


@pytest.mark.parametrize("revision", [-1, 1])
def test_a_holder_that_missed_an_intent_turns_nothing(world: RunWorld, revision: int) -> None:
    """It would not know what there is to undo."""
    claim = world.taken()
    world.intend(claim, "a#1", "b#1")
    before = world.dump()

    assert world.finish(replace(claim, revision=revision), "failed").verdict == "FENCED"
    assert world.dump() == before


# -- cancel and turn


@pytest.mark.parametrize("state", UNHELD)
def test_a_run_with_something_to_undo_is_not_cancelled_at_once(world: RunWorld, state: str) -> None:
    """The answer says that it is to be undone first, and nothing changes."""
    ref = world.run_at(state, undos=["a#1"], timeout=9_000)
    before = world.dump()

    assert world.runs.cancel(ref, state, "why") == Answer("OPEN", "")
    assert world.dump() == before


@pytest.mark.parametrize("state", UNHELD)
def test_a_turned_run_is_ready_to_undo(world: RunWorld, state: str) -> None:
    """Nothing of its way forward is awaited or due any more; who takes it knows what it is to end as."""
    ref = world.run_at(state, undos=["a#1", "b#1"], timeout=9_000)

    verdict, wake = world.runs.turn(ref, state, "why").verdict, world.shown(ref)["wake"]

    record, found = world.shown(ref), world.dump()
    assert (verdict, record["state"], record["undoing"], record["reason"]) == ("READY", "pending", "cancelled", "why")
    assert found.ordered["marks"].keys() == {f"{ref.id}:{wake}"}
    assert not {"timers", "unknown", f"run:{ref.id}:due"} & set(found.ordered)
    assert f"run:{ref.id}:waits" not in found.sets
    assert not {"detail", "parked_at", "crashes"} & set(record)
    claim = world.take(ref, nonce="b")
    assert (claim.undoing, sorted(one.identity for one in claim.undos)) == ("cancelled", ["a#1", "b#1"])


def test_a_turned_run_keeps_the_wake_up_that_it_has(world: RunWorld) -> None:
    """One that was ready is ready still: no second message, and its first one is good."""
    ref = world.run_at("pending", undos=["a#1"])
    marks = world.dump().ordered["marks"]

    assert world.runs.turn(ref, "pending", "why") == Answer("READY", "")
    assert world.dump().ordered["marks"] == marks


def test_a_stranded_run_is_turned_without_its_workflow(world: RunWorld) -> None:
    """No worker knew it; it is listed as unknown no more, for it is pending again."""
    ref = world.run_at("pending", undos=["a#1"])
    world.runs.strand(ref, "no worker knows it")

    assert world.runs.cancel(ref, "parked", "why") == Answer("OPEN", "")
    assert world.runs.turn(ref, "parked", "why").verdict == "READY"
    assert "unknown" not in world.dump().ordered


@pytest.mark.parametrize("state", UNHELD)
def test_a_run_without_anything_to_undo_does_not_turn(world: RunWorld, state: str) -> None:
    """It can be cancelled at once: the answer says so."""
    ref = world.run_at(state)
    before = world.dump()

    assert world.runs.turn(ref, state, "why") == Answer("EMPTY")
    assert world.dump() == before


@pytest.mark.parametrize("state", [*UNHELD, "running", *ENDS])
def test_a_run_in_another_state_is_not_turned(world: RunWorld, state: str) -> None:
    """The caller's keys would be the wrong ones: the answer names the state."""
    undos = ["a#1"] if state in (*UNHELD, "running", "completed") else []
    ref = world.run_at(state, undos=undos)
    before = world.dump()

    for seen in {*UNHELD, "running", *ENDS} - ({state} if state in UNHELD else set()):
        assert world.runs.turn(ref, seen, "x") == Answer("STATE", state)
    assert world.runs.turn(world.new_run().ref, "pending", "x") == Answer("STATE", "missing")
    assert world.dump() == before


@pytest.mark.parametrize("turned", TURNED)
@pytest.mark.parametrize("state", UNHELD)
def test_a_run_that_undoes_is_neither_turned_nor_cancelled(world: RunWorld, state: str, turned: str) -> None:
    """Wherever it rests meanwhile: the answers say what it ends as, and nothing changes."""
    claim = world.undoing("a#1", outcome=turned)
    if state == "parked":
        world.park(claim)
    else:
        world.release(claim, pause=1_000 if state == "waiting" else 0)
    before = world.dump()

    assert world.runs.cancel(claim.ref, state, "x") == Answer("OPEN", turned)
    assert world.runs.turn(claim.ref, state, "x").verdict == "UNDOING"
    assert world.dump() == before


@pytest.mark.parametrize("state", UNHELD)
def test_effects_are_left_when_a_person_says_so(world: RunWorld, state: str) -> None:
    """The run ends at once, from wherever it rests, and its timeline shows what was left."""
    ref = world.run_at(state, undos=["a#1"], timeout=9_000)

    assert world.discard(ref, state).verdict == "DONE"

    found = world.dump()
    assert world.shown(ref)["state"] == "cancelled"
    assert world.undos(ref)["a#1"].status == "open"
    assert not {"timers", "lane:q:0", f"run:{ref.id}:due"} & set(found.ordered)


def test_an_undoing_that_is_stuck_is_left_when_a_person_says_so(world: RunWorld) -> None:
    """Also where the run was to fail: nobody will undo it, so it is cancelled."""
    claim = world.undoing("a#1")
    world.undo(claim, "a#1", "stuck")
    world.park(claim)

    assert world.discard(claim.ref, "parked").verdict == "DONE"
    assert world.shown(claim.ref)["state"] == "cancelled"


# -- flag and fire


@pytest.mark.parametrize("turned", TURNED)
def test_a_run_that_undoes_is_not_disturbed(world: RunWorld, turned: str) -> None:
    """Whoever asks to cancel it is told, and its holder is not."""
    claim = world.undoing("a#1", outcome=turned)
    before = world.dump()

    assert world.jobs.flag(claim.ref, claim.holder, "x").verdict == "UNDOING"
    assert world.dump() == before


@pytest.mark.parametrize("state", ["running", *UNHELD])
def test_a_deadline_is_void_while_a_run_undoes(world: RunWorld, state: str) -> None:
    """It passes once, wakes nobody and asks nobody to end."""
    claim = world.undoing("a#1", timeout=1_000)
    if state == "parked":
        world.park(claim)
    elif state != "running":
        world.release(claim, pause=9_000 if state == "waiting" else 0)
    world.passes(1_000)

    assert world.fire(claim.ref) == ("NOTHING", state)
    assert "cancel" not in world.shown(claim.ref)
    assert world.due_of(claim.ref) == ({"pause": START + 9_000} if state == "waiting" else {})
    assert list(world.dump().hashes.get(f"held:{claim.holder}", {}).values()) == (
        [f"7 {claim.token}"] if state == "running" else []
    )


@pytest.mark.parametrize("state", UNHELD)
def test_a_run_out_of_time_where_it_rests_undoes_when_it_is_taken(world: RunWorld, state: str) -> None:
    """One that waits is woken for it; one that is parked stays with its person, and undoes once it is let go."""
    ref = world.run_at(state, undos=["a#1"], timeout=1_000)
    world.passes(1_000)

    assert world.fire(ref)[0] == ("READY" if state == "waiting" else "NOTHING")

    if state == "parked":
        assert world.shown(ref)["state"] == "parked"
        assert world.runs.resume(ref).verdict == "READY"
    claim = world.take(ref, nonce="b")
    assert (claim.cancel, claim.undoing) == ("timeout", "")
    assert world.runs.suspend(claim, [asleep(5)]) == ("CANCELLING", [b"timeout"])
    assert world.finish(claim, "cancelled").verdict == "UNDOING"
    assert world.shown(ref)["reason"] == "timeout"


@pytest.mark.parametrize("state", UNHELD)
def test_a_run_out_of_time_may_be_cancelled_by_a_person_first(world: RunWorld, state: str) -> None:
    """It turns once, for the person's reason, and its deadline is gone with its way forward."""
    ref = world.run_at(state, undos=["a#1"], timeout=1_000)
    world.runs.turn(ref, state, "why")
    world.passes(1_000)

    assert world.fire(ref) == ("NOTHING", "pending")
    claim = world.take(ref, nonce="b")
    assert (claim.undoing, world.shown(ref)["reason"]) == ("cancelled", "why")


def test_a_retried_undo_is_woken_by_its_pause(world: RunWorld) -> None:
    """The run waits without a holder, and who takes it then finds the undo where it was."""
    claim = world.undoing("a#1", "b#1")
    world.undo(claim, "b#1", "retrying")
    world.release(claim, pause=1_000)
    world.passes(999)
    assert world.fire(claim.ref) == ("NOTHING", "waiting")
    world.passes(1)

    assert world.fire(claim.ref)[0] == "READY"
    again = world.take(claim.ref, nonce="b")
    assert (again.undoing, world.open_undos(claim.ref)) == ("failed", ["b#1", "a#1"])
