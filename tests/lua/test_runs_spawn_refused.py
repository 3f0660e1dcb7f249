"""``runs/spawn``, where it is not carried out, or not again: fenced, cancelled, sent twice, or without memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from dispatch_celery.errors import StoreUnavailable
from dispatch_celery.store.client import RedisStore
from dispatch_celery.workflows.held import Family, RunClaim
from tests.lua.families import member, parent_in
from tests.lua.lost_replies import deaf
from tests.lua.run_world import RunWorld, asleep, run_world
from tests.lua.world import START

KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "jobs": ("job", {}),
    "jobs for later": ("job", {"due": START + 9_000}),
    "children": ("child", {"timeout": 9_000}),
    "children for later": ("child", {"due": START + 9_000, "timeout": 9_000}),
    "detached children": ("child", {"detached": True}),
}
each_kind = pytest.mark.parametrize(("kind", "options"), [pytest.param(*case, id=name) for name, case in KINDS.items()])


@pytest.fixture
def world(store: RedisStore, namespace: str) -> Iterator[RunWorld]:
    """Return a world with runs."""
    yield from run_world(store, namespace)


def _family(claim: RunClaim, kind: str, options: dict[str, Any], *identities: str) -> Family:
    names = identities or ("m#1", "m#2")
    return Family(members=[member(claim, one, kind, scope="a/b") for one in names], **options)


# -- the fence


@pytest.mark.parametrize(
    "changed", [{"token": "1.other"}, {"token": "2.parent"}, {"token": ""}, {"revision": 0}, {"revision": 2}]
)
@each_kind
def test_another_token_or_revision_sends_nobody(
    world: RunWorld, kind: str, options: dict[str, Any], changed: dict[str, Any]
) -> None:
    """A zombie, and a holder that missed a write of its own, would send what is not wanted, or was sent before."""
    claim = parent_in(world)
    world.note(claim, "step#1")
    family = _family(claim, kind, options)
    before = world.dump()

    assert world.runs.spawn(replace(claim, **changed), family) == ["FENCED", "running"]
    assert world.dump() == before


def _suspended(world: RunWorld, claim: RunClaim) -> None:
    assert world.runs.suspend(claim, [asleep(9_000)])[0] == "DONE"


def _taken_over(world: RunWorld, claim: RunClaim) -> None:
    world.release(claim, counter="lost_workers")
    world.take(claim.ref, nonce="b")


LEFT: dict[str, tuple[Callable[[RunWorld, RunClaim], object], str]] = {
    "released": (lambda world, claim: world.release(claim), "pending"),
    "suspended": (_suspended, "waiting"),
    "parked": (lambda world, claim: world.park(claim), "parked"),
    "completed": (lambda world, claim: world.finish(claim), "completed"),
    "taken over": (_taken_over, "running"),
}


@pytest.mark.parametrize("way", LEFT)
@each_kind
def test_who_let_go_sends_nobody(world: RunWorld, kind: str, options: dict[str, Any], way: str) -> None:
    """Whether the run rests, has ended, or is another's by now; the answer names its state."""
    claim = parent_in(world)
    leave, state = LEFT[way]
    leave(world, claim)
    before = world.dump()

    assert world.runs.spawn(claim, _family(claim, kind, options)) == ["FENCED", state]
    assert world.dump() == before


def test_a_run_that_is_gone_sends_nobody(world: RunWorld) -> None:
    """Nothing of it, and nothing of its members, is written."""
    claim = replace(parent_in(world), ref=world.new_run().ref)
    before = world.dump()

    assert world.runs.spawn(claim, _family(claim, "job", {})) == ["FENCED", "missing"]
    assert world.dump() == before


@each_kind
def test_a_run_that_was_asked_to_cancel_sends_nobody(world: RunWorld, kind: str, options: dict[str, Any]) -> None:
    """The answer tells why it is to end, and its holder may end it with the revision it knows."""
    claim = parent_in(world)
    family = _family(claim, kind, options)
    world.flag(claim, "enough")
    before = world.dump()

    assert world.runs.spawn(claim, family) == ["CANCELLING", "enough"]
    assert world.dump() == before
    assert world.finish(claim, "cancelled").verdict == "DONE"


# -- sent twice


@each_kind
def test_members_sent_again_are_there_once(world: RunWorld, kind: str, options: dict[str, Any]) -> None:
    """The reply was lost: later, too, the answer says so, and nothing is written."""
    claim = parent_in(world)
    family = _family(claim, kind, options)
    with pytest.raises(StoreUnavailable):
        deaf(world).spawn(claim, family)
    before = world.dump()
    world.passes(50)

    assert world.runs.spawn(claim, family) == ["REPEATED", "running"]
    assert world.dump() == before


def test_members_sent_again_after_the_run_was_cancelled_are_there(world: RunWorld) -> None:
    """They had been sent before that: their holder is told that they were, so that it calls them off."""
    claim = parent_in(world)
    family = _family(claim, "job", {})
    with pytest.raises(StoreUnavailable):
        deaf(world).spawn(claim, family)
    world.flag(claim)

    assert world.runs.spawn(claim, family) == ["REPEATED", "running"]
    assert len(world.open_undos(claim.ref)) == 2


@pytest.mark.parametrize("state", ["running", "completed", "gone"])
def test_members_sent_again_late_do_not_begin_anew(world: RunWorld, state: str) -> None:
    """One that was taken, has ended, or was even deleted meanwhile, stays where it is."""
    claim = parent_in(world)
    family = _family(claim, "job", {}, "m#1")
    with pytest.raises(StoreUnavailable):
        deaf(world).spawn(claim, family)
    (stored,) = world.records.jobs([family.members[0].ref.id])
    assert stored is not None
    ref = world.records.stored([stored.id])[0].ref  # type: ignore[union-attr]  # it is there
    held = world.claim(ref, world.register())  # type: ignore[arg-type]  # a job's
    if state != "running":
        world.end("complete", held)
    if state == "gone":
        assert world.jobs.delete(ref, "completed", force=True).verdict == "DONE"
    before = world.dump()

    assert world.runs.spawn(claim, family) == ["REPEATED", "running"]
    assert world.dump() == before


def test_the_same_family_later_is_not_the_same_write(world: RunWorld) -> None:
    """Only the last write of a claim can be repeated: an older one, sent late, finds another revision."""
    claim = parent_in(world)
    family = _family(claim, "job", {})
    stale = replace(claim)
    assert world.runs.spawn(claim, family)[0] == "DONE"
    claim.revision += 1
    world.note(claim, "step#1")
    before = world.dump()

    assert world.runs.spawn(stale, family) == ["FENCED", "running"]
    assert world.dump() == before


def test_another_family_is_not_taken_for_one_whose_reply_was_lost(world: RunWorld) -> None:
    """It has another first member: its holder knows less than was done, and is fenced."""
    claim = parent_in(world)
    with pytest.raises(StoreUnavailable):
        deaf(world).spawn(claim, _family(claim, "job", {}, "m#1"))
    before = world.dump()

    assert world.runs.spawn(claim, _family(claim, "job", {}, "m#2")) == ["FENCED", "running"]
    assert world.dump() == before


# -- a full server


@each_kind
def test_members_are_refused_whole_when_memory_is_full(full: RunWorld, kind: str, options: dict[str, Any]) -> None:
    """No record, no promise, no index: the same write is good once there is room, and is made once."""
    claim = parent_in(full)
    family = _family(claim, kind, options)
    full.fill()
    before = full.dump()

    for _ in range(2):
        with pytest.raises(StoreUnavailable, match=r"refuses for now: .*maxmemory"):
            full.runs.spawn(claim, family)
    assert full.dump() == before
    full.make_room()
    assert full.runs.spawn(claim, family)[0] == "DONE"
    assert full.shown(claim.ref)["revision"] == "1"
