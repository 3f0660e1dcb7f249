"""Members of an older generation, children that begin anew or are taken back, and a server whose memory is full."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from dispatch_celery.config import Settings
from dispatch_celery.errors import StoreUnavailable
from dispatch_celery.ids import JobId, RunId
from dispatch_celery.jobs.model import JobRef
from dispatch_celery.store.client import RedisStore
from dispatch_celery.store.embedded import EmbeddedServer
from dispatch_celery.work.model import Parent, WorkRef
from dispatch_celery.work.scripts import Answer
from dispatch_celery.workflows.journal import Entry, rest_of
from dispatch_celery.workflows.model import RunRef
from dispatch_celery.workflows.store import Awaited, Family, Member, RunClaim
from tests.lua.run_world import RunWorld, run_world
from tests.lua.world import START

Act = Callable[[], Any]


@pytest.fixture
def world(store: RedisStore, namespace: str) -> Iterator[RunWorld]:
    """Return a world with runs."""
    yield from run_world(store, namespace)


def _head(ref: WorkRef) -> dict[str, Any]:
    return {"k": "child" if ref.kind else "job", "d": "", "o": 0, "m": ref.id}


def send(world: RunWorld, claim: RunClaim, *, run: bool = False, detached: bool = False) -> WorkRef:
    """Send one member as ``line#1`` of a held run, and let the holder know of its own write."""
    parent = Parent(id=RunId(claim.ref.id), name=claim.ref.name, lane=claim.ref.lane, version=1, at="line#1")
    ref: WorkRef
    if run:
        ref = RunRef(id=RunId.mint(time_ms=START), name="order", queue="q", version=1, parent=parent)
    else:
        ref = JobRef(id=JobId.mint(time_ms=START), name="mail", queue="q", parent=parent)
    spec = {"schema": 1, "version": 1, "parent": parent.dump()} if run else {"schema": 1, "parent": parent.dump()}
    member = Member(identity="line#1", rest=rest_of(_head(ref)), ref=ref, spec=spec, payload=b"{}")
    assert world.runs.spawn(claim, Family(members=[member], detached=detached))[0] == "DONE"
    claim.revision += 1
    return ref


def ends(world: RunWorld, ref: WorkRef, result: bytes = b"1") -> Answer:
    """Let a member be taken, and complete."""
    if isinstance(ref, JobRef):
        held = world.claim(ref, world.register())
        return world.jobs.complete(ref, holder=held.holder, token=held.token, result=result)
    return world.finish(world.take(ref, nonce="child"))


def waiting(claim: RunClaim, ref: WorkRef) -> list[Awaited]:
    """Return what a run rests for that waits for its member."""
    return [Awaited("line#1", "open", None, rest_of(_head(ref)))]


def taken_back(world: RunWorld, claim: RunClaim) -> RunClaim:
    """Let a run fail, take it back to its start with its members left to themselves, and claim it."""
    world.park(claim)
    record = world.shown(claim.ref)
    answer = world.runs.rewind(
        claim.ref,
        "parked",
        op="once",
        revision=int(record["revision"]),
        generation=0,
        dropped=["line#1"],
        consumed=[],
        discard=True,
    )
    assert answer.verdict == "READY"
    return world.take(claim.ref, nonce="b")


def begun_anew(world: RunWorld, claim: RunClaim) -> RunClaim:
    """Let a run begin anew, and claim its next generation."""
    assert world.runs.continue_as_new(claim, b"{}", {"schema": 1}, []).verdict == "DONE"
    return world.take(claim.ref, nonce="b")


# -- members


@pytest.mark.parametrize("how", [taken_back, begun_anew])
@pytest.mark.parametrize("run", [False, True])
@pytest.mark.parametrize("waits", [False, True])
def test_a_member_of_the_generation_before_resolves_nothing(
    world: RunWorld, how: Callable[[RunWorld, RunClaim], RunClaim], *, run: bool, waits: bool
) -> None:
    """The same call of the new generation has a member of its own, and waits for that one."""
    claim = world.taken(nonce="a")
    old = send(world, claim, run=run, detached=True)
    anew = how(world, claim)
    new = send(world, anew, run=run)
    if waits:
        assert world.runs.suspend(anew, waiting(anew, new)) == ("DONE", [])
    promises, undos = world.promises(claim.ref), world.undos(claim.ref)

    assert ends(world, old).woken == ""

    assert (world.promises(claim.ref), world.undos(claim.ref)) == (promises, undos)
    assert world.open_undos(claim.ref) == ["line#1"]
    assert bool(ends(world, new).woken) is waits
    assert world.promises(claim.ref)["line#1"].status == "value"


def test_a_member_whose_call_was_taken_back_ends_alone(world: RunWorld) -> None:
    """Nothing of that identity is recorded any more, and nothing becomes of it."""
    claim = world.taken(nonce="a")
    old = send(world, claim)
    anew = taken_back(world, claim)

    assert ends(world, old) == Answer("DONE", str(START))
    assert world.promises(claim.ref) == {}
    world.finish(anew)


def test_a_result_that_names_an_older_member_is_not_taken_for_it(world: RunWorld) -> None:
    """What a promise holds is the user's; whom it waited for stands in its head."""
    claim = world.taken(nonce="a")
    old = send(world, claim, run=True, detached=True)
    anew = begun_anew(world, claim)
    new = send(world, anew, run=True)
    child = world.take(new, nonce="child")
    world.intend(child, "a#1")
    world.runs.finish(child, "completed", ["result", f'"after {old.id}"'])  # type: ignore[arg-type]  # its word
    assert world.open_undos(claim.ref) == ["line#1"]

    assert world.finish(world.take(old, nonce="old"), "failed").verdict == "DONE"
    assert world.open_undos(claim.ref) == ["line#1"]


def test_a_kept_member_goes_on_for_the_next_generation(world: RunWorld) -> None:
    """A run taken back to behind a call that is under way waits for the member it has."""
    claim = world.taken(nonce="a")
    member = send(world, claim)
    world.note(claim, "a#1")
    world.park(claim)
    answer = world.runs.rewind(
        claim.ref, "parked", op="x", revision=2, generation=0, dropped=["a#1"], consumed=[], discard=False
    )
    assert answer.verdict == "READY"
    anew = world.take(claim.ref, nonce="b")
    assert world.runs.suspend(anew, waiting(anew, member)) == ("DONE", [])

    assert ends(world, member).woken == "3"


# -- children


def test_the_last_generation_of_a_child_resolves_its_promise(world: RunWorld) -> None:
    """Its run waits for the id, through all generations."""
    claim = world.taken(nonce="a")
    child = send(world, claim, run=True)
    world.runs.suspend(claim, waiting(claim, child))
    first = world.take(child, nonce="one")

    second = begun_anew(world, first)
    assert world.shown(claim.ref)["state"] == "waiting"
    assert world.finish(second).woken == "2"
    assert world.promises(claim.ref)["line#1"].payload == world.shown(child)["result"].encode()


@pytest.mark.parametrize("second", ["completed", "failed"])
def test_a_promise_stays_as_it_was_when_a_child_is_taken_back(world: RunWorld, second: str) -> None:
    """Its run has gone on with the first outcome, which never changes."""
    claim = world.taken(nonce="a")
    child = send(world, claim, run=True)
    world.finish(world.take(child, nonce="one"))
    before = world.promises(claim.ref)

    world.runs.rewind(child, "completed", op="x", revision=0, generation=0, dropped=[], consumed=[], discard=False)
    assert world.promises(claim.ref) == before
    assert world.finish(world.take(child, nonce="b"), second).woken == ""
    assert world.promises(claim.ref) == before
    world.finish(claim)


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


def _continuing(world: RunWorld) -> Act:
    claim = world.taken(nonce="a", timeout=9_000)
    world.note(claim, "a#1")
    return lambda: world.runs.continue_as_new(claim, b'{"n":2}', {"schema": 1}, ["evt_1"]).verdict


def _rewinding(state: str) -> Callable[[RunWorld], Act]:
    def prepare(world: RunWorld) -> Act:
        ref = world.run_at(state, key="k")
        return lambda: (
            world.runs.rewind(
                ref, state, op="x", revision=0, generation=0, dropped=[], consumed=["evt_1"], discard=False
            ).verdict
        )

    return prepare


def _migrating(state: str) -> Callable[[RunWorld], Act]:
    def prepare(world: RunWorld) -> Act:
        ref = world.run_at(state)
        return lambda: world.runs.migrate(ref, state, 2, {"schema": 1, "version": 2}).verdict

    return prepare


def _giving_back(world: RunWorld) -> Act:
    ref = world.start()
    world.runs.migrate(ref, "pending", 2, {"schema": 1, "version": 2})
    return lambda: world.jobs.give_back(ref, pause=10).verdict


def _reading(world: RunWorld) -> Act:
    claim = world.taken()
    world.note(claim, "a#1")
    return lambda: [entry.identity for entry in world.runs.journal(claim.ref)]


MOVES: list[tuple[str, Callable[[RunWorld], Act], Any]] = [
    ("continue", _continuing, "DONE"),
    *((f"rewind {state}", _rewinding(state), "READY") for state in ("parked", "completed", "failed", "cancelled")),
    *((f"migrate {state}", _migrating(state), "DONE") for state in ("pending", "waiting")),
    ("migrate parked", _migrating("parked"), "READY"),
    ("give back", _giving_back, "WAITING"),
    ("page", _reading, ["a#1"]),
]


@pytest.mark.slow
@pytest.mark.parametrize(("prepare", "told"), [pytest.param(*case, id=name) for name, *case in MOVES])
def test_a_run_goes_on_when_memory_is_full(full: RunWorld, prepare: Callable[[RunWorld], Act], told: Any) -> None:
    """It begins anew, is taken back, gets another version, or the memory would never be freed; whole, or not at all."""
    act = prepare(full)
    _fill(full)

    assert act() == told
    full.ask("CONFIG", "SET", "maxmemory", 0)


@pytest.mark.slow
def test_a_fork_is_refused_whole_when_memory_is_full(full: RunWorld) -> None:
    """It is new work: nothing of it is left behind, and it is good once there is room."""
    entry = Entry("a#1", "value", 7, START, {"k": "step", "d": "", "o": 0}, b"1")
    new = replace(full.new_run(key="k", scope="a/b"), copied=[entry])
    _fill(full)

    with pytest.raises(StoreUnavailable, match=r"refuses for now: .*maxmemory"):
        full.runs.start(new)
    assert full.ask("KEYS", f"{full.keys.tag}*") == []
    full.ask("CONFIG", "SET", "maxmemory", 0)
    assert full.runs.start(new)[0] == "CREATED"


@pytest.mark.slow
@pytest.mark.parametrize("refused", ["fenced", "open", "cancelled", "changed"])
def test_a_refusal_leaves_a_full_server_as_it_is(full: RunWorld, refused: str) -> None:
    """Nothing is removed before it is decided that something is to be written."""
    claim = full.taken(nonce="a")
    full.intend(claim, "a#1")
    if refused == "cancelled":
        full.flag(claim)
    elif refused == "changed":
        full.finish(claim)
    _fill(full)
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
    full.ask("CONFIG", "SET", "maxmemory", 0)
