"""What reaches from one generation of a run into another: members of an older one, and children that begin anew."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from dispatch_celery.errors import StoreUnavailable
from dispatch_celery.jobs.model import JobRef
from dispatch_celery.store.client import RedisStore
from dispatch_celery.work.model import WorkRef
from dispatch_celery.work.scripts import Answer
from dispatch_celery.workflows.held import RunClaim
from dispatch_celery.workflows.journal import Entry
from dispatch_celery.workflows.model import RunState
from tests.lua.families import awaited, parent_in, send_jobs, send_runs
from tests.lua.run_world import RunWorld, run_world
from tests.lua.world import START

CALL = "m#1"


@pytest.fixture
def world(store: RedisStore, namespace: str) -> Iterator[RunWorld]:
    """Return a world with runs."""
    yield from run_world(store, namespace)


def send(world: RunWorld, claim: RunClaim, kind: str, **options: Any) -> WorkRef:
    """Send one member of a held run."""
    found = send_jobs(world, claim, CALL) if kind == "job" else send_runs(world, claim, CALL, **options)
    return found[0]


def ends(world: RunWorld, ref: WorkRef) -> Answer:
    """Let a member be taken, and complete."""
    if isinstance(ref, JobRef):
        return world.end("complete", world.claim(ref, world.register()))
    return world.finish(world.take(ref, nonce="child"))


def rewind(world: RunWorld, ref: WorkRef, state: str, *dropped: str, discard: bool = True) -> None:
    """Take a run back that rests."""
    revision = int(world.shown(ref).get("revision", 0))
    seen: dict[str, Any] = {"op": "x", "revision": revision, "generation": 0, "consumed": []}
    assert world.runs.rewind(ref, state, dropped=dropped, discard=discard, **seen).verdict == "READY"


def taken_back(world: RunWorld, claim: RunClaim) -> RunClaim:
    """Set a run aside, take it back to its start with its member left to itself, and claim it."""
    world.park(claim)
    rewind(world, claim.ref, "parked", CALL)
    return world.take(claim.ref, nonce="b")


def begun_anew(world: RunWorld, claim: RunClaim) -> RunClaim:
    """Let a run begin anew, and claim its next generation."""
    assert world.runs.continue_as_new(claim, b"{}", {"schema": 1}, []).verdict == "DONE"
    return world.take(claim.ref, nonce="b")


# -- members


@pytest.mark.parametrize(("how", "kind"), [(taken_back, "job"), (taken_back, "child"), (begun_anew, "child")])
@pytest.mark.parametrize("waits", [False, True])
def test_a_member_of_the_generation_before_resolves_nothing(
    world: RunWorld, how: Callable[[RunWorld, RunClaim], RunClaim], kind: str, *, waits: bool
) -> None:
    """The same call of the new generation has a member of its own, and waits for that one."""
    claim = parent_in(world)
    old = send(world, claim, kind, detached=True)
    anew = how(world, claim)
    new = send(world, anew, kind)
    if waits:
        assert world.runs.suspend(anew, awaited(CALL)) == ("DONE", [])
    promises, undos = world.promises(claim.ref), world.undos(claim.ref)

    assert ends(world, old).woken == ""

    assert (world.promises(claim.ref), world.undos(claim.ref)) == (promises, undos)
    assert world.open_undos(claim.ref) == [CALL]
    assert bool(ends(world, new).woken) is waits
    assert world.promises(claim.ref)[CALL].status == "value"


def test_a_member_whose_call_was_taken_back_ends_alone(world: RunWorld) -> None:
    """Nothing of that identity is recorded any more, and nothing becomes of it."""
    claim = parent_in(world)
    old = send(world, claim, "job")
    anew = taken_back(world, claim)

    assert ends(world, old).woken == ""
    assert world.promises(claim.ref) == {}
    world.finish(anew)


def test_a_result_that_names_an_older_member_is_not_taken_for_it(world: RunWorld) -> None:
    """What a promise holds is the user's; whom it waited for stands in its head."""
    claim = parent_in(world)
    old = send(world, claim, "child", detached=True)
    anew = begun_anew(world, claim)
    child = world.take(send(world, anew, "child"), nonce="child")
    world.intend(child, "a#1")
    told = world.runs.finish(child, RunState.COMPLETED, ["result", f'"after {old.id}"'])
    assert told.verdict == "DONE"
    assert world.open_undos(claim.ref) == [CALL]

    assert world.finish(world.take(old, nonce="old"), "failed").verdict == "DONE"
    assert world.open_undos(claim.ref) == [CALL]


def test_a_kept_member_goes_on_for_the_next_generation(world: RunWorld) -> None:
    """A run taken back to behind a call that is under way waits for the member it has."""
    claim = parent_in(world)
    ref = send(world, claim, "job")
    world.note(claim, "a#1")
    world.park(claim)
    rewind(world, claim.ref, "parked", "a#1", discard=False)
    anew = world.take(claim.ref, nonce="b")
    assert world.runs.suspend(anew, awaited(CALL)) == ("DONE", [])

    assert ends(world, ref).woken == "3"


# -- children


def test_the_last_generation_of_a_child_resolves_its_promise(world: RunWorld) -> None:
    """Its run waits for the id, through all generations."""
    claim = parent_in(world)
    child = send(world, claim, "child")
    world.runs.suspend(claim, awaited(CALL))
    second = begun_anew(world, world.take(child, nonce="one"))
    assert world.shown(claim.ref)["state"] == "waiting"

    assert world.finish(second).woken == "2"
    assert world.promises(claim.ref)[CALL].payload == world.shown(child)["result"].encode()


@pytest.mark.parametrize("second", ["completed", "failed"])
def test_a_promise_stays_as_it_was_when_a_child_is_taken_back(world: RunWorld, second: str) -> None:
    """Its run has gone on with the first outcome, which never changes."""
    claim = parent_in(world)
    child = send(world, claim, "child")
    world.finish(world.take(child, nonce="one"))
    before = world.promises(claim.ref)

    rewind(world, child, "completed")
    assert world.promises(claim.ref) == before
    assert world.finish(world.take(child, nonce="b"), second).woken == ""
    assert world.promises(claim.ref) == before
    world.finish(claim)


# -- a full server


def test_a_fork_is_refused_whole_when_memory_is_full(full: RunWorld) -> None:
    """It is new work: nothing of it is left behind, and it is good once there is room."""
    entry = Entry("a#1", "value", 7, START, {"k": "step", "d": "", "o": 0}, b"1")
    new = replace(full.new_run(key="k", scope="a/b"), copied=[entry])
    full.fill()

    with pytest.raises(StoreUnavailable, match=r"refuses for now: .*maxmemory"):
        full.runs.start(new)
    assert full.ask("KEYS", f"{full.keys.tag}*") == []
    full.make_room()
    assert full.runs.start(new)[0] == "CREATED"


@pytest.mark.parametrize("refused", ["fenced", "open", "cancelled", "changed"])
def test_a_refusal_leaves_a_full_server_as_it_is(full: RunWorld, refused: str) -> None:
    """Nothing is removed before it is decided that something is to be written."""
    claim = full.taken(nonce="a")
    full.intend(claim, "a#1")
    if refused == "cancelled":
        full.flag(claim)
    elif refused == "changed":
        full.finish(claim)
    full.fill()
    before = full.dump()

    if refused == "changed":
        asked: dict[str, Any] = {"op": "x", "generation": 0, "dropped": ["a#1"], "consumed": [], "discard": False}
        assert full.runs.rewind(claim.ref, "completed", revision=9, **asked) == Answer("CHANGED")
        assert full.runs.rewind(claim.ref, "completed", revision=1, **asked) == Answer("OPEN", "a#1")
    else:
        sent = replace(claim, revision=9) if refused == "fenced" else claim
        told = full.runs.continue_as_new(sent, b"{}", {"schema": 1}, []).verdict
        assert told == {"fenced": "FENCED", "open": "OPEN", "cancelled": "CANCELLING"}[refused]
    assert full.dump() == before
