"""``runs/claim`` and ``page`` of a long journal, and ``runs/start`` of a fork that begins with one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from dispatch_celery.store.client import RedisStore, Store
from dispatch_celery.store.replies import ask, text
from dispatch_celery.store.scripts import Call
from dispatch_celery.work.model import WorkRef
from dispatch_celery.workflows import held_store
from dispatch_celery.workflows.held import RunClaim
from dispatch_celery.workflows.journal import Entry
from dispatch_celery.workflows.store import RunStore
from tests.lua.run_world import RunWorld, asleep, run_world
from tests.lua.world import START

MANY = 600


@pytest.fixture
def world(store: RedisStore, namespace: str) -> Iterator[RunWorld]:
    """Return a world with runs."""
    yield from run_world(store, namespace)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> int:
    """Let a reply hold no more of a journal than about this many bytes."""
    monkeypatch.setattr(held_store, "_PART", 4_000)
    return 4_000


def written(world: RunWorld, count: int = MANY) -> RunClaim:
    """Return a run that has recorded many steps."""
    claim = world.taken(nonce="a")
    entries = {
        f"a#{n}": Entry(f"a#{n}", "value", n, START, {"k": "step", "d": "", "o": n}, b'"%0100d"' % n)
        for n in range(count)
    }
    flat = [word for name, entry in entries.items() for word in (name, entry.dump())]
    world.ask("HSET", world.keys.promises(claim.ref.id), *flat)
    return claim


class Told:
    """A port that tells what was sent through it."""

    def __init__(self, port: Store) -> None:
        self.port = port
        self.labels: list[str] = []

    def execute(self, calls: Sequence[Call]) -> list[Any]:
        """Send, and note what."""
        self.labels += [call.label for call in calls]
        return self.port.execute(calls)


def page(world: RunWorld, ref: WorkRef, cursor: str, size: int) -> tuple[str, list[str]]:
    """Return where a journal goes on behind a part of it, and the identities of that part."""
    call = Call.of("runs/page", {"promises": world.keys.promises(ref.id)}, {"cursor": cursor, "size": size})
    after, flat = ask(world.port, call)
    return text(after), [text(name) for name in flat[::2]]


# -- in parts


def test_a_long_journal_comes_in_parts(world: RunWorld) -> None:
    """Each of about the size that is asked for, all of them together the whole; nothing is written."""
    ref = written(world).ref
    before = world.dump()
    parts, cursor = [], "0"
    while not parts or cursor != "0":
        cursor, names = page(world, ref, cursor, 10_000)
        parts.append(names)

    assert len(parts) > 5
    assert all(len(names) < 200 for names in parts)
    assert {name for names in parts for name in names} == {f"a#{n}" for n in range(MANY)}
    assert world.dump() == before


def test_a_short_journal_is_one_part(world: RunWorld) -> None:
    """So is an empty one, and that of a run that is gone."""
    assert page(world, written(world, 3).ref, "0", 10_000) == ("0", ["a#0", "a#1", "a#2"])
    assert page(world, world.taken().ref, "0", 10_000) == ("0", [])
    assert page(world, world.new_run().ref, "0", 10_000) == ("0", [])


def test_a_claim_brings_the_whole_journal(world: RunWorld, small: int) -> None:
    """However many replies it takes; sent again, it is the same claim with the same journal."""
    claim = written(world)
    world.release(claim)
    holder = world.register()

    first = world.take(claim.ref, holder, nonce="b")
    second = world.take(claim.ref, holder, nonce="b")

    assert {entry.identity: entry.seq for entry in first.entries} == {f"a#{n}": n for n in range(MANY)}
    assert sorted(first.entries, key=lambda one: one.seq) == sorted(second.entries, key=lambda one: one.seq)
    assert (first.token, first.revision) == (second.token, second.revision)
    assert {entry.identity for entry in world.runs.journal(claim.ref)} == {f"a#{n}" for n in range(MANY)}


def test_a_journal_that_fits_comes_with_the_claim(world: RunWorld) -> None:
    """One reply, and its cursor says that there is no more."""
    claim = written(world, 5)
    world.release(claim)
    port = Told(world.port)
    runs = RunStore(port, world.keys, world.settings, world.time)

    verdict, again = runs.claim(claim.ref, holder=world.register(), nonce="b", pid=7)
    assert isinstance(again, RunClaim), verdict
    assert len(again.entries) == 5
    assert port.labels == ["runs/claim"]


def test_what_ends_while_the_parts_come_is_seen_at_rest(world: RunWorld, small: int) -> None:
    """The part may have told of an open promise; the run does not wait for what is there."""
    claim = written(world)
    world.runs.suspend(claim, [asleep(2_000)])
    world.passes(2_000)
    world.fire(claim.ref)
    anew = world.take(claim.ref, nonce="b")

    verdict, told = world.runs.suspend(anew, [asleep(2_000)])
    assert (verdict, text(told[0])) == ("READY", "sleep#1")


# -- a fork


def copied(*entries: Entry) -> list[Entry]:
    """Return promises as a fork takes them over."""
    return [replace(entry, head={**entry.head, "d": "", "g": "run_0\0000"}) for entry in entries]


FIRST = Entry("a#1", "value", 7, START, {"k": "step", "d": "x", "o": 0}, b'"first"')
SECOND = Entry("b#1", "error", 9, START, {"k": "step", "d": "y", "o": 1}, b"{}\nwith lines")


def test_a_fork_begins_with_what_it_took_over(world: RunWorld) -> None:
    """Byte for byte, in the same places; what it records comes after them."""
    new = replace(world.new_run(payload=b'{"n":1}'), copied=copied(FIRST, SECOND))

    assert world.runs.start(new)[0] == "CREATED"

    claim = world.take(new.ref)
    assert sorted(claim.entries, key=lambda one: one.seq) == copied(FIRST, SECOND)
    assert (claim.payload, claim.revision, claim.generation, claim.undos) == (b'{"n":1}', 0, 0, [])
    world.note(claim, "c#1")
    assert world.promises(new.ref)["c#1"].seq == 10
    assert world.finish(claim).verdict == "DONE"


@pytest.mark.parametrize("taken", [False, True])
def test_a_fork_sent_again_is_one_run(world: RunWorld, *, taken: bool) -> None:
    """Its reply was lost; what it has recorded since stays."""
    new = replace(world.new_run(key="k"), copied=copied(FIRST))
    assert world.runs.start(new)[0] == "CREATED"
    if taken:
        world.note(world.take(new.ref), "b#1")
    before = world.dump()
    world.passes(5)

    assert world.runs.start(new)[0] == "REPEATED"
    assert world.dump() == before


def test_a_fork_under_a_known_key_is_the_first_one(world: RunWorld) -> None:
    """Nothing of the second is written; with other arguments it is refused."""
    first = replace(world.new_run(key="k"), copied=copied(FIRST))
    world.runs.start(first)
    before = world.dump()

    assert world.runs.start(replace(world.new_run(key="k"), copied=copied(SECOND))) == ["EXISTING", first.ref.id]
    other = replace(world.new_run(key="k", payload=b'{"n":2}'), copied=copied(SECOND))
    assert world.runs.start(other) == ["CONFLICT", first.ref.id]
    assert world.dump() == before


def test_a_fork_with_a_long_journal_is_started_whole(world: RunWorld) -> None:
    """More promises than one command of the server's language could hold."""
    entries = [replace(FIRST, identity=f"a#{n}", seq=n) for n in range(9_000)]
    new = replace(world.new_run(), copied=copied(*entries))

    assert world.runs.start(new)[0] == "CREATED"
    assert len(world.promises(new.ref)) == 9_000
    assert world.shown(new.ref)["seq"] == "8999"


def test_a_run_that_takes_over_nothing_has_no_journal(world: RunWorld) -> None:
    """As any other that begins."""
    ref = world.start()

    assert world.promises(ref) == {}
    assert "seq" not in world.shown(ref)
