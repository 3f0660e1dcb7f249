"""``runs/continue``: a held run begins anew as its next generation, and nothing of the one before reaches into it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from dispatch_celery.store.client import RedisStore
from dispatch_celery.work.scripts import Answer
from dispatch_celery.workflows.held import RunClaim
from tests.lua.run_world import RunWorld, asleep, awaits, rest, run_world
from tests.lua.world import START

SPEC = {"schema": 1, "summary": "the second"}


@pytest.fixture
def world(store: RedisStore, namespace: str) -> Iterator[RunWorld]:
    """Return a world with runs."""
    yield from run_world(store, namespace)


def again(world: RunWorld, claim: RunClaim, events: Sequence[str] = (), payload: bytes = b'{"n":2}') -> Answer:
    """Let a held run begin anew."""
    return world.runs.continue_as_new(claim, payload, SPEC, events)


def next_of(world: RunWorld, claim: RunClaim, nonce: str = "b", events: Sequence[str] = ()) -> RunClaim:
    """Let a held run begin anew, and claim its next generation."""
    assert again(world, claim, events).verdict == "DONE"
    return world.take(claim.ref, nonce=nonce)


# -- what it does


def test_a_run_begins_anew_as_its_next_generation(world: RunWorld) -> None:
    """Ready, with the new arguments, an empty journal, and the old one set aside; it keeps what it is found by."""
    claim = world.taken(nonce="a", key="k", scope="a/b")
    world.note(claim, "a#1", b'"first"')
    world.passes(30)

    assert again(world, claim) == Answer("DONE", "2")

    record, found = world.shown(claim.ref), world.dump()
    assert (record["state"], record["generation"], record["revision"]) == ("pending", "1", "2")
    assert (record["payload"], record["spec"]) == ('{"n":2}', '{"schema":1,"summary":"the second"}')
    assert (record["created_at"], record["first_at"]) == (str(START), str(START))
    assert world.promises(claim.ref) == {}
    assert found.hashes[f"run:{claim.ref.id}:aside"]["a#1"].endswith('"first"')
    assert found.ordered["marks"].keys() == {f"{claim.ref.id}:2"}
    assert found.ordered["run-scope:a/b"] == {claim.ref.id: START}
    assert world.runs.start(world.new_run(key="k", scope="a/b")) == ["EXISTING", claim.ref.id]
    told = found.journal[-1]
    assert (told["event"], told["token"]) == ("dispatch.run.continued", claim.token)


def test_what_concerned_the_old_generation_is_forgotten(world: RunWorld) -> None:
    """Its crashes, its progress and that somebody told it to look."""
    claim = world.taken(nonce="a")
    world.release(claim, counter="crashes")
    claim = world.take(claim.ref, nonce="b")
    world.jobs.progress(claim.ref.id, claim.token, "{}")
    world.runs.nudge([(claim.ref, "said#1")])

    assert again(world, claim).verdict == "DONE"

    gone = {"crashes", "lost_workers", "progress", "nudged", "token", "holder", "pid", "op"}
    assert not gone & set(world.shown(claim.ref))


def test_the_next_holder_is_given_the_new_generation(world: RunWorld) -> None:
    """An empty journal under the new arguments, and the events that were consumed before."""
    claim = world.taken(nonce="a")
    world.note(claim, "a#1")

    anew = next_of(world, claim, events=["evt_2", "evt_1"])

    assert (anew.generation, anew.revision, anew.payload, anew.entries) == (1, 2, b'{"n":2}', [])
    assert anew.consumed == {"evt_1", "evt_2"}
    world.note(anew, "a#1")
    assert world.finish(anew).verdict == "DONE"


def test_only_the_generation_before_is_kept(world: RunWorld) -> None:
    """The journal set aside is replaced, also by an empty one."""
    claim = world.taken(nonce="a")
    world.note(claim, "a#1")
    second = next_of(world, claim, "b")
    world.note(second, "b#1")
    third = next_of(world, second, "c")

    assert set(world.dump().hashes[f"run:{claim.ref.id}:aside"]) == {"b#1"}
    assert again(world, third).verdict == "DONE"
    assert f"run:{claim.ref.id}:aside" not in world.dump().hashes
    assert world.shown(claim.ref)["generation"] == "3"


def test_undos_that_are_done_stay_with_their_generation(world: RunWorld) -> None:
    """The next one does the same under the same names, and is not told that it was undone."""
    claim = world.taken(nonce="a")
    world.intend(claim, "a#1")
    world.undo(claim, "a#1")

    anew = next_of(world, claim)

    assert anew.undos == []
    assert world.undos(claim.ref) == {}
    world.finish(anew)


# -- who may, and when


@pytest.mark.parametrize(
    "changed", [{"token": "1.other"}, {"token": "2.nonce"}, {"token": ""}, {"revision": 0}, {"revision": 2}]
)
def test_another_token_or_revision_begins_nothing(world: RunWorld, changed: dict[str, Any]) -> None:
    """What a holder knows must be all that was done."""
    claim = world.taken()
    world.note(claim, "a#1")
    before = world.dump()

    assert again(world, replace(claim, **changed)) == Answer("FENCED", "running")
    assert world.dump() == before


@pytest.mark.parametrize("end", ["release", "suspend", "park", "completed", "another"])
def test_who_let_go_begins_nothing(world: RunWorld, end: str) -> None:
    """A zombie ends no generation: whether the run rests, has ended, or is another's by now."""
    claim = world.taken(nonce="a")
    if end == "suspend":
        world.runs.suspend(claim, [asleep(9_000)])
    elif end in ("release", "another"):
        world.release(claim)
    else:
        assert (world.park(claim) if end == "park" else world.finish(claim)).verdict == "DONE"
    if end == "another":
        world.take(claim.ref, nonce="b")
    before = world.dump()

    assert again(world, claim).verdict == "FENCED"
    assert again(world, replace(claim, ref=world.new_run().ref)) == Answer("FENCED", "missing")
    assert world.dump() == before


@pytest.mark.parametrize("since", ["at once", "claimed", "written"])
def test_a_new_generation_sent_again_begins_once(world: RunWorld, since: str) -> None:
    """Its reply was lost; whatever the new generation has done by then stays."""
    claim = world.taken(nonce="a", timeout=90_000)
    world.note(claim, "a#1")
    assert again(world, claim, ["evt_1"]).verdict == "DONE"
    if since != "at once":
        anew = world.take(claim.ref, nonce="b")
    if since == "written":
        world.note(anew, "a#1")
    before = world.dump()
    world.passes(700)

    assert again(world, claim, ["evt_1"]).verdict == "REPEATED"
    assert world.dump() == before


@pytest.mark.parametrize("write", ["record", "finish", "suspend", "intend"])
def test_the_holder_of_the_old_generation_writes_nothing_more(world: RunWorld, write: str) -> None:
    """Not even at the revision that the new generation begins with."""
    claim = world.taken(nonce="a")
    assert again(world, claim).verdict == "DONE"
    world.take(claim.ref, nonce="b")
    late = replace(claim, revision=1)
    before = world.dump()

    if write == "finish":
        assert world.finish(late).verdict == "FENCED"
    elif write == "suspend":
        assert world.runs.suspend(late, [asleep(5)])[0] == "FENCED"
    else:
        send = {
            "record": lambda: world.runs.record(late, "a#1", "value", rest()),
            "intend": lambda: world.runs.intend(late, "a#1", rest("undo")),
        }[write]
        assert send()[0] == "FENCED"
    assert world.dump() == before


def test_a_run_asked_to_cancel_does_not_begin_anew(world: RunWorld) -> None:
    """The answer says why, and nothing changes."""
    claim = world.asked()
    before = world.dump()

    assert again(world, claim) == Answer("CANCELLING", "enough")
    assert world.dump() == before
    world.finish(claim, "cancelled")


def test_a_run_with_something_to_undo_does_not_begin_anew(world: RunWorld) -> None:
    """Its next generation would know nothing of it; when it is undone, it may."""
    claim = world.taken()
    world.intend(claim, "a#1")
    before = world.dump()

    assert again(world, claim) == Answer("OPEN")
    assert world.dump() == before
    world.undo(claim, "a#1")
    assert again(world, claim).verdict == "DONE"


# -- times


def test_only_the_deadline_goes_on(world: RunWorld) -> None:
    """Sleeps and waits of the old generation are due no more; the run's own time goes on from its start."""
    claim = world.taken(nonce="a", timeout=50_000)
    assert world.runs.suspend(claim, [asleep(2_000), awaits("awaiting", 9_000, "said#1")]) == ("DONE", [])
    world.passes(2_000)
    world.fire(claim.ref)
    claim = world.take(claim.ref, nonce="b")
    assert set(world.due_of(claim.ref)) == {"deadline", "said#1"}

    assert again(world, claim).verdict == "DONE"

    assert world.due_of(claim.ref) == {"deadline": START + 50_000}
    assert world.dump().ordered["timers"] == {claim.ref.id: START + 50_000}


def test_nothing_due_leaves_no_timer(world: RunWorld) -> None:
    """A run without a time of its own keeps none of the old generation's timers."""
    claim = world.taken(nonce="a")
    assert world.runs.suspend(claim, [asleep(2_000), awaits("awaiting", 9_000, "said#1")]) == ("DONE", [])
    world.passes(2_000)
    world.fire(claim.ref)
    claim = world.take(claim.ref, nonce="b")

    assert again(world, claim).verdict == "DONE"

    assert "timers" not in world.dump().ordered
    assert world.due_of(claim.ref) == {}


def test_a_new_generation_has_no_longer_than_the_run(world: RunWorld) -> None:
    """The deadline that was set at its start ends the generation that it finds."""
    claim = world.taken(nonce="a", timeout=5_000)
    assert again(world, claim).verdict == "DONE"
    world.passes(5_000)
    assert world.fire(claim.ref) == ("NOTHING", "pending")

    assert world.take(claim.ref, nonce="b").cancel == "timeout"


# -- events


def test_consumed_events_are_known_as_long_as_they_can_be_found(world: RunWorld) -> None:
    """Each with the generation that consumed it: those that nobody can find any more are forgotten."""
    claim = world.taken(nonce="a")
    second = next_of(world, claim, "b", ["evt_1"])
    world.passes(world.settings.retain_events // 2)
    third = next_of(world, second, "c", ["evt_2"])
    assert third.consumed == {"evt_1", "evt_2"}
    world.passes(world.settings.retain_events // 2 + 1)

    assert next_of(world, third, "d", ["evt_3"]).consumed == {"evt_2", "evt_3"}
    assert world.dump().ordered[f"run:{claim.ref.id}:consumed"].keys() == {"evt_2", "evt_3"}


# -- what comes in between


def test_a_nudge_for_the_old_generation_wakes_nobody(world: RunWorld) -> None:
    """The next generation looks for itself when it is taken."""
    claim = world.taken()
    assert again(world, claim).verdict == "DONE"

    assert world.runs.nudge([(claim.ref, "said#1")])[0] == Answer("NOTED")
    anew = world.take(claim.ref, nonce="b")
    assert world.runs.suspend(anew, [awaits("awaiting", None, "said#1")]) == ("DONE", [])


def test_a_new_generation_is_cancelled_before_it_is_taken(world: RunWorld) -> None:
    """At once: nobody holds it, and nothing is to be undone; its journals are deleted with it."""
    claim = world.taken()
    world.note(claim, "a#1")
    assert again(world, claim, ["evt_1"]).verdict == "DONE"
    assert world.runs.cancel(claim.ref, "pending", "enough").verdict == "DONE"
    world.passes(world.settings.retain_cancelled)

    assert world.runs.delete(claim.ref, "cancelled") == Answer("DONE")
    assert [key for key in world.ask("KEYS", f"{world.keys.tag}*") if claim.ref.id.encode() in key] == []
