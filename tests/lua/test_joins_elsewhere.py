"""The end of a member, where its run does not wait for it: held, ready, at rest, undoing, over, or gone."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from dispatch_celery.store.client import RedisStore
from dispatch_celery.workflows.held import RunClaim
from tests.lua.families import Ending, about, awaited, each_ending, parent_in, send_jobs, send_runs
from tests.lua.run_world import RunWorld, asleep, run_world
from tests.lua.world import ERROR


@pytest.fixture
def world(store: RedisStore, namespace: str) -> Iterator[RunWorld]:
    """Return a world with runs."""
    yield from run_world(store, namespace)


def _running(world: RunWorld, claim: RunClaim) -> None:
    """Leave it with its holder."""


def _ready(world: RunWorld, claim: RunClaim) -> None:
    world.release(claim)


def _parked(world: RunWorld, claim: RunClaim) -> None:
    world.park(claim)


def _pausing(world: RunWorld, claim: RunClaim) -> None:
    world.release(claim, counter="crashes", pause=9_000)


def _waits_elsewhere(world: RunWorld, claim: RunClaim) -> None:
    assert world.runs.suspend(claim, [asleep(9_000)])[0] == "DONE"


ELSEWHERE = (_running, _ready, _parked, _pausing, _waits_elsewhere)


@pytest.mark.parametrize("where", ELSEWHERE)
@each_ending
def test_a_run_that_does_not_wait_for_it_is_not_woken(
    world: RunWorld, ending: Ending, where: Callable[[RunWorld, RunClaim], None]
) -> None:
    """It stays where it is, and finds the end on record when it comes to look."""
    claim = parent_in(world)
    ref, act = ending.prepare(world, claim, "m#1")
    where(world, claim)
    before = about(world, claim)

    assert act().woken == ""

    promise, after = world.promises(claim.ref)["m#1"], about(world, claim)
    assert (promise.status, promise.payload) == (ending.status, ending.told(ref))
    assert (after["listed"], after["marks"]) == (before["listed"], before["marks"])
    assert world.open_undos(claim.ref) == []


def test_a_run_that_comes_to_wait_late_finds_the_end(world: RunWorld) -> None:
    """What ended while the run was held is there when it would rest."""
    claim = parent_in(world)
    (job,) = send_jobs(world, claim, "m#1")
    world.end("complete", world.claim(job, world.register()))

    verdict, details = world.runs.suspend(claim, awaited("m#1"))

    assert (verdict, details[0]) == ("READY", b"m#1")


@pytest.mark.parametrize("state", ["completed", "cancelled"])
@each_ending
def test_a_run_that_has_ended_stays_ended(world: RunWorld, ending: Ending, state: str) -> None:
    """What it had sent and left to itself ends by itself, and is on its record for people to see."""
    claim = parent_in(world)
    ref, act = ending.prepare(world, claim, "m#1")
    if state == "completed":
        assert world.finish(claim).verdict == "DONE"
    else:
        world.release(claim)
        assert world.discard(claim.ref, "pending").verdict == "DONE"
    before = world.shown(claim.ref)

    assert act().woken == ""

    after = world.shown(claim.ref)
    assert {name: value for name, value in after.items() if name != "seq"} == {
        name: value for name, value in before.items() if name != "seq"
    }
    assert world.promises(claim.ref)["m#1"].payload == ending.told(ref)
    assert "lane:p:5" not in world.dump().ordered


@each_ending
def test_a_run_that_is_gone_is_not_made_anew(world: RunWorld, ending: Ending) -> None:
    """Its retention has passed before its member ended: nothing of it is written."""
    claim = parent_in(world)
    _, act = ending.prepare(world, claim, "m#1")
    world.finish(claim)
    world.passes(world.settings.retain_completed)
    assert world.runs.delete(claim.ref, "completed").verdict == "DONE"

    answer = act()

    assert (answer.verdict, answer.woken) == ("DONE", "")
    assert world.ask("KEYS", f"{world.keys.record(claim.ref.id)}*") == []


def test_a_promise_that_is_not_on_record_is_not_made_up(world: RunWorld) -> None:
    """A server that fell back to before the member was sent knows the run, and not what it waits for."""
    claim = parent_in(world)
    (job,) = send_jobs(world, claim, "m#1")
    world.ask("HDEL", world.keys.promises(claim.ref.id), "m#1")

    assert world.end("complete", world.claim(job, world.register())).verdict == "DONE"
    assert world.promises(claim.ref) == {}


def test_another_member_of_that_identity_is_not_taken_for_it(world: RunWorld) -> None:
    """A run that was taken back sends its calls anew, under the same names: the end of an earlier one is its own."""
    claim = parent_in(world)
    (old,) = send_jobs(world, claim, "m#1")
    held = world.claim(old, world.register())
    send_jobs(world, claim, "m#1")
    world.runs.suspend(claim, awaited("m#1"))
    before = about(world, claim)

    answer = world.end("complete", held)

    assert (answer.verdict, answer.woken) == ("DONE", "")
    assert about(world, claim) == before
    assert world.open_undos(claim.ref) == ["m#1"]


# -- a run that undoes


@each_ending
def test_a_run_that_undoes_and_waits_is_woken_by_any_end(world: RunWorld, ending: Ending) -> None:
    """It called its members off and rests until they have ended: each end lets it look at once."""
    claim = parent_in(world)
    world.intend(claim, "a#1")
    _, act = ending.prepare(world, claim, "m#1")
    assert world.finish(claim, "failed").verdict == "UNDOING"
    world.release(claim, pause=9_000)

    assert act().woken == "2"

    again = world.take(claim.ref, nonce="b")
    assert (again.undoing, world.open_undos(claim.ref)) == ("failed", ["a#1"])


@pytest.mark.parametrize("where", [_running, _ready, _parked])
@each_ending
def test_a_run_that_undoes_and_does_not_wait_stays_where_it_is(
    world: RunWorld, ending: Ending, where: Callable[[RunWorld, RunClaim], None]
) -> None:
    """Held, ready or set aside: the end is struck off, and what is to be undone by the run itself is left."""
    claim = parent_in(world)
    world.intend(claim, "a#1")
    _, act = ending.prepare(world, claim, "m#1")
    assert world.finish(claim, "failed").verdict == "UNDOING"
    where(world, claim)
    before = about(world, claim)

    assert act().woken == ""

    after = about(world, claim)
    assert (after["listed"], after["marks"]) == (before["listed"], before["marks"])
    assert world.open_undos(claim.ref) == ["a#1"]


# -- a second outcome


def test_a_job_that_is_reopened_changes_nothing_that_was_told(world: RunWorld) -> None:
    """Its run has heard of the failure, and has gone on with it: what the job comes to later is its own."""
    claim = parent_in(world)
    (job,) = send_jobs(world, claim, "m#1")
    world.runs.suspend(claim, awaited("m#1"))
    world.end("fail", world.claim(job, world.register(), nonce="a"))
    assert world.jobs.reopen(job).verdict == "READY"
    before = about(world, claim)

    assert world.end("complete", world.claim(job, world.register(), nonce="b")).woken == ""

    assert about(world, claim) == before
    assert world.promises(claim.ref)["m#1"].payload == f"failed {job.id}\n{ERROR}".encode()


def _child(world: RunWorld, claim: RunClaim, *undos: str) -> RunClaim:
    """Return a held child, with something to undo."""
    (ref,) = send_runs(world, claim, "m#1")
    child = world.take(ref)
    world.intend(child, *undos)
    return child


def test_a_child_with_effects_stays_among_what_the_run_would_undo(world: RunWorld) -> None:
    """It has completed, and the run may still fail: in its turn the child is undone, and struck off then."""
    claim = parent_in(world)
    child = _child(world, claim, "a#1")
    world.runs.suspend(claim, awaited("m#1"))
    assert world.finish(child).woken == "2"
    assert world.open_undos(claim.ref) == ["m#1"]
    before = world.promises(claim.ref)["m#1"]
    assert world.runs.reverse(child.ref, "its parent failed").verdict == "READY"
    again = world.take(child.ref, nonce="b")
    world.undo(again, "a#1")

    answer = world.finish(again, "cancelled")

    assert (answer.verdict, answer.woken) == ("DONE", "")
    assert (world.open_undos(claim.ref), world.undos(claim.ref)) == ([], {})
    assert world.promises(claim.ref)["m#1"] == before


def test_a_child_whose_effects_are_all_undone_leaves_nothing_to_undo(world: RunWorld) -> None:
    """It undid them itself, on its way to its result."""
    claim = parent_in(world)
    child = _child(world, claim, "a#1")
    world.undo(child, "a#1")

    assert world.finish(child).verdict == "DONE"
    assert world.open_undos(claim.ref) == []


def test_a_detached_child_is_never_among_what_the_run_would_undo(world: RunWorld) -> None:
    """Its promise is resolved like any other."""
    claim = parent_in(world)
    (ref,) = send_runs(world, claim, "m#1", detached=True)
    child = world.take(ref)
    world.intend(child, "a#1")
    world.runs.suspend(claim, awaited("m#1"))

    assert world.finish(child).woken == "2"
    assert (world.open_undos(claim.ref), world.undos(claim.ref)) == ([], {})
    assert world.promises(claim.ref)["m#1"].status == "value"


def test_an_end_touches_nothing_else_of_its_run(world: RunWorld) -> None:
    """Other promises, other undos and their order, due times and the timer are what they were."""
    claim = parent_in(world, timeout=90_000)
    world.intend(claim, "a#1")
    first, second = send_jobs(world, claim, "m#1", "m#2")
    world.note(claim, "step#1")
    world.intend(claim, "z#1")
    world.runs.suspend(claim, [asleep(9_000), *awaited("m#1", "m#2")], enough=0)
    before = about(world, claim)

    assert world.end("complete", world.claim(first, world.register())).woken == ""

    after = about(world, claim)
    run = f"run:{claim.ref.id}"
    assert after[f"{run}:waits"] == {"sleep#1", "m#2"}
    assert world.open_undos(claim.ref) == ["z#1", "m#2", "a#1"]
    assert (after[f"{run}:due"], after["listed"]) == (before[f"{run}:due"], before["listed"])
    assert {one.identity: one.status for one in world.promises(claim.ref).values()} == {
        "m#1": "value",
        "m#2": "open",
        "step#1": "value",
        "sleep#1": "sleeping",
    }
    assert second.id in world.dump().ordered["state:pending"]
