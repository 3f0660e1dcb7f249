"""``runs/suspend``: how a run comes to rest, or learns that what it waits for is there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from dispatch_celery.errors import StoreUnavailable
from dispatch_celery.store.client import RedisStore
from dispatch_celery.store.replies import text
from dispatch_celery.workflows.journal import Entry
from tests.lua.lost_replies import deaf
from tests.lua.run_world import RunWorld, asleep, awaits, run_world
from tests.lua.world import START


@pytest.fixture
def world(store: RedisStore, namespace: str) -> Iterator[RunWorld]:
    """Return a world with runs."""
    yield from run_world(store, namespace)


def ready(details: Sequence[bytes]) -> dict[str, str]:
    """Return the statuses in the answer of a suspension that found something."""
    pairs = zip(details[::2], details[1::2], strict=True)
    return {text(name): Entry.parse(text(name), data).status for name, data in pairs}


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
