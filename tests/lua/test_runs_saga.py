"""``runs/intend``, ``undo``, ``claim``: what is noted and undone; and each script of sagas sent twice, or when full."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from dispatch_celery.config import Settings
from dispatch_celery.errors import StoreUnavailable
from dispatch_celery.store.client import RedisStore
from dispatch_celery.store.embedded import EmbeddedServer
from dispatch_celery.workflows.store import RunClaim
from tests.lua.run_world import FIELDS, RunWorld, asleep, rest, run_world
from tests.lua.world import START

UNHELD = ("pending", "waiting", "parked")
TURNED = ("failed", "cancelled")


@pytest.fixture
def world(store: RedisStore, namespace: str) -> Iterator[RunWorld]:
    """Return a world with runs."""
    yield from run_world(store, namespace)


def _write(world: RunWorld, verb: str, claim: RunClaim) -> str:
    """Send one of the holder's two writes about ``a#1``."""
    if verb == "intend":
        return world.runs.intend(claim, "a#1", rest("undo"), promise=rest("undo"))[0]
    return world.runs.undo(claim, "a#1", verb, rest("undo"))[0]


def _writer(world: RunWorld, verb: str, **options: Any) -> RunClaim:
    """Return a claim under which that write is right."""
    claim = world.taken(**options)
    if verb != "intend":
        world.intend(claim, "a#1")
    return claim


WRITES = ("intend", "undone", "retrying", "stuck")


# -- the fence


@pytest.mark.parametrize("verb", WRITES)
@pytest.mark.parametrize(
    "changed", [{"token": "1.other"}, {"token": "2.nonce"}, {"token": ""}, {"revision": 9}, {"revision": -1}]
)
def test_another_token_or_revision_writes_nothing(world: RunWorld, verb: str, changed: dict[str, Any]) -> None:
    """What a holder knows must be all that was done."""
    claim = _writer(world, verb)
    before = world.dump()

    assert _write(world, verb, replace(claim, **changed)) == "FENCED"
    assert world.dump() == before


@pytest.mark.parametrize("verb", WRITES)
@pytest.mark.parametrize("end", ["release", "pause", "suspend", "park", "completed", "another"])
def test_who_let_go_writes_nothing(world: RunWorld, verb: str, end: str) -> None:
    """A zombie notes and undoes nothing, whether the run rests, has ended, or is another's by now."""
    claim = _writer(world, verb, nonce="a")
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

    assert _write(world, verb, claim) == "FENCED"
    assert _write(world, verb, replace(claim, ref=world.new_run().ref)) == "FENCED"
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


# -- sent twice


def _writing(verb: str) -> Callable[[RunWorld], Callable[[], Any]]:
    def prepare(world: RunWorld) -> Callable[[], Any]:
        claim = _writer(world, verb)
        return lambda: _write(world, verb, claim)

    return prepare


def _ending(outcome: str) -> Callable[[RunWorld], Callable[[], Any]]:
    def prepare(world: RunWorld) -> Callable[[], Any]:
        claim = world.taken()
        world.intend(claim, "a#1")
        # Sent again, it may say what it did, or only that it had done it.
        return lambda: world.finish(claim, outcome).verdict in ("UNDOING", "REPEATED")

    return prepare


def _ended(world: RunWorld) -> Callable[[], Any]:
    claim = world.undoing("a#1")
    world.undo(claim, "a#1")
    return lambda: world.finish(claim, "failed").verdict


def _turning(state: str) -> Callable[[RunWorld], Callable[[], Any]]:
    def prepare(world: RunWorld) -> Callable[[], Any]:
        ref = world.run_at(state, undos=["a#1"], timeout=9_000)
        return lambda: world.runs.turn(ref, state, "x").verdict

    return prepare


def _discarding(state: str) -> Callable[[RunWorld], Callable[[], Any]]:
    def prepare(world: RunWorld) -> Callable[[], Any]:
        ref = world.run_at(state, undos=["a#1"], key="k")
        return lambda: world.discard(ref, state).verdict

    return prepare


def _skipping(world: RunWorld) -> Callable[[], Any]:
    ref = world.run_at("parked", undos=["a#1"])
    return lambda: world.runs.skip(ref, "a#1").verdict


def _releasing(world: RunWorld) -> Callable[[], Any]:
    claim = world.undoing("a#1")
    return lambda: world.release(claim).verdict


def _claiming(world: RunWorld) -> Callable[[], Any]:
    claim = world.undoing("a#1")
    world.release(claim)
    holder = world.register()
    return lambda: world.take(claim.ref, holder, nonce="b").undoing


TWICE: list[tuple[str, Callable[[RunWorld], Callable[[], Any]], Any, Any]] = [
    *((verb, _writing(verb), "DONE", "REPEATED") for verb in WRITES),
    *((f"finish {end}", _ending(end), True, True) for end in TURNED),
    ("finish undone", _ended, "DONE", "REPEATED"),
    ("turn pending", _turning("pending"), "READY", "UNDOING"),
    *((f"turn {state}", _turning(state), "READY", "STATE") for state in ("waiting", "parked")),
    *((f"discard {state}", _discarding(state), "DONE", "STATE") for state in UNHELD),
    ("skip", _skipping, "DONE", "MISSING"),
    ("release", _releasing, "DONE", "REPEATED"),
    ("claim", _claiming, "failed", "failed"),
]


@pytest.mark.parametrize(("prepare", "first", "second"), [pytest.param(*case, id=name) for name, *case in TWICE])
def test_a_script_of_sagas_sent_twice_has_one_effect(
    world: RunWorld, prepare: Callable[[RunWorld], Callable[[], Any]], first: Any, second: Any
) -> None:
    """The first answer, then the second one, and the same state after both, some time later."""
    act = prepare(world)
    assert act() == first
    after = world.dump()
    world.passes(5)

    assert act() == second
    assert world.dump() == after


@pytest.mark.parametrize("verb", WRITES)
def test_the_same_write_later_is_not_the_same(world: RunWorld, verb: str) -> None:
    """Only the last write of a claim can be repeated: an older one, sent late, finds another revision."""
    claim = _writer(world, verb)
    stale = replace(claim)
    assert _write(world, verb, claim) == "DONE"
    claim.revision += 1
    world.note(claim, "other#1")
    before = world.dump()

    assert _write(world, verb, stale) == "FENCED"
    assert world.dump() == before


# -- a full server


@pytest.fixture
def full(killable_server: EmbeddedServer, namespace: str) -> Iterator[RunWorld]:
    """Return a world on a server of this test alone, whose memory can be full."""
    port = RedisStore(Settings(), killable_server.url)
    yield from run_world(port, namespace)
    port.close()


def _fill(world: RunWorld) -> None:
    world.ask("CONFIG", "SET", "maxmemory", 1)
    with pytest.raises(StoreUnavailable, match="maxmemory"):
        world.ask("SET", "k", "v")


MOVES = {name: (prepare, first) for name, prepare, first, _ in TWICE if name != "intend"}


@pytest.mark.slow
@pytest.mark.parametrize(("prepare", "first"), [pytest.param(*case, id=name) for name, case in MOVES.items()])
def test_an_undoing_goes_on_when_memory_is_full(
    full: RunWorld, prepare: Callable[[RunWorld], Callable[[], Any]], first: Any
) -> None:
    """A run turns, undoes, waits for another try, is set aside and ends, or the memory would never be freed."""
    act = prepare(full)
    _fill(full)

    assert act() == first
    full.ask("CONFIG", "SET", "maxmemory", 0)


@pytest.mark.slow
def test_an_intent_is_refused_whole_when_memory_is_full(full: RunWorld) -> None:
    """Its effect waits: nothing is left behind, and the same write is good once there is room."""
    claim = full.taken()
    _fill(full)
    before = full.dump()

    with pytest.raises(StoreUnavailable, match=r"refuses for now: .*maxmemory"):
        _write(full, "intend", claim)
    assert full.dump() == before
    full.ask("CONFIG", "SET", "maxmemory", 0)
    assert _write(full, "intend", claim) == "DONE"
