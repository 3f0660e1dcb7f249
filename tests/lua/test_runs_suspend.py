"""``runs/suspend``, ``fire`` and ``rearm``: how a run comes to rest, and what wakes it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from dispatch_celery.errors import LeadershipLost, StoreUnavailable
from dispatch_celery.store.client import RedisStore
from dispatch_celery.store.replies import text
from dispatch_celery.store.scripts import Call
from dispatch_celery.workflows.journal import Entry
from dispatch_celery.workflows.keeping import RunKeeping
from dispatch_celery.workflows.store import RunClaim, RunStore
from tests.lua.run_world import ENDS, RunWorld, asleep, awaits, run_world
from tests.lua.world import START, nobody


@pytest.fixture
def world(store: RedisStore, namespace: str) -> Iterator[RunWorld]:
    """Return a world with runs."""
    yield from run_world(store, namespace)


class LosesReplies:
    """A port whose next trip is made, and answered to nobody."""

    def __init__(self, world: RunWorld) -> None:
        self._port = world.port

    def execute(self, calls: Sequence[Call]) -> list[Any]:
        """Send, and forget the answers."""
        self._port.execute(calls)
        raise StoreUnavailable("the reply was lost")


def deaf(world: RunWorld) -> RunStore:
    """Return a store whose calls are carried out, and whose replies are lost."""
    return RunStore(LosesReplies(world), world.keys, world.settings, world.time)


def ready(details: Sequence[bytes]) -> dict[str, str]:
    """Return the statuses in the answer of a suspension that found something."""
    pairs = zip(details[::2], details[1::2], strict=True)
    return {text(name): Entry.parse(text(name), data).status for name, data in pairs}


# -- suspend


def test_a_suspended_run_is_held_by_nobody(world: RunWorld) -> None:
    """What it waits for is registered with its due time, under one timer, and its worker is free."""
    claim = world.taken()
    world.passes(5)
    waiting = [asleep(700), awaits("awaiting", 300, "e#1"), awaits("open", None, "c#1")]

    assert world.runs.suspend(claim, waiting) == ("DONE", [])

    found, ref = world.dump(), claim.ref
    assert world.waits_of(ref) == {"sleep#1", "e#1", "c#1"}
    assert world.due_of(ref) == {"sleep#1": START + 705, "e#1": START + 305}
    assert found.ordered["timers"] == {ref.id: START + 305}
    assert found.ordered["run-state:waiting"] == {ref.id: START}
    assert f"held:{claim.holder}" not in found.hashes
    stored = {name: (one.status, one.at) for name, one in world.promises(ref).items()}
    assert stored == {"sleep#1": ("sleeping", START + 705), "e#1": ("awaiting", START + 305), "c#1": ("open", 0)}


def test_what_is_there_already_keeps_a_run_going(world: RunWorld) -> None:
    """It is answered with what is there, stays with its holder, and waits for nothing."""
    claim = world.taken()
    world.note(claim, "a#1")
    world.note(claim, "b#1", b"{}", "error")

    verdict, details = world.runs.suspend(claim, [awaits("open", None, name) for name in ("a#1", "b#1", "c#1")])

    assert (verdict, ready(details)) == ("READY", {"a#1": "value", "b#1": "error"})
    record = world.shown(claim.ref)
    assert (record["state"], record["token"], record["revision"]) == ("running", claim.token, "3")
    assert world.waits_of(claim.ref) == set()


def test_a_due_time_registered_by_a_run_that_goes_on_has_its_timer(world: RunWorld) -> None:
    """Every due time has its timer, whether the run rests or not."""
    claim = world.taken()
    world.note(claim, "a#1")

    assert world.runs.suspend(claim, [awaits("open", None, "a#1"), asleep(700)])[0] == "READY"

    assert world.due_of(claim.ref) == {"sleep#1": START + 700}
    assert world.dump().ordered.get("timers") == {claim.ref.id: START + 700}


@pytest.mark.parametrize("flagged", ["before", "before it is sent again"])
def test_a_run_asked_to_cancel_does_not_rest(world: RunWorld, flagged: str) -> None:
    """It stays with its holder, who ends it."""
    claim = world.taken()
    if flagged == "before":
        world.flag(claim)
    else:
        world.note(claim, "a#1")
        with pytest.raises(StoreUnavailable):
            deaf(world).suspend(claim, [awaits("open", None, "a#1")])
        world.flag(claim)
    before = world.dump()

    verdict, details = world.runs.suspend(claim, [awaits("open", None, "a#1")])

    assert world.dump() == before
    if verdict == "READY":
        claim.revision += 1
    else:
        assert (verdict, details) == ("CANCELLING", [b"enough"])
    assert world.finish(claim, "cancelled").verdict == "DONE"


@pytest.mark.parametrize("later", [0, 50])
def test_a_suspension_sent_again_is_repeated(world: RunWorld, later: int) -> None:
    """While the run rests, and when it has become ready, nothing changes: no due time moves."""
    claim = world.taken()
    waiting = [asleep(50), awaits("retrying", 900, "a#1"), awaits("awaiting", 900, "e#1")]
    with pytest.raises(StoreUnavailable):
        deaf(world).suspend(claim, waiting)
    world.passes(later)
    if later:
        assert world.fire(claim.ref)[0] == "READY"
    before = world.dump()

    assert world.runs.suspend(claim, waiting)[0] == "REPEATED"
    assert world.dump() == before


def test_a_suspension_that_found_something_finds_it_again(world: RunWorld) -> None:
    """Its reply was lost: the same is there, the revision rises once, and the due time of another try stays."""
    claim = world.taken()
    world.note(claim, "a#1")
    waiting = [awaits("open", None, "a#1"), awaits("retrying", 900, "b#1")]
    first = world.runs.suspend(claim, waiting)
    before = world.dump()
    world.passes(20)

    assert world.runs.suspend(claim, waiting) == first
    assert world.dump() == before


def test_another_holder_or_revision_suspends_nothing(world: RunWorld) -> None:
    """A zombie, and a holder that missed a write of its own, are fenced."""
    zombie = world.taken(nonce="a")
    world.release(zombie)
    claim = world.take(zombie.ref, nonce="b")
    world.note(claim, "a#1")
    claim.revision = 0
    before = world.dump()

    assert world.runs.suspend(zombie, [asleep(5)])[0] == "FENCED"
    assert world.runs.suspend(claim, [asleep(5)])[0] == "FENCED"
    assert world.dump() == before


def test_a_deadline_is_stored_once(world: RunWorld) -> None:
    """A run that was woken by something else and rests again still sleeps until the first moment."""
    claim = world.suspended([asleep(10_000), awaits("awaiting", 100, "e#1")], nonce="a")
    world.passes(100)
    world.fire(claim.ref)
    again = world.take(claim.ref, nonce="b")
    world.passes(50)

    assert world.runs.suspend(again, [asleep(10_000)])[0] == "DONE"

    assert world.due_of(claim.ref) == {"sleep#1": START + 10_000}
    assert world.waits_of(claim.ref) == {"sleep#1"}
    assert world.promises(claim.ref)["sleep#1"].at == START + 10_000


def test_another_try_has_a_due_time_of_its_own(world: RunWorld) -> None:
    """A step that waits for its second retry waits from now on."""
    claim = world.suspended([awaits("retrying", 100, "a#1")], nonce="a")
    world.passes(100)
    world.fire(claim.ref)
    again = world.take(claim.ref, nonce="b")

    assert world.runs.suspend(again, [awaits("retrying", 200, "a#1")])[0] == "DONE"
    assert world.due_of(claim.ref) == {"a#1": START + 300}


@pytest.mark.parametrize("count", [0, 10_000])
def test_a_suspension_is_applied_whole_or_not_at_all(world: RunWorld, count: int) -> None:
    """For nothing, and for as many promises as a run may have: the run is held, or it waits, never neither."""
    claim = world.taken()
    try:
        verdict, _ = world.runs.suspend(claim, [awaits("open", None, f"c#{n}") for n in range(count)])
    except Exception as error:  # noqa: BLE001 - whatever it is, nothing may have changed
        verdict = f"{type(error).__name__}: {error}"

    record = world.shown(claim.ref)
    assert (record["state"], "token" in record) in (("running", True), ("waiting", False)), verdict
    assert verdict in ("DONE", "READY")


# -- fire


def _resting(world: RunWorld, status: str) -> RunClaim:
    return world.suspended([awaits(status, 100, "p#1")])


@pytest.mark.parametrize(
    ("status", "after"), [("sleeping", "value"), ("awaiting", "timeout"), ("retrying", "retrying")]
)
def test_what_is_due_wakes_a_run_once(world: RunWorld, status: str, after: str) -> None:
    """Not a millisecond early; a sleep has its value, a wait its timeout, another try is only due."""
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
    claim = _resting(world, "awaiting")
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
    assert seqs["sleep#2"] == ("value", 1)
    assert {seq for _, seq in seqs.values()} == {1, 2, 3}
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
