"""``jobs/due``, ``promote``, ``rewake``, ``giveback``, ``abandon``, ``tidy``: what keeps ready jobs from being lost."""

from __future__ import annotations

import pytest

from dispatch_celery.errors import LeadershipLost
from dispatch_celery.jobs.model import JobState
from tests.lua.world import ERROR, START, World

# -- due


def test_due_lists_what_has_come_and_tells_the_next(world: World) -> None:
    """In order of time, up to the limit, with the milliseconds until the next that has not come."""
    refs = [world.enqueue(delay=delay) for delay in (10, 20, 30, 500)]
    assert world.jobs.due(world.keys.timers, 10) == (10, [])

    world.passes(30)

    assert world.jobs.due(world.keys.timers, 10) == (470, [ref.id for ref in refs[:3]])
    assert world.jobs.due(world.keys.timers, 2) == (470, [ref.id for ref in refs[:2]])


def test_due_of_nothing_is_nothing(world: World) -> None:
    """A set that does not exist has no next either."""
    assert world.jobs.due(world.keys.timers, 10) == (None, [])


# -- promote


@pytest.mark.parametrize("state", [JobState.SCHEDULED, JobState.RETRYING])
def test_a_due_job_becomes_ready(world: World, state: JobState) -> None:
    """Not a millisecond early; then with a lane, a mark, and no timer."""
    ref = world.at(state)
    wait = 10_000 if state == JobState.SCHEDULED else 5_000
    world.passes(wait - 1)
    assert world.jobs.promote([(ref, state)])[0].verdict == "LEFTOVER"

    world.passes(1)
    (answer,) = world.jobs.promote([(ref, state)])

    found = world.dump()
    assert (answer.verdict, answer.detail) == ("READY", world.record(ref)["wake"])
    assert found.ordered["marks"] == {f"{ref.id}:{answer.detail}": world.now + 1_000}
    assert "timers" not in found.ordered
    assert "due_at" not in world.record(ref)


def test_an_operator_does_not_wait(world: World) -> None:
    """With force a job is ready before its time."""
    ref = world.at("scheduled")

    assert world.jobs.promote([(ref, JobState.SCHEDULED)], force=True)[0].verdict == "READY"


def test_a_job_seen_in_another_state_is_left_alone(world: World) -> None:
    """The caller's keys would be the wrong ones: nothing changes."""
    ref = world.at("scheduled")
    world.passes(20_000)
    before = world.dump()

    assert world.jobs.promote([(ref, JobState.RETRYING)], force=True)[0].verdict == "LEFTOVER"
    assert world.dump() == before


@pytest.mark.parametrize("state", ["pending", "running", "completed", "failed", "cancelled"])
def test_a_timer_of_what_does_not_wait_is_taken_away(world: World, state: str) -> None:
    """A stray timer is not found for ever, and its job stays what it is."""
    ref = world.at(state)
    before = world.dump()
    world.ask("ZADD", world.keys.timers, 1, ref.id)

    assert world.jobs.promote([(ref, JobState.SCHEDULED)])[0].detail == state
    assert world.dump() == before


def test_many_are_promoted_in_one_trip(world: World) -> None:
    """Each has its own answer."""
    refs = [world.at("scheduled") for _ in range(50)]
    world.passes(10_000)

    answers = world.jobs.promote([(ref, JobState.SCHEDULED) for ref in [*refs, world.job().ref]])

    assert [answer.verdict for answer in answers] == ["READY"] * 50 + ["LEFTOVER"]
    assert world.jobs.promote([]) == []


@pytest.mark.parametrize("verb", ["promote", "rewake"])
def test_a_leader_of_another_term_wakes_nothing(world: World, verb: str) -> None:
    """A new term fences the old one, though its leader does not know yet."""
    first, term = world.leader()
    world.passes(world.settings.leader_lease)
    _, new = world.leader()
    ref, ready = world.at("scheduled"), world.at("pending")
    world.passes(20_000)
    before = world.dump()

    late = {
        "promote": lambda: world.jobs.promote([(ref, JobState.SCHEDULED)], term=term),
        "rewake": lambda: world.jobs.rewake(ready, str(START), term=term),
    }[verb]
    with pytest.raises(LeadershipLost):
        late()
    assert world.dump() == before
    assert world.jobs.promote([(ref, JobState.SCHEDULED)], term=new)[0].verdict == "READY"
    assert first


# -- rewake


def test_a_lost_wake_up_is_marked_again(world: World) -> None:
    """The lane tells when, the mark that it is to be published, the record how often."""
    ref = world.enqueue()
    world.jobs.clear_marks([(ref.id, "1")])
    world.passes(2_000)

    answer = world.jobs.rewake(ref, str(START))

    found = world.dump()
    assert (answer.verdict, answer.detail) == ("READY", "1")
    assert found.ordered["lane:q:0"] == {ref.id: START + 2_000}
    assert found.ordered["marks"] == {f"{ref.id}:1": START + 3_000}
    assert world.record(ref)["publishes"] == "1"


def test_a_wake_up_published_since_is_left_alone(world: World) -> None:
    """Two leaders with the same list publish once."""
    ref = world.enqueue()
    world.passes(2_000)
    before = world.dump()

    assert world.jobs.rewake(ref, str(START - 1)).verdict == "LEFTOVER"
    assert world.dump() == before


@pytest.mark.parametrize("state", ["running", "completed", "scheduled"])
def test_a_job_that_does_not_wait_leaves_its_lane(world: World, state: str) -> None:
    """A stray entry is taken away, and nothing is published."""
    ref = world.at(state)
    before = world.dump()
    world.ask("ZADD", world.keys.lane(ref.lane), START, ref.id)

    assert world.jobs.rewake(ref, str(START)).detail == state
    assert world.dump() == before


def test_a_ready_job_that_fell_out_of_its_lane_is_put_back(world: World) -> None:
    """The record decides, not the index."""
    ref = world.enqueue()
    world.ask("ZREM", world.keys.lane(ref.lane), ref.id)

    assert world.jobs.rewake(ref, str(START)).verdict == "READY"


# -- giveback and abandon


def test_an_unknown_name_waits_and_is_abandoned_in_the_end(world: World) -> None:
    """The wake-up is delayed again and again; since when nobody has known the name is told."""
    ref = world.enqueue()
    world.passes(100)
    first = world.jobs.give_back(ref, pause=2_000)

    assert (first.verdict, first.detail) == ("WAITING", str(START + 100))
    assert world.dump().ordered["marks"] == {f"{ref.id}:1": START + 2_100}
    world.passes(world.settings.unknown_grace - 1)
    assert world.jobs.give_back(ref, pause=2_000).verdict == "WAITING"
    world.passes(1)
    last = world.jobs.give_back(ref, pause=2_000)
    assert (last.verdict, last.detail) == ("ABANDON", str(START + 100))


def test_a_worker_that_knew_the_name_meanwhile_extends_the_wait(world: World) -> None:
    """A rolling deploy parks nothing."""
    ref = world.enqueue()
    world.jobs.give_back(ref, pause=2_000)
    world.passes(world.settings.unknown_grace - 5)
    world.cluster.still_know(["mail"], world.now)
    world.passes(5)

    assert world.jobs.give_back(ref, pause=2_000).verdict == "WAITING"


def test_a_claim_forgets_that_the_name_was_unknown(world: World) -> None:
    """The next wait counts from its own beginning."""
    ref = world.enqueue()
    world.jobs.give_back(ref, pause=2_000)
    held = world.claim(ref, world.register())

    assert "unknown_since" not in world.record(ref)
    world.end("release", held)


@pytest.mark.parametrize("state", ["running", "completed", "scheduled"])
def test_a_job_that_is_not_ready_is_neither_given_back_nor_abandoned(world: World, state: str) -> None:
    """The answer names the state, and nothing changes."""
    ref = world.at(state)
    before = world.dump()

    assert world.jobs.give_back(ref, pause=2_000).detail == state
    assert world.jobs.abandon(ref, error=ERROR, reason="unknown").detail == state
    assert world.jobs.give_back(world.job().ref, pause=2_000).detail == "missing"
    assert world.dump() == before


@pytest.mark.parametrize(("reason", "waits"), [("unknown", True), ("other", False)])
def test_an_abandoned_job_is_a_dead_letter(world: World, reason: str, waits: bool) -> None:  # noqa: FBT001 - a table's column
    """One that only lacks a worker is listed for its return; a reopened one starts anew."""
    ref = world.enqueue(key="k")
    world.jobs.give_back(ref, pause=1_000)

    assert world.jobs.abandon(ref, error=ERROR, reason=reason).verdict == "DONE"

    found = world.dump()
    assert found.jobs[ref.id]["reason"] == reason
    assert found.ordered["dead"] == {ref.id: START}
    assert (ref.id in found.ordered.get("unknown", {})) is waits
    assert world.jobs.reopen(ref).verdict == "READY"
    assert "unknown" not in world.dump().ordered
    assert "unknown_since" not in world.record(ref)


# -- tidy


def test_a_lane_is_forgotten_only_when_it_holds_nothing(world: World) -> None:
    """A lane in use stays listed."""
    ref = world.enqueue()
    world.jobs.tidy(ref.lane)
    assert world.dump().sets["lanes"] == {"q:0"}

    world.jobs.cancel(ref, JobState.PENDING, "x")
    world.jobs.tidy(ref.lane)
    assert world.dump().sets == {}
