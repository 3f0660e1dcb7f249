"""Each script of sagas sent twice, and to a server whose memory is full."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from dispatch_celery.errors import StoreUnavailable
from dispatch_celery.store.client import RedisStore
from tests.lua.run_world import RunWorld, run_world
from tests.lua.saga_writes import WRITES, write, writer

UNHELD = ("pending", "waiting", "parked")
TURNED = ("failed", "cancelled")


@pytest.fixture
def world(store: RedisStore, namespace: str) -> Iterator[RunWorld]:
    """Return a world with runs."""
    yield from run_world(store, namespace)


# -- sent twice


def _writing(verb: str) -> Callable[[RunWorld], Callable[[], Any]]:
    def prepare(world: RunWorld) -> Callable[[], Any]:
        claim = writer(world, verb)
        return lambda: write(world, verb, claim)

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
    claim = writer(world, verb)
    stale = replace(claim)
    assert write(world, verb, claim) == "DONE"
    claim.revision += 1
    world.note(claim, "other#1")
    before = world.dump()

    assert write(world, verb, stale) == "FENCED"
    assert world.dump() == before


# -- a full server


MOVES = {name: (prepare, first) for name, prepare, first, _ in TWICE if name != "intend"}


@pytest.mark.parametrize(("prepare", "first"), [pytest.param(*case, id=name) for name, case in MOVES.items()])
def test_an_undoing_goes_on_when_memory_is_full(
    full: RunWorld, prepare: Callable[[RunWorld], Callable[[], Any]], first: Any
) -> None:
    """A run turns, undoes, waits for another try, is set aside and ends, or the memory would never be freed."""
    act = prepare(full)
    full.fill()

    assert act() == first


def test_an_intent_is_refused_whole_when_memory_is_full(full: RunWorld) -> None:
    """Its effect waits: nothing is left behind, and the same write is good once there is room."""
    claim = full.taken()
    full.fill()
    before = full.dump()

    with pytest.raises(StoreUnavailable, match=r"refuses for now: .*maxmemory"):
        write(full, "intend", claim)
    assert full.dump() == before
    full.make_room()
    assert write(full, "intend", claim) == "DONE"
