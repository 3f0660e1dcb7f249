"""``runs/finish``, ``park``, ``resume``, ``strand``, ``release``, ``cancel`` and ``delete``: how runs are let go."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from dispatch_celery.errors import LeadershipLost
from dispatch_celery.store.client import RedisStore
from dispatch_celery.work.scripts import Answer
from dispatch_celery.workflows.held import RunClaim
from tests.lua.run_world import ENDS, FIELDS, RunWorld, asleep, awaits, run_world
from tests.lua.world import START


@pytest.fixture
def world(store: RedisStore, namespace: str) -> Iterator[RunWorld]:
    """Return a world with runs."""
    yield from run_world(store, namespace)


def _let_go(world: RunWorld, verb: str, claim: RunClaim) -> Answer:
    """Let go of a run in one of the ways of a holder or of its keeper."""
    if verb in ENDS:
        return world.finish(claim, verb)
    if verb == "pause":
        return world.release(claim, counter="crashes", pause=1_000)
    return world.park(claim) if verb == "park" else world.release(claim)


WAYS = (*ENDS, "park", "release", "pause")


# -- what every end has in common


@pytest.mark.parametrize("verb", WAYS)
@pytest.mark.parametrize("token", ["1.other", "2.nonce", "1.", "", "nonce", "1.nonce "])
def test_another_token_lets_go_of_nothing(world: RunWorld, verb: str, token: str) -> None:
    """Number and random part are compared as a whole."""
    claim = world.taken(timeout=9_000)
    before = world.dump()

    assert _let_go(world, verb, replace(claim, token=token)) == Answer("FENCED", "running")
    assert world.dump() == before


@pytest.mark.parametrize("verb", WAYS)
def test_a_zombie_lets_go_of_nothing(world: RunWorld, verb: str) -> None:
    """What another holds by now stays with him; so does a run that rests or has no record."""
    zombie = world.taken(nonce="a")
    world.runs.suspend(zombie, [asleep(0)])
    rests = world.dump()
    assert _let_go(world, verb, zombie).verdict == "FENCED"
    assert world.dump() == rests
    world.fire(zombie.ref)
    world.take(zombie.ref, nonce="b")
    before = world.dump()

    assert _let_go(world, verb, zombie) == Answer("FENCED", "running")
    assert _let_go(world, verb, replace(zombie, ref=world.new_run().ref)) == Answer("FENCED", "missing")
    assert world.dump() == before


@pytest.mark.parametrize("verb", WAYS)
def test_letting_go_sent_again_is_repeated(world: RunWorld, verb: str) -> None:
    """Its reply was lost; later, too, nothing changes."""
    claim = world.taken(timeout=9_000, key="k")
    assert _let_go(world, verb, claim).verdict == "DONE"
    before = world.dump()
    world.passes(500)

    assert _let_go(world, verb, claim).verdict == "REPEATED"
    assert world.dump() == before


@pytest.mark.parametrize("first", ENDS)
@pytest.mark.parametrize("verb", WAYS)
def test_an_end_after_another_one_is_not_recorded(world: RunWorld, verb: str, first: str) -> None:
    """An outcome never changes, and nobody is told that another one is the recorded one."""
    claim = world.taken()
    world.finish(claim, first)
    before = world.dump()

    assert _let_go(world, verb, claim).recorded == (verb == first)
    assert world.dump() == before


# -- finish


@pytest.mark.parametrize("outcome", ENDS)
def test_an_end_is_recorded_and_leaves_nothing_open(world: RunWorld, outcome: str) -> None:
    """The record has its outcome and expiry; holding, token, deadline, sleeps and timer are gone."""
    claim = world.taken(scope="a/b", timeout=50_000)
    world.note(claim, "a#1")
    world.runs.suspend(claim, [awaits("open", None, "a#1"), asleep(9_000)])
    claim.revision += 1
    world.passes(30)

    assert world.finish(claim, outcome) == Answer("DONE", str(START + 30))

    found, record = world.dump(), world.shown(claim.ref)
    name, value = FIELDS[outcome]
    assert (record["state"], record[name], record["finished_at"]) == (outcome, value, str(START + 30))
    assert found.ordered["expiry"] == {claim.ref.id: START + 30 + getattr(world.settings, f"retain_{outcome}")}
    assert f"run:{claim.ref.id}:due" not in found.ordered
    assert not {"token", "holder", "pid", "op"} & set(record)
    assert found.ordered["run-scope:a/b"] == {claim.ref.id: START}


def test_a_run_asked_to_cancel_does_not_complete(world: RunWorld) -> None:
    """The answer says so and nothing changes; it may be cancelled, or have failed."""
    for outcome in ("cancelled", "failed"):
        claim = world.asked()
        before = world.dump()
        assert world.finish(claim) == Answer("CANCELLING", "enough")
        assert world.dump() == before
        assert world.finish(claim, outcome).verdict == "DONE"


def test_a_holder_that_missed_a_write_ends_nothing(world: RunWorld) -> None:
    """Its revision is an older one: what it would record does not know of all that was done."""
    claim = world.taken()
    world.note(claim, "a#1")
    before = world.dump()

    for revision in (0, 2):
        assert world.finish(replace(claim, revision=revision)).verdict == "FENCED"
    assert world.dump() == before


@pytest.mark.parametrize("kept", [60.0, 3 * 86_400.0])
def test_a_key_of_a_run_lives_as_long_as_its_record_and_at_least_a_day(
    store: RedisStore, namespace: str, kept: float
) -> None:
    """Whichever is longer; the deletion of the record does not end it earlier."""
    for world in run_world(store, namespace, retain_completed=kept):
        ref = world.run_at("completed", key="k")
        until = START + max(int(kept * 1_000), 86_400_000)
        key = world.runs.idempotency(ref)
        assert int(world.ask("PEXPIRETIME", key)) == until
        world.passes(int(kept * 1_000))

        assert world.runs.delete(ref, "completed").verdict == "DONE"
        left = int(world.ask("PEXPIRETIME", key))
        assert left == until if until > world.now else left in (-2, until)


# -- park, resume, strand


def test_a_parked_run_waits_for_a_person(world: RunWorld) -> None:
    """It tells why, keeps its journal and its deadline, and is held by nobody; resumed, it is ready and forgiven."""
    claim = world.taken(timeout=9_000, nonce="a")
    world.release(claim, counter="crashes")
    claim = world.take(claim.ref, nonce="b")
    assert world.park(claim).verdict == "DONE"
    record = world.shown(claim.ref)
    assert (record["state"], record["reason"], record["detail"]) == ("parked", "its code has changed", "both")
    assert world.due_of(claim.ref) == {"deadline": START + 9_000}

    assert world.runs.resume(claim.ref) == Answer("READY", "3")

    assert not {"reason", "detail", "parked_at", "crashes"} & set(world.shown(claim.ref))
    assert world.dump().ordered["marks"].keys() >= {f"{claim.ref.id}:3"}
    assert world.take(claim.ref, nonce="c").token == "3.c"  # noqa: S105 - no secret


@pytest.mark.parametrize("state", ["pending", "running", "waiting", *ENDS])
def test_only_a_parked_run_is_resumed(world: RunWorld, state: str) -> None:
    """The answer names the state, and nothing changes."""
    ref = world.run_at(state)
    before = world.dump()

    assert world.runs.resume(ref) == Answer("STATE", state)
    assert world.dump() == before


def test_a_run_that_nobody_knows_is_parked_where_a_worker_finds_it(world: RunWorld) -> None:
    """It leaves lane and outbox and is listed as unknown; resumed or cancelled it is not."""
    ref, other = world.start(), world.start()
    for one in (ref, other):
        assert world.runs.strand(one, "no worker knows it").verdict == "DONE"
    found = world.dump()
    assert found.ordered["unknown"] == {ref.id: START, other.id: START}
    assert not {"marks", "lane:q:0"} & set(found.ordered)
    assert world.shown(ref)["reason"] == "unknown"

    assert world.runs.resume(ref).verdict == "READY"
    assert world.runs.cancel(other, "parked", "x").verdict == "DONE"
    assert "unknown" not in world.dump().ordered


# -- release


@pytest.mark.parametrize("counter", ["", "crashes", "lost_workers"])
def test_a_released_run_is_ready_at_once(world: RunWorld, counter: str) -> None:
    """A new wake, a mark, and one more crash or lost worker; a graceful stop counts as nothing."""
    claim = world.taken(nonce="a")
    world.note(claim, "a#1")
    assert world.release(claim, counter=counter) == Answer("DONE", "2")

    record, found = world.shown(claim.ref), world.dump()
    assert {name: record[name] for name in ("crashes", "lost_workers") if name in record} == (
        {counter: "1"} if counter else {}
    )
    assert found.ordered["marks"] == {f"{claim.ref.id}:2": START + 1_000}
    again = world.take(claim.ref, nonce="b")
    assert (again.revision, [one.identity for one in again.entries]) == (1, ["a#1"])


def test_a_run_may_be_released_for_later(world: RunWorld) -> None:
    """It waits out the pause under a timer, and is not woken by anything else that comes due."""
    claim = world.taken(timeout=9_000)
    assert world.release(claim, counter="crashes", pause=1_000) == Answer("DONE", "")
    assert world.due_of(claim.ref) == {"pause": START + 1_000, "deadline": START + 9_000}
    world.passes(999)
    assert world.fire(claim.ref) == ("NOTHING", "waiting")
    world.passes(1)

    assert world.fire(claim.ref) == ("READY", "2")
    assert world.dump().ordered["timers"] == {claim.ref.id: START + 9_000}


def test_a_cancelled_run_that_is_released_tells_its_next_holder(world: RunWorld) -> None:
    """It becomes ready, with the flag: who takes it ends it."""
    claim = world.asked(nonce="a")
    world.release(claim)
    again = world.take(claim.ref, nonce="b")

    assert again.cancel == "enough"
    assert world.runs.suspend(again, [asleep(5)]) == ("CANCELLING", [b"enough"])


# -- cancel and delete


@pytest.mark.parametrize("state", ["pending", "waiting", "parked"])
def test_a_run_that_nobody_holds_is_cancelled_at_once(world: RunWorld, state: str) -> None:
    """Nothing of it is ready, due or awaited any more; its key and record live on for their time."""
    ref = world.run_at(state, timeout=9_000, key="k")

    assert world.runs.cancel(ref, state, "why") == Answer("DONE", str(START))

    found, record = world.dump(), world.shown(ref)
    assert (record["state"], record["reason"]) == ("cancelled", "why")
    assert not {"timers", "lane:q:0", f"run:{ref.id}:due"} & set(found.ordered)
    assert f"run:{ref.id}:waits" not in found.sets
    assert int(world.ask("PEXPIRETIME", world.runs.idempotency(ref))) == START + world.settings.retain_cancelled


@pytest.mark.parametrize("state", ["pending", "running", "waiting", "parked", *ENDS])
def test_a_run_in_another_state_is_not_cancelled(world: RunWorld, state: str) -> None:
    """The caller's keys would be the wrong ones: the answer names the state."""
    ref = world.run_at(state)
    before = world.dump()

    for seen in {"pending", "running", "waiting", "parked", *ENDS} - {state}:
        assert world.runs.cancel(ref, seen, "x") == Answer("STATE", state)
    assert world.dump() == before
    assert world.runs.cancel(world.new_run().ref, "pending", "x").verdict == "MISSING"


@pytest.mark.parametrize("state", ENDS)
def test_a_run_is_deleted_when_its_time_has_passed(world: RunWorld, state: str) -> None:
    """Not a millisecond earlier, by no other leader, and then no key names it."""
    _, term = world.leader()
    claim = world.taken(timeout=90_000, key="k", scope="a/b")
    world.note(claim, "a#1")
    world.finish(claim, state)
    world.passes(getattr(world.settings, f"retain_{state}") - 1)
    before = world.dump()
    assert world.runs.delete(claim.ref, state, term=term) == Answer("STATE", state)
    world.passes(1)
    with pytest.raises(LeadershipLost):
        world.runs.delete(claim.ref, state, term="9.x")
    assert world.dump() == before

    assert world.runs.delete(claim.ref, state, term=term).verdict == "DONE"

    found = world.dump()
    assert [name for name in (*found.ordered, *found.hashes, *found.sets) if claim.ref.id in name] == []
    assert found.runs == {}
    assert [name for name, members in found.ordered.items() if claim.ref.id in members] == []


@pytest.mark.parametrize("state", ["pending", "running", "waiting", "parked"])
def test_a_run_that_has_not_ended_is_not_deleted(world: RunWorld, state: str) -> None:
    """Whatever the caller believes."""
    ref = world.run_at(state)
    before = world.dump()

    for expected in (state, *ENDS):
        assert world.runs.delete(ref, expected) == Answer("STATE", state)
    assert world.dump() == before
