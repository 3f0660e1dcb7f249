"""``runs/nudge``: a run is told to look for events, whatever it does at that moment."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dispatch_celery.store.client import RedisStore
from dispatch_celery.workflows.held import RunClaim
from dispatch_celery.workflows.journal import Entry
from tests.lua.run_world import ENDS, RunWorld, asleep, awaits, run_world
from tests.lua.world import START

EVENT = "approved#1"


@pytest.fixture
def world(store: RedisStore, namespace: str) -> Iterator[RunWorld]:
    """Return a world with runs."""
    yield from run_world(store, namespace)


def test_a_run_that_waits_there_is_woken(world: RunWorld) -> None:
    """Once: who tells it again finds it ready, and leaves a note."""
    claim = world.suspended([awaits("awaiting", None, EVENT)])

    (first,) = world.runs.nudge([(claim.ref, EVENT)])
    (again,) = world.runs.nudge([(claim.ref, EVENT)])

    assert (first.verdict, first.detail, again.verdict) == ("READY", "2", "NOTED")
    assert world.shown(claim.ref)["state"] == "pending"


def test_a_run_that_is_about_to_rest_looks_again(world: RunWorld) -> None:
    """What was published between its look and its rest is not missed: it is kept going, once."""
    claim = world.taken()
    assert world.runs.nudge([(claim.ref, EVENT)])[0].verdict == "NOTED"

    assert world.runs.suspend(claim, [awaits("awaiting", None, EVENT)]) == ("READY", [])
    claim.revision += 1
    assert world.runs.suspend(claim, [awaits("awaiting", None, EVENT)]) == ("DONE", [])


def test_a_note_is_void_when_the_run_is_taken(world: RunWorld) -> None:
    """Whoever takes it up looks anyway."""
    ref = world.start()
    assert world.runs.nudge([(ref, EVENT)])[0].verdict == "NOTED"
    claim = world.take(ref)

    assert world.runs.suspend(claim, [awaits("awaiting", None, EVENT)]) == ("DONE", [])


def test_a_run_that_waits_elsewhere_or_has_ended_is_struck_off(world: RunWorld) -> None:
    """So is one that is gone, and one that is being undone."""
    elsewhere = world.suspended([asleep(1_000)]).ref
    ended = [world.run_at(state) for state in ENDS]
    gone = world.new_run().ref

    answers = world.runs.nudge([(ref, EVENT) for ref in (elsewhere, gone, *ended)])

    assert {answer.verdict for answer in answers} == {"GONE"}


def test_a_run_that_pauses_after_a_crash_is_not_woken(world: RunWorld) -> None:
    """Its pause is there for a reason; the note is kept."""
    claim = world.taken()
    world.release(claim, counter="crashes", pause=1_000)

    assert world.runs.nudge([(claim.ref, EVENT)])[0].verdict == "NOTED"
    assert world.shown(claim.ref)["state"] == "waiting"


def test_a_wait_keeps_its_time_and_notes_how_far_it_has_looked(world: RunWorld) -> None:
    """Resting again changes what only Python reads, not when it is due."""
    claim = world.taken()
    assert world.runs.suspend(claim, [awaits("awaiting", 5_000, EVENT)]) == ("DONE", [])
    due = world.due_of(claim.ref)
    world.runs.nudge([(claim.ref, EVENT)])
    again = world.take(claim.ref, nonce="b")
    world.passes(1_000)

    assert world.runs.suspend(again, [awaits("awaiting", 5_000, EVENT)]) == ("DONE", [])
    assert world.due_of(claim.ref) == due


def test_a_note_is_not_lost_with_the_reply_that_told_of_it(world: RunWorld) -> None:
    """The suspension that found it was answered to nobody: sent again, it lets the run look and does not rest."""
    claim = world.taken()
    assert world.runs.nudge([(claim.ref, EVENT)])[0].verdict == "NOTED"
    wait = [awaits("awaiting", None, EVENT)]
    assert world.runs.suspend(claim, wait) == ("READY", [])
    before = world.dump()

    assert world.runs.suspend(claim, wait) == ("READY", [])
    assert world.dump() == before


# -- the end of a wait's time


def _overdue(world: RunWorld) -> RunClaim:
    """Return a run that was woken because the time of its wait was up, and taken."""
    claim = world.suspended([awaits("awaiting", 100, EVENT)], nonce="a")
    world.passes(100)
    assert world.fire(claim.ref)[0] == "READY"
    return world.take(claim.ref, nonce="b")


def test_a_wait_is_over_when_its_run_has_looked_a_last_time(world: RunWorld) -> None:
    """It found nothing, and nobody has told it since: the suspension resolves the wait, and the run goes on."""
    claim = _overdue(world)
    wait = [awaits("awaiting", 100, EVENT)]

    verdict, details = world.runs.suspend(claim, wait)

    over = Entry.parse(EVENT, details[1])
    assert (verdict, details[0], over.status, over.seq, over.at) == ("READY", EVENT.encode(), "timeout", 1, START + 100)
    assert world.promises(claim.ref)[EVENT] == over
    assert world.runs.suspend(claim, wait) == (verdict, details)
    assert world.shown(claim.ref)["state"] == "running"


def test_an_event_that_is_told_of_at_the_last_moment_is_looked_for(world: RunWorld) -> None:
    """Published in time or not, the run sees it before its wait is over."""
    claim = _overdue(world)
    assert world.runs.nudge([(claim.ref, EVENT)])[0].verdict == "NOTED"
    wait = [awaits("awaiting", 100, EVENT)]

    assert world.runs.suspend(claim, wait) == ("READY", [])
    assert world.promises(claim.ref)[EVENT].status == "awaiting"
    assert world.runs.suspend(claim, wait) == ("READY", [])  # sent again
    claim.revision += 1
    assert world.runs.suspend(claim, wait)[1][0] == EVENT.encode()


def test_a_wait_that_ran_out_while_its_run_was_told_of_an_event_is_looked_at(world: RunWorld) -> None:
    """It is ready for the event already; its time changes nothing before it has looked."""
    claim = world.suspended([awaits("awaiting", 100, EVENT)], nonce="a")
    assert world.runs.nudge([(claim.ref, EVENT)])[0].verdict == "READY"
    world.passes(200)
    assert world.fire(claim.ref) == ("NOTHING", "pending")

    assert world.promises(claim.ref)[EVENT].status == "awaiting"
    world.note(world.take(claim.ref, nonce="b"), EVENT)
    assert world.promises(claim.ref)[EVENT].status == "value"


def test_a_wait_whose_timer_has_not_fired_goes_on(world: RunWorld) -> None:
    """Its time may have come since the run looked: an event of just before would not have been seen."""
    claim = world.suspended([awaits("awaiting", 100, EVENT)], nonce="a")
    assert world.runs.nudge([(claim.ref, EVENT)])[0].verdict == "READY"
    claim = world.take(claim.ref, nonce="b")
    world.passes(200)

    assert world.runs.suspend(claim, [awaits("awaiting", 100, EVENT)]) == ("DONE", [])
    assert world.promises(claim.ref)[EVENT].status == "awaiting"
    assert world.fire(claim.ref)[0] == "READY"


def test_a_timer_that_fires_while_the_run_is_held_has_it_look_once_more(world: RunWorld) -> None:
    """Only a look from after the end of its time ends a wait."""
    claim = world.suspended([awaits("awaiting", 100, EVENT)], nonce="a")
    assert world.runs.nudge([(claim.ref, EVENT)])[0].verdict == "READY"
    claim = world.take(claim.ref, nonce="b")
    world.passes(200)
    assert world.fire(claim.ref) == ("NOTHING", "running")
    wait = [awaits("awaiting", 100, EVENT)]

    assert world.runs.suspend(claim, wait) == ("READY", [])
    claim.revision += 1
    assert world.runs.suspend(claim, wait)[1][0] == EVENT.encode()
    assert world.promises(claim.ref)[EVENT].status == "timeout"
