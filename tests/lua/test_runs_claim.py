"""``runs/claim`` and ``record``: how a run comes to its holder, and an outcome to its journal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from dispatch_celery.ids import WorkerId
from dispatch_celery.store.client import RedisStore
from dispatch_celery.workflows.held import RunClaim
from dispatch_celery.workflows.model import RunRef
from tests.lua.run_world import RunWorld, asleep, awaits, rest, run_world
from tests.lua.world import START


@pytest.fixture
def world(store: RedisStore, namespace: str) -> Iterator[RunWorld]:
    """Return a world with runs."""
    yield from run_world(store, namespace)


# -- claim


def test_a_claim_gives_the_run_with_its_journal(world: RunWorld) -> None:
    """Payload, token and every promise come in one answer; lane and mark are gone, the holding is listed."""
    claim = world.taken(nonce="a", payload=b'{"x":1}')
    assert (claim.token, claim.claimed_at, claim.revision, claim.entries) == ("1.a", START, 0, [])
    world.note(claim, "charge#1", b'"50% \\n\n"')
    assert world.runs.suspend(claim, [asleep(100)])[0] == "DONE"
    world.passes(100)
    world.fire(claim.ref)

    again = world.take(claim.ref, nonce="b", pid=42)

    assert (again.token, again.payload, again.created_at, again.revision) == ("2.b", b'{"x":1}', START, 2)
    told = {one.identity: (one.status, one.seq, one.at, one.payload) for one in again.entries}
    assert told == {
        "charge#1": ("value", 1, START, b'"50% \\n\n"'),
        "sleep#1": ("value", 2, START + 100, b""),
    }
    found = world.dump()
    assert found.hashes[f"held:{again.holder}"] == {claim.ref.id: "42 2.b"}
    assert not {"marks", "lane:q:0"} & set(found.ordered)


def test_a_claim_tells_when_a_run_was_first_taken(world: RunWorld) -> None:
    """Later claims leave that time alone; that nobody knew it before is forgotten."""
    ref = world.start()
    assert world.jobs.give_back(ref, pause=500).verdict == "WAITING"
    world.passes(700)
    claim = world.take(ref, nonce="a")
    assert "unknown_since" not in world.shown(ref)
    world.release(claim)
    world.passes(100)
    world.take(ref, nonce="b")

    record = world.shown(ref)
    assert (record["first_at"], record["started_at"]) == (str(START + 700), str(START + 800))


def test_a_claim_sent_again_is_the_same_claim(world: RunWorld) -> None:
    """Its random part names it, later too; a stranger is told that the run is taken."""
    claim = world.taken(nonce="mine")
    before = world.dump()
    world.passes(500)

    assert world.runs.claim(claim.ref, holder=claim.holder, nonce="mine", pid=7) == ("CLAIMED", claim)
    for nonce in ("min", ".mine", "1.mine", ""):
        verdict = world.runs.claim(claim.ref, holder=claim.holder, nonce=nonce, pid=7)
        assert verdict == ("LEFTOVER", ("running",))
    assert world.dump() == before


def test_every_claim_has_a_greater_number(world: RunWorld) -> None:
    """Numbers grow over releases, rests and resumptions."""
    claim = world.taken(nonce="a")
    tokens = [claim.token]
    for nonce, verb in (("b", "release"), ("c", "suspend"), ("d", "park")):
        if verb == "release":
            world.release(claim)
        elif verb == "suspend":
            world.runs.suspend(claim, [asleep(0)])
            world.fire(claim.ref)
        else:
            world.park(claim)
            world.runs.resume(claim.ref)
        claim = world.take(claim.ref, nonce=nonce)
        tokens.append(claim.token)

    assert tokens == ["1.a", "2.b", "3.c", "4.d"]


@pytest.mark.parametrize("state", ["waiting", "running", "parked", "completed", "failed", "cancelled"])
def test_a_run_that_is_not_ready_is_a_leftover(world: RunWorld, state: str) -> None:
    """The answer names the state, and nothing changes."""
    ref, worker = world.run_at(state), world.register()
    before = world.dump()

    assert world.runs.claim(ref, holder=worker, nonce="other", pid=1) == ("LEFTOVER", (state,))
    assert world.dump() == before


def test_a_wake_up_that_is_not_right_changes_nothing(world: RunWorld) -> None:
    """Without a record it is missing; of another name or lane, it is told the right one."""
    ref, worker = world.start(queue="a:b", priority=2), world.register()
    before = world.dump()

    assert world.runs.claim(world.new_run().ref, holder=worker, nonce="n", pid=1) == ("MISSING", ())
    wrong: tuple[RunRef, ...] = (replace(ref, name="other"), replace(ref, queue="x"), replace(ref, priority=3))
    for moved in wrong:
        assert world.runs.claim(moved, holder=worker, nonce="n", pid=1) == ("MOVED", ("order", "a:b:2"))
    assert world.dump() == before


def test_a_worker_without_a_lease_claims_no_run(world: RunWorld) -> None:
    """Unknown, departed, and out of its lease to the millisecond: refused, and nothing changes."""
    ref, worker, gone = world.start(), world.register(), world.register()
    world.cluster.depart(gone)
    world.passes(world.settings.lease)
    before = world.dump()

    for holder in (worker, gone, WorkerId.mint()):
        assert world.runs.claim(ref, holder=holder, nonce="n", pid=1) == ("NOT_REGISTERED", ())
    assert world.dump() == before
    world.passes(-1)
    assert world.runs.claim(ref, holder=worker, nonce="n", pid=1)[0] == "CLAIMED"


def test_a_held_run_counts_as_work_that_runs(world: RunWorld) -> None:
    """Those who look for dead workers look more often while something runs, a job or a run."""
    claim = world.taken()
    pulse = world.renew(WorkerId(claim.holder))

    assert pulse is not None
    assert pulse.running == 1
    assert world.cluster.condemn()[0] == 1


# -- record


def _record(world: RunWorld, claim: RunClaim, identity: str, status: str = "value") -> str:
    return world.runs.record(claim, identity, status, rest(payload=b"1"))[0]


def test_a_promise_is_recorded_in_its_place(world: RunWorld) -> None:
    """It gets the next number and the time, and raises the revision; an error is as good as a value."""
    claim = world.taken()
    world.passes(5)
    world.note(claim, "a#1")
    world.note(claim, "b#1", b"{}", "error")

    told = {name: (one.status, one.seq, one.at, one.payload) for name, one in world.promises(claim.ref).items()}
    assert told == {"a#1": ("value", 1, START + 5, b"1"), "b#1": ("error", 2, START + 5, b"{}")}
    assert world.shown(claim.ref)["revision"] == "2"


def test_a_record_sent_again_has_one_effect(world: RunWorld) -> None:
    """Its reply was lost, so its holder knows one revision less: the same operation is told so."""
    claim = world.taken()
    assert _record(world, claim, "a#1") == "DONE"
    before = world.dump()
    world.passes(9)

    assert world.runs.record(claim, "a#1", "value", rest(payload=b"1")) == ("REPEATED", [b"running"])
    assert world.dump() == before


@pytest.mark.parametrize("changed", [{"token": "1.other"}, {"token": "2.nonce"}, {"token": ""}, {"revision": 1}])
def test_a_holder_that_missed_a_write_is_fenced(world: RunWorld, changed: dict[str, Any]) -> None:
    """Another token, an older or a newer revision, or another operation one behind: nothing changes."""
    claim = world.taken()
    for n in range(3):
        world.note(claim, f"a#{n}")
    before = world.dump()

    assert _record(world, replace(claim, **changed), "a#1") == "FENCED"
    assert _record(world, replace(claim, revision=2), "b#1") == "FENCED"
    assert _record(world, replace(claim, revision=4), "b#1") == "FENCED"
    assert world.dump() == before


@pytest.mark.parametrize("end", ["release", "suspend", "park", "completed"])
def test_who_let_go_records_nothing(world: RunWorld, end: str) -> None:
    """Neither while nobody holds the run, nor while another does."""
    claim = world.taken(nonce="a")
    if end == "suspend":
        world.runs.suspend(claim, [asleep(0)])
    else:
        assert getattr(world, "finish" if end == "completed" else end)(claim).verdict == "DONE"
    before = world.dump()
    assert _record(world, claim, "a#1") == "FENCED"
    assert _record(world, replace(claim, revision=1), "a#1") == "FENCED"
    assert world.dump() == before


def test_a_recorded_outcome_never_changes(world: RunWorld) -> None:
    """What is resolved, and what somebody else will resolve, is refused, and the revision stays."""
    claim = world.taken()
    world.note(claim, "a#1")
    assert world.runs.suspend(claim, [awaits("open", None, "a#1"), awaits("open", None, "e#1")])[0] == "READY"
    claim.revision += 1
    before = world.dump()

    for identity, status in (("a#1", "value"), ("a#1", "error"), ("a#1", "retrying"), ("e#1", "value")):
        assert _record(world, claim, identity, status) == "CONFLICT"
    assert world.dump() == before


def test_a_try_may_be_followed_by_another_and_by_the_outcome(world: RunWorld) -> None:
    """``retrying`` is no outcome."""
    claim = world.taken()
    for status in ("retrying", "retrying", "error"):
        world.note(claim, "a#1", status=status)

    assert _record(world, claim, "a#1") == "CONFLICT"
    assert {name: one.status for name, one in world.promises(claim.ref).items()} == {"a#1": "error"}


def test_a_recorded_step_forgives_crashes(world: RunWorld) -> None:
    """They are counted from the last step; workers that were lost are not its fault and stay counted."""
    claim = world.taken()
    world.release(claim, counter="crashes")
    claim = world.take(claim.ref, nonce="b")
    world.release(claim, counter="lost_workers")
    claim = world.take(claim.ref, nonce="c")
    assert (claim.crashes, claim.lost_workers) == (1, 1)

    world.note(claim, "a#1")

    assert "crashes" not in world.shown(claim.ref)
    assert world.shown(claim.ref)["lost_workers"] == "1"
