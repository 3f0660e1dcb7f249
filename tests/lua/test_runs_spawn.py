"""``runs/spawn``: the members of a run are written with the promises it waits for them by, all of them or none."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from dispatch_celery.store.channel import Channel
from dispatch_celery.store.client import RedisStore
from dispatch_celery.store.scripts import Call
from dispatch_celery.work.model import WorkRef
from dispatch_celery.workflows.held import Family
from tests.lua.families import awaited, bound_to, member, parent_in, send, send_jobs, send_runs
from tests.lua.run_world import RunWorld, run_world
from tests.lua.world import START
from tests.support.eventually import eventually

LATER = START + 60_000


@pytest.fixture
def world(store: RedisStore, namespace: str) -> Iterator[RunWorld]:
    """Return a world with runs."""
    yield from run_world(store, namespace)


def _places(world: RunWorld, ref: WorkRef) -> Mapping[str, object]:
    """Return where a job or run is, and its record, without what tells it from another one.

    Wake-ups are numbered in the order they come: of one for later, none has come.
    """
    found = world.dump()
    listed = {
        name.replace(ref.id, "ID"): {one.replace(ref.id, "ID"): at for one, at in members.items() if ref.id in one}
        for name, members in found.ordered.items()
        if any(ref.id in one for one in members)
    }
    due = {name.replace(ref.id, "ID"): part for name, part in found.ordered.items() if name.startswith(f"run:{ref.id}")}
    record = {**found.jobs, **found.runs}[ref.id]
    kept = {name: value for name, value in record.items() if name != "spec" and (name != "wake" or "marks" in listed)}
    told = [(one["event"], one["from"], one["to"]) for one in found.journal if one["id"] == ref.id]
    return {**listed, **due, "record": kept, "told": told}


def _at(options: dict[str, Any]) -> dict[str, Any]:
    """Return the same options as a caller gives them."""
    return {"run_at" if name == "due" else name: value for name, value in options.items()}


# -- what is written


SHARED: list[dict[str, Any]] = [{}, {"scope": "app/org"}, {"queue": "a:b", "priority": 3}, {"due": LATER}]


@pytest.mark.parametrize("options", [*SHARED, {"expires": 700}, {"due": LATER, "expires": 90_000}])
def test_a_job_that_is_sent_is_as_one_that_is_enqueued(world: RunWorld, options: dict[str, Any]) -> None:
    """The same record, in the same indexes, lane, marks and timers, and told alike."""
    claim = parent_in(world)
    world.passes(7)
    (sent,) = send_jobs(world, claim, "m#1", payload=b'{"l":[]}', **options)
    alone = world.enqueue(payload=b'{"l":[]}', **_at(options))

    assert _places(world, sent) == _places(world, alone)
    assert world.dump().sets.get("lanes", set()) >= ({sent.lane} if "due" not in options else set())


@pytest.mark.parametrize("options", [*SHARED, {"timeout": 900}, {"due": LATER, "timeout": 900}])
def test_a_child_that_is_sent_is_as_a_run_that_is_started(world: RunWorld, options: dict[str, Any]) -> None:
    """The same record, in the same indexes, lane, marks and timers, with the same due times, and told alike."""
    claim = parent_in(world)
    world.passes(7)
    (sent,) = send_runs(world, claim, "c#1", payload=b'{"l":[]}', **options)
    alone = world.start(name="leaf", payload=b'{"l":[]}', **_at(options))

    assert _places(world, sent) == _places(world, alone)
    assert world.dump().sets.get("lanes", set()) >= ({sent.lane} if "due" not in options else set())


@pytest.mark.parametrize("kind", ["job", "child"])
def test_a_member_knows_the_run_it_belongs_to(world: RunWorld, kind: str) -> None:
    """Who reads its record can tell the run of its end: the reference is the one it was sent under."""
    claim = parent_in(world)
    ref: WorkRef
    (ref,) = send_jobs(world, claim, "m#1") if kind == "job" else send_runs(world, claim, "m#1")

    (stored,) = world.records.stored([ref.id])

    assert stored is not None
    assert stored.ref.parent == ref.parent == bound_to(claim, "m#1")
    assert json.loads(world.shown(ref)["spec"])["parent"]["at"] == "m#1"


@pytest.mark.parametrize("kind", ["job", "child"])
def test_a_member_can_be_taken_at_once(world: RunWorld, kind: str) -> None:
    """By whoever gets its first message, with the arguments it was sent with."""
    claim = parent_in(world)
    if kind == "job":
        (job,) = send_jobs(world, claim, "m#1", payload=b'{"x":"\xff"}')
        taken: Any = world.claim(job, world.register()).claim
    else:
        (run,) = send_runs(world, claim, "m#1", payload=b'{"x":"\xff"}')
        taken = world.take(run)

    assert (taken.payload, taken.token) == (b'{"x":"\xff"}', "1.nonce")


def test_a_run_has_a_promise_for_each_member(world: RunWorld) -> None:
    """Open, with what Python reads of it; the run's revision rises once, and its state and holder stay."""
    claim = parent_in(world)
    world.note(claim, "step#1")
    before = claim.revision

    send_jobs(world, claim, "map#1/mail#1", "map#1/mail#2")

    record, promises = world.shown(claim.ref), world.promises(claim.ref)
    assert (record["state"], record["token"], record["revision"]) == ("running", claim.token, str(before + 1))
    assert {name: (one.status, one.seq, one.at, one.head["o"]) for name, one in promises.items() if "/" in name} == {
        "map#1/mail#1": ("open", 0, 0, 0),
        "map#1/mail#2": ("open", 0, 0, 1),
    }


def test_members_are_among_what_the_run_would_undo(world: RunWorld) -> None:
    """In the order they were sent, between what was done before and after; those of one family share a place."""
    claim = parent_in(world)
    world.intend(claim, "a#1")
    send_jobs(world, claim, "m#1", "m#2")
    world.intend(claim, "b#1")
    world.passes(3)
    send_runs(world, claim, "c#1")

    undos = world.undos(claim.ref)
    assert world.open_undos(claim.ref) == ["c#1", "b#1", "m#2", "m#1", "a#1"]
    assert {name: (one.status, one.seq, one.at) for name, one in undos.items()} == {
        "a#1": ("open", 1, START),
        "m#1": ("open", 2, START),
        "m#2": ("open", 2, START),
        "b#1": ("open", 3, START),
        "c#1": ("open", 4, START + 3),
    }
    assert undos["m#1"].head == world.promises(claim.ref)["m#1"].head


def test_a_detached_child_does_not_concern_the_end_of_its_run(world: RunWorld) -> None:
    """It has a promise, and nothing that would be undone: the run fails without it, and it goes on."""
    claim = parent_in(world)
    (child,) = send_runs(world, claim, "c#1", detached=True)

    assert (world.promises(claim.ref)["c#1"].status, world.open_undos(claim.ref)) == ("open", [])
    assert world.undos(claim.ref) == {}
    assert world.finish(claim, "failed").verdict == "DONE"
    assert world.take(child).token == "1.nonce"  # noqa: S105 - no secret


# -- due times


def test_a_job_for_later_waits_for_its_time(world: RunWorld) -> None:
    """Its timer makes it ready, not a millisecond early."""
    claim = parent_in(world)
    (job,) = send_jobs(world, claim, "m#1", due=LATER)
    world.passes(59_999)
    assert world.jobs.promote([(job, "scheduled")])[0].verdict == "LEFTOVER"
    world.passes(1)

    assert world.jobs.promote([(job, "scheduled")])[0].verdict == "READY"
    assert "due_at" not in world.record(job)


def test_a_child_for_later_waits_for_its_time(world: RunWorld) -> None:
    """Its timer makes it ready, and its own time begins with that."""
    claim = parent_in(world)
    (child,) = send_runs(world, claim, "c#1", due=LATER, timeout=500)
    world.passes(59_999)
    assert world.fire(child) == ("NOTHING", "waiting")
    world.passes(1)

    assert world.fire(child) == ("READY", "2")
    assert world.dump().ordered["timers"] == {child.id: LATER + 500}
    world.passes(500)
    world.fire(child)
    assert world.take(child).cancel == "timeout"


def test_a_job_that_expires_is_not_taken_late(world: RunWorld) -> None:
    """Its expiry counts from the moment it was sent."""
    claim = parent_in(world)
    world.passes(50)
    (job,) = send_jobs(world, claim, "m#1", expires=700)
    world.passes(700)

    assert world.jobs.claim(job, holder=world.register(), nonce="n", pid=1) == ("EXPIRED", ())


@pytest.mark.parametrize("option", ["due", "timeout"])
def test_only_an_earlier_due_time_rings_the_leader(world: RunWorld, store: RedisStore, option: str) -> None:
    """It sleeps until the first that it knows: a start, or the deadline of a child that is ready at once."""
    claim = parent_in(world)
    channel = Channel(store)
    channel.listen([world.keys.timers])
    heard: list[str] = []
    try:
        for n, later in enumerate((500, 900, 300)):
            send_runs(world, claim, f"c#{n}", **{option: later if option == "timeout" else START + later})
        send_runs(world, claim, "c#3")
        world.ask("PUBLISH", world.keys.timers, "end")
        while "end" not in heard:
            heard += eventually(lambda: [word for _, word in channel.read()])
    finally:
        channel.close()

    assert heard == ["due", "due", "end"]


# -- large and odd families


@pytest.mark.parametrize("kind", ["job", "child"])
def test_a_family_of_five_hundred_is_one_write(world: RunWorld, kind: str) -> None:
    """As many as a run sends at once, each in its place."""
    claim = parent_in(world)
    names = [f"map#1/m#{n}" for n in range(500)]

    refs = send_jobs(world, claim, *names) if kind == "job" else send_runs(world, claim, *names, timeout=9_000)

    found = world.dump()
    assert found.ordered["lane:q:0"].keys() == {ref.id for ref in refs}
    assert found.ordered["marks"].keys() == {f"{ref.id}:1" for ref in refs}
    assert world.promises(claim.ref).keys() == set(names) == set(world.open_undos(claim.ref))
    assert world.shown(claim.ref)["revision"] == "1"


def test_messages_ride_in_the_same_trip(world: RunWorld) -> None:
    """The wake-up of a member, and the clearing of its mark, are sent behind the script that writes it."""
    claim = parent_in(world)
    one = member(claim, "m#1")
    riders = [Call.command("PING"), world.runs.clearing(one.ref.id, "1")]

    assert world.runs.spawn(claim, Family(members=[one]), riders) == ["DONE", str(START)]
    assert "marks" not in world.dump().ordered


def test_families_of_two_kinds_are_two_writes(world: RunWorld) -> None:
    """A job and a child of one run, each waited for by its own promise."""
    claim = parent_in(world)
    send(world, claim, Family(members=[member(claim, "m#1")]))
    send(world, claim, Family(members=[member(claim, "c#1", "child")]))

    assert world.runs.suspend(claim, awaited("m#1", "c#1")) == ("DONE", [])
    assert {name: one.head["k"] for name, one in world.promises(claim.ref).items()} == {"m#1": "job", "c#1": "child"}
