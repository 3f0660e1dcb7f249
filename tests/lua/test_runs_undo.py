"""``runs/intend``, ``undo`` and ``claim``: what is to be undone is noted before it is done, and struck off after."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from dispatch_celery.store.client import RedisStore
from tests.lua.run_world import FIELDS, RunWorld, asleep, rest, run_world
from tests.lua.saga_writes import WRITES, write, writer
from tests.lua.world import START

TURNED = ("failed", "cancelled")


@pytest.fixture
def world(store: RedisStore, namespace: str) -> Iterator[RunWorld]:
    """Return a world with runs."""
    yield from run_world(store, namespace)


# -- the fence


@pytest.mark.parametrize("verb", WRITES)
@pytest.mark.parametrize(
    "changed", [{"token": "1.other"}, {"token": "2.nonce"}, {"token": ""}, {"revision": 9}, {"revision": -1}]
)
def test_another_token_or_revision_writes_nothing(world: RunWorld, verb: str, changed: dict[str, Any]) -> None:
    """What a holder knows must be all that was done."""
    claim = writer(world, verb)
    before = world.dump()

    assert write(world, verb, replace(claim, **changed)) == "FENCED"
    assert world.dump() == before


@pytest.mark.parametrize("verb", WRITES)
@pytest.mark.parametrize("end", ["release", "pause", "suspend", "park", "completed", "another"])
def test_who_let_go_writes_nothing(world: RunWorld, verb: str, end: str) -> None:
    """A zombie notes and undoes nothing, whether the run rests, has ended, or is another's by now."""
    claim = writer(world, verb, nonce="a")
    if end == "suspend":
        world.runs.suspend(claim, [asleep(9_000)])
    elif end == "park":
        world.park(claim)
    elif end == "completed":
        world.finish(claim)
    else:
        world.release(claim, pause=1_000 if end == "pause" else 0)
    if end == "another":
        world.take(claim.ref, nonce="b")
    before = world.dump()

    assert write(world, verb, claim) == "FENCED"
    assert write(world, verb, replace(claim, ref=world.new_run().ref)) == "FENCED"
    assert world.dump() == before


# -- intend


def test_an_intent_is_noted_in_its_place(world: RunWorld) -> None:
    """Open, after what was recorded before it, with the time; the history tells whose it was."""
    claim = world.taken()
    world.note(claim, "now#1")
    world.passes(30)

    assert world.runs.intend(claim, "a#1", rest("undo", payload=b'{"n":[]}')) == ["DONE", "2", str(START + 30)]

    noted = world.undos(claim.ref)["a#1"]
    assert (noted.status, noted.seq, noted.at, noted.payload) == ("open", 2, START + 30, b'{"n":[]}')
    assert world.open_undos(claim.ref) == ["a#1"]
    assert (world.shown(claim.ref)["revision"], world.shown(claim.ref)["seq"]) == ("2", "2")
    assert set(world.promises(claim.ref)) == {"now#1"}
    told = world.dump().journal[-1]
    assert (told["event"], told["to"], told["token"]) == ("dispatch.run.intended", "a#1", claim.token)


def test_an_intent_resolves_the_call_that_asked_for_it(world: RunWorld) -> None:
    """In the same write, at the same place: neither is ever there without the other."""
    claim = world.taken()

    world.runs.intend(claim, "add_undo#1", rest("undo", payload=b"{}"), promise=rest("undo", 3))

    promise, undo = world.promises(claim.ref)["add_undo#1"], world.undos(claim.ref)["add_undo#1"]
    assert (promise.status, promise.seq, promise.head["o"], promise.payload) == ("value", 1, 3, b"")
    assert (undo.status, undo.seq) == ("open", 1)


def test_an_intent_noted_anew_is_open_anew(world: RunWorld) -> None:
    """Whoever notes it again is about to have the effect again: it is the last one now."""
    claim = world.taken(nonce="a")
    world.intend(claim, "a#1", "b#1")
    world.undo(claim, "a#1")

    world.intend(claim, "a#1")

    assert world.open_undos(claim.ref) == ["a#1", "b#1"]
    assert (world.undos(claim.ref)["a#1"].status, world.undos(claim.ref)["a#1"].seq) == ("open", 3)


def test_what_is_undone_runs_from_the_last_effect_to_the_first(world: RunWorld) -> None:
    """In the order of the intents, whatever their names and whatever was recorded between them."""
    claim = world.taken()
    for identity in ("b#1", "a#2", "z#1", "a#1"):
        world.intend(claim, identity)
        world.note(claim, identity)

    assert world.open_undos(claim.ref) == ["a#1", "z#1", "a#2", "b#1"]
    assert sorted(world.undos(claim.ref), key=lambda one: -world.undos(claim.ref)[one].seq) == [
        "a#1",
        "z#1",
        "a#2",
        "b#1",
    ]


# -- undo


def test_what_is_undone_is_open_no_more(world: RunWorld) -> None:
    """It keeps its place, has its time, forgives crashes, and is told under the token that did it."""
    claim = world.taken(nonce="a")
    world.intend(claim, "a#1", "b#1")
    world.release(claim, counter="crashes")
    claim = world.take(claim.ref, nonce="b")
    world.passes(40)

    assert world.runs.undo(claim, "b#1", "undone", rest("undo")) == ["DONE", str(START + 40)]

    undone = world.undos(claim.ref)["b#1"]
    assert (undone.status, undone.seq, undone.at) == ("undone", 2, START + 40)
    assert world.open_undos(claim.ref) == ["a#1"]
    assert "crashes" not in world.shown(claim.ref)
    told = world.dump().journal[-1]
    assert (told["event"], told["to"], told["token"]) == ("dispatch.run.undone", "b#1", claim.token)


@pytest.mark.parametrize("status", ["retrying", "stuck"])
def test_an_undo_that_failed_keeps_its_place(world: RunWorld, status: str) -> None:
    """It is open as before, between the same neighbours, also for the next holder; a crash is not forgiven for it."""
    claim = world.taken(nonce="a")
    world.intend(claim, "a#1", "b#1", "c#1")
    world.release(claim, counter="crashes")
    claim = world.take(claim.ref, nonce="b")

    world.undo(claim, "b#1", status)
    world.undo(claim, "b#1", status)

    assert world.open_undos(claim.ref) == ["c#1", "b#1", "a#1"]
    assert (world.undos(claim.ref)["b#1"].status, world.undos(claim.ref)["b#1"].seq) == (status, 2)
    assert world.shown(claim.ref)["crashes"] == "1"
    world.release(claim)
    again = world.take(claim.ref, nonce="c")
    assert {one.identity: (one.status, one.seq) for one in again.undos} == {
        "a#1": ("open", 1),
        "b#1": (status, 2),
        "c#1": ("open", 3),
    }


@pytest.mark.parametrize("status", ["undone", "retrying", "stuck"])
def test_what_is_not_open_is_not_undone(world: RunWorld, status: str) -> None:
    """At most one success of an undo is recorded; one that nobody intended is none."""
    claim = world.taken()
    world.intend(claim, "a#1")
    world.undo(claim, "a#1")
    before = world.dump()

    assert world.runs.undo(claim, "a#1", status, rest("undo")) == ["CONFLICT"]
    assert world.runs.undo(claim, "b#1", status, rest("undo")) == ["CONFLICT"]
    assert world.dump() == before


# -- claim


def test_a_claim_tells_what_there_is_to_undo(world: RunWorld) -> None:
    """Every undo in its state, and that the run goes forward; sent again, it is the same claim."""
    claim = world.taken(nonce="a")
    world.intend(claim, "a#1", "b#1")
    world.undo(claim, "b#1")
    world.release(claim)
    holder = world.register()

    first = world.take(claim.ref, holder, nonce="b")
    before = world.dump()
    second = world.take(claim.ref, holder, nonce="b")

    assert (first.undoing, first.revision) == ("", 3)
    assert {one.identity: one.status for one in first.undos} == {"a#1": "open", "b#1": "undone"}
    assert (second.undos, second.undoing, second.token) == (first.undos, first.undoing, first.token)
    assert world.dump() == before


@pytest.mark.parametrize("turned", TURNED)
@pytest.mark.parametrize("counter", ["", "crashes", "lost_workers"])
def test_an_undoing_goes_on_under_the_next_holder(world: RunWorld, turned: str, counter: str) -> None:
    """However the first one was lost; what it undid stays undone."""
    claim = world.undoing("a#1", "b#1", outcome=turned, nonce="a")
    world.undo(claim, "b#1")
    world.release(claim, counter=counter)

    again = world.take(claim.ref, nonce="b")

    assert again.undoing == turned
    world.undo(again, "a#1")
    assert world.finish(again, turned).verdict == "DONE"
    assert world.shown(claim.ref)[FIELDS[turned][0]] == FIELDS[turned][1]
