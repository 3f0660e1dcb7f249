"""``runs/fire`` and ``rearm``: what is due wakes a run, once, and is not lost with its timer."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dispatch_celery.errors import LeadershipLost, StoreUnavailable
from dispatch_celery.store.client import RedisStore
from dispatch_celery.workflows.held import RunClaim
from dispatch_celery.workflows.keeping import RunKeeping
from dispatch_celery.workflows.store import RunStore
from tests.lua.lost_replies import deaf
from tests.lua.run_world import ENDS, RunWorld, asleep, awaits, run_world
from tests.lua.world import START, nobody


@pytest.fixture
def world(store: RedisStore, namespace: str) -> Iterator[RunWorld]:
    """Return a world with runs."""
    yield from run_world(store, namespace)


def _resting(world: RunWorld, status: str) -> RunClaim:
    return world.suspended([awaits(status, 100, "p#1")])


@pytest.mark.parametrize(
    ("status", "after"), [("sleeping", "value"), ("awaiting", "awaiting"), ("retrying", "retrying")]
)
def test_what_is_due_wakes_a_run_once(world: RunWorld, status: str, after: str) -> None:
    """Not a millisecond early; a sleep has its value, a wait is looked at once more, another try is only due."""
    claim = _resting(world, status)
    world.passes(99)
    early = world.dump()
    assert world.fire(claim.ref) == ("NOTHING", "waiting")
    assert world.dump() == early
    world.passes(1)

    assert world.fire(claim.ref) == ("READY", "2")

    woken = world.dump()
    assert world.promises(claim.ref)["p#1"].status == after
    assert woken.ordered["marks"].keys() >= {f"{claim.ref.id}:2"}
    assert woken.ordered["lane:q:0"] == {claim.ref.id: START + 100}
    assert "timers" not in woken.ordered
    assert world.fire(claim.ref) == ("NOTHING", "pending")
    assert world.dump() == woken


def test_what_is_resolved_keeps_what_python_reads(world: RunWorld) -> None:
    """Head and payload of the entry are what they were; place and time are new."""
    claim = _resting(world, "sleeping")
    before = world.promises(claim.ref)["p#1"]
    world.passes(130)
    world.fire(claim.ref)
    after = world.promises(claim.ref)["p#1"]

    assert (after.head, after.payload, after.seq, after.at) == (before.head, before.payload, 1, START + 130)


def test_what_nobody_waits_for_is_resolved_without_a_wake_up(world: RunWorld) -> None:
    """The run goes on waiting for the rest, under the next timer."""
    claim = world.suspended([asleep(500), awaits("awaiting", 100, "e#1")], nonce="a")
    world.passes(100)
    world.fire(claim.ref)
    again = world.take(claim.ref, nonce="b")
    assert world.runs.suspend(again, [awaits("awaiting", 2_000, "e#2")])[0] == "DONE"
    world.passes(400)

    assert world.fire(claim.ref) == ("NOTHING", "waiting")

    assert world.promises(claim.ref)["sleep#1"].status == "value"
    assert world.dump().ordered["timers"] == {claim.ref.id: START + 2_100}


def test_all_that_is_due_makes_one_wake_up(world: RunWorld) -> None:
    """Two sleeps, a wait and the deadline at the same moment."""
    claim = world.suspended([asleep(100), asleep(90, "sleep#2"), awaits("awaiting", 100, "e#1")], timeout=100)
    world.passes(100)

    assert world.fire(claim.ref) == ("READY", "2")

    seqs = {name: (one.status, one.seq) for name, one in world.promises(claim.ref).items()}
    assert seqs == {"sleep#2": ("value", 1), "sleep#1": ("value", 2), "e#1": ("awaiting", 0)}
    assert world.take(claim.ref, nonce="b").cancel == "timeout"


@pytest.mark.parametrize("state", ["pending", "running", "waiting", "parked"])
def test_a_deadline_asks_for_the_end_of_a_run(world: RunWorld, state: str) -> None:
    """Who waits wakes, who is held is told, and who is ready or parked hears of it when it goes on."""
    ref = world.run_at(state, timeout=1_000)
    world.passes(1_000)

    answer = {"running": ("EXPIRED", "timeout"), "waiting": ("READY", "2")}.get(state, ("NOTHING", state))
    assert world.fire(ref) == answer

    assert world.shown(ref)["cancel"] == "timeout"
    assert "deadline" not in world.due_of(ref)


@pytest.mark.parametrize("state", ENDS)
def test_an_ended_run_has_nothing_due(world: RunWorld, state: str) -> None:
    """Its deadline and its sleeps are void, and a late timer changes nothing."""
    ref = world.run_at(state, timeout=1_000)
    world.passes(5_000)
    before = world.dump()

    assert world.fire(ref) == ("NOTHING", state)
    assert world.dump() == before


def test_the_first_reason_to_end_a_run_stands(world: RunWorld) -> None:
    """Who was asked to cancel by a person is not cancelled by its deadline."""
    claim = world.asked(timeout=100)
    world.passes(100)
    world.fire(claim.ref)

    assert world.shown(claim.ref)["cancel"] == "enough"


def test_an_expired_holder_is_told_though_a_reply_was_lost(world: RunWorld) -> None:
    """Its deadline fired and the leader never heard of it: a later round tells the holder, or this one has."""
    claim = world.taken(timeout=1_000)
    world.passes(1_000)
    with pytest.raises(StoreUnavailable):
        _round(world, deaf(world))
    world.passes(2_000)

    _round(world, world.runs)

    assert world.cluster.held(claim.holder) == {claim.ref.id: f"7 {claim.token} cancel"}


def test_a_deadline_that_passes_under_another_holder_stays_due(world: RunWorld) -> None:
    """The leader has read who holds it a moment too early; its next look tells the right one."""
    claim = world.taken(timeout=1_000)
    world.passes(1_000)

    (answer,) = world.runs.fire([claim.ref], holders=["wkr_of_before"])

    assert answer.verdict == "NOTHING"
    assert "deadline" in world.due_of(claim.ref)
    assert world.fire(claim.ref) == ("EXPIRED", "timeout")


def _round(world: RunWorld, runs: RunStore) -> None:
    """Fire what the timers say is due, as a leader does."""
    _, ids = world.jobs.due(world.keys.timers, 5)
    found = [stored for stored in world.records.stored(ids) if stored is not None]
    RunKeeping(runs, world.settings, nobody).due(found, term="")


def test_a_leader_of_another_term_fires_nothing(world: RunWorld) -> None:
    """Neither does it set timers; the one that reigns does."""
    _, term = world.leader()
    claim = _resting(world, "sleeping")
    world.passes(100)
    before = world.dump()

    for other in ("0.", "1.", f"{term}x"):
        with pytest.raises(LeadershipLost):
            world.fire(claim.ref, term=other)
        with pytest.raises(LeadershipLost):
            world.runs.rearm(claim.ref, term=other)
    assert world.dump() == before
    assert world.fire(claim.ref, term=term)[0] == "READY"


# -- rearm


def test_a_lost_timer_is_set_again(world: RunWorld) -> None:
    """To the earliest of what is due, once; a run with a timer, or with nothing due, is left alone."""
    claim = world.suspended([asleep(900), awaits("awaiting", 300, "e#1")])
    idle = world.start()
    world.ask("ZREM", world.keys.timers, claim.ref.id)

    assert world.runs.rearm(claim.ref).verdict == "ARMED"
    assert world.dump().ordered["timers"] == {claim.ref.id: START + 300}
    for ref, state in ((claim.ref, "waiting"), (idle, "pending"), (world.new_run().ref, "missing")):
        answer = world.runs.rearm(ref)
        assert (answer.verdict, answer.detail) == ("LEFTOVER", state)
