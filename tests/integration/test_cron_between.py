"""Between a leader's look at an entry and its script: somebody stops it, edits it, or nobody can read it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from dispatch_celery import InvalidSchedule
from dispatch_celery.clock import from_ms
from dispatch_celery.jobs.model import JobState
from dispatch_celery.store.replies import ask
from dispatch_celery.store.scripts import Call
from tests.support.crons import MINUTE, START, CronWorld, cron_world


@pytest.fixture
def world(server_url: str, namespace: str) -> Iterator[CronWorld]:
    """Return an app with a cron leader, under a clock that only a test moves."""
    with cron_world(server_url, namespace) as made:
        yield made


def _before(owner: Any, verb: str, act: Callable[[], object]) -> None:
    """Have something happen right before the next call of a verb."""
    real = getattr(owner, verb)

    def call(*arguments: Any) -> Any:
        setattr(owner, verb, real)
        act()
        return real(*arguments)

    setattr(owner, verb, call)


def _disable(world: CronWorld) -> None:
    world.dispatch.crons.disable("e")


def _orphan(world: CronWorld) -> None:
    entry, keys = world.entry(), world.parts.keys
    ask(world.parts.store, Call.command("HSET", keys.cron(entry.id), "origin", "code"))
    ask(world.parts.store, Call.command("ZADD", keys.cron_declared, 0, entry.id))
    assert world.leader._store.orphan(entry.id, world.now)


@pytest.mark.parametrize("stop", [_disable, _orphan])
def test_an_entry_that_is_stopped_before_it_is_read_fires_no_more(
    world: CronWorld, stop: Callable[[CronWorld], None]
) -> None:
    """A new leader was told that it is due, and reads it when it is stopped already: as it was, and disabled."""
    world.register()
    leader = world.lead()
    world.passes(MINUTE)
    _before(leader._store, "raw", lambda: stop(world))

    world.fire(leader)
    for _ in range(3):
        world.passes(MINUTE)
        world.fire(leader)
    assert world.work() == []
    world.dispatch.crons.enable("e")
    assert len(world.after(MINUTE)) == 1


def test_an_entry_that_is_stopped_is_not_set_aside(world: CronWorld) -> None:
    """Setting it aside would have it told again, and fired."""
    world.register()
    entry = world.entry()
    world.dispatch.crons.disable("e")

    world.leader._store.defer(entry.id, world.leader._store.raw([entry.id])[0]["revision"].decode(), MINUTE)
    slots = ask(world.parts.store, Call.command("ZCARD", world.parts.keys.cron_slots))
    assert slots == 0


def test_a_queued_slot_outlasts_a_leader_that_cannot_read_its_entry(
    world: CronWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its machine lacks the zone, say; it looks a minute later again, and one that can read it fires the slot."""
    world.register(overlap="queue_one")
    (first,) = world.after(MINUTE)
    world.after(MINUTE)
    assert world.outcomes() == ["fired", "queued"]
    looked: list[int] = []

    def unreadable(_timetable: Any) -> Any:
        looked.append(world.now)
        raise InvalidSchedule("there is no such zone here")

    with monkeypatch.context() as patched:
        patched.setattr(world.leader._timing, "window", unreadable)
        for _ in range(20):
            world.passes(1_000)
            world.leader.run_once()
    world.ends(first)
    assert len(looked) == 1
    for _ in range(2):
        world.passes(MINUTE)
        world.fire()

    assert world.outcomes()[2:] == ["overlapped", "fired", "queued"]  # the queued slot, when it was looked for again
    assert len(world.work()) == 2


def test_an_entry_that_is_set_aside_is_not_told_before_it_is_due(
    world: CronWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its leader looked because of a queued slot; whoever can read it would ask for it in a loop until it is due."""
    world.register("0 * * * *", overlap="queue_one")
    world.after(60 * MINUTE)
    world.after(60 * MINUTE)
    assert world.outcomes() == ["fired", "queued"]

    def unreadable(_timetable: Any) -> Any:
        raise InvalidSchedule("there is no such zone here")

    with monkeypatch.context() as patched:
        patched.setattr(world.leader._timing, "window", unreadable)
        world.passes(20_000)
        world.leader.run_once()
    world.passes(2 * MINUTE)

    assert world.leader.run_once() > 0


def test_an_edit_of_a_slot_that_is_fired_meanwhile_is_computed_anew(world: CronWorld) -> None:
    """Its next slot was computed before that was fired, and comes after it."""
    world.register(overlap="cancel_previous")
    world.fire()

    def fires() -> None:
        world.passes(MINUTE)
        world.fire()
        assert len(world.work()) == 1

    _before(world.dispatch.crons._registrar._store, "registered", fires)
    entry = world.register(schedule="*/1 * * * *", overlap="cancel_previous")
    world.fire()
    world.fire()

    (one,) = world.work()
    assert world.dispatch.jobs.get(one).state == JobState.PENDING
    assert world.outcomes() == ["fired"]
    assert entry.next_slot is not None
    assert entry.next_slot > world.now


def test_a_declaration_of_a_slot_that_is_fired_meanwhile_is_computed_anew(world: CronWorld) -> None:
    """A worker of a new release starts when its entry fires."""
    world.dispatch.cron("* * * * *", name="e")(world.tick)
    registrar = world.dispatch.crons._registrar
    registrar.declare()
    world.passes(MINUTE)
    registrar._declarations._declared.clear()  # the next release, which says it otherwise
    world.dispatch.cron("*/1 * * * *", name="e")(world.tick)
    _before(registrar._store, "registered", world.fire)

    assert registrar.declare() == 1
    world.fire()

    assert world.outcomes() == ["fired"]
    assert world.entry().schedule == "*/1 * * * *"
    assert (world.entry().next_slot or 0) > world.now


@pytest.mark.parametrize(
    "edit", [{"end": START + timedelta(days=1)}, {"schedule": "*/30 * * * *"}, {"jitter": 1}, {"jitter": 3_000}]
)
def test_an_edit_between_a_slot_and_its_jitter_leaves_the_slot(world: CronWorld, edit: dict[str, Any]) -> None:
    """It has come, and the new schedule has it, too."""
    entry = world.register(schedule="0 * * * *", jitter=1_800)
    assert entry.next_slot is not None
    assert entry.next_due is not None
    slot = entry.next_slot
    world.passes(entry.next_due - world.now - 1_000)
    assert world.now > slot

    world.register(**{"schedule": "0 * * * *", "jitter": 1_800, **edit})
    assert world.entry().next_slot == slot
    for _ in range(40):
        world.after(MINUTE)

    assert world.entry().fires[-1].slot == from_ms(slot)
    assert world.outcomes()[0] == "fired"


@pytest.mark.parametrize("schedule", ["30 * * * *", "5 * * * *"])
def test_an_edit_between_a_slot_and_its_jitter_drops_a_slot_that_is_none_any_more(
    world: CronWorld, schedule: str
) -> None:
    """The new schedule does not have it; it fires when that says."""
    entry = world.register(schedule="0 * * * *", jitter=1_800)
    world.passes((entry.next_due or 0) - world.now - 1_000)

    world.register(schedule=schedule)

    assert (world.entry().next_slot or 0) > world.now
    world.fire()
    assert world.work() == []


def test_an_edit_brings_back_no_slot_that_was_missed_long_ago(world: CronWorld) -> None:
    """Nobody fired for hours, and the entry is edited then: it goes on from now."""
    world.register(schedule="0 * * * *")
    world.passes(5 * 60 * MINUTE)

    world.register(schedule="*/15 * * * *")

    assert (world.entry().next_slot or 0) > world.now


def test_a_slot_that_comes_again_is_told_once(world: CronWorld) -> None:
    """The clock was set back behind a slot that was fired, and its entry is edited then."""
    world.register()
    world.after(MINUTE)
    assert len(world.fired()) == 1
    world.passes(-MINUTE)

    world.register(schedule="*/1 * * * *")
    world.after(MINUTE)

    assert world.outcomes() == ["fired"]
    assert len(world.fired()) == 1
    assert len(world.work()) == 1
    assert len(world.after(MINUTE)) == 2


@pytest.mark.parametrize("overlap", ["skip", "queue_one", "cancel_previous"])
@pytest.mark.parametrize("ends", ["slot", "triggered"])
def test_what_is_run_by_hand_does_not_hide_what_a_slot_has_created(world: CronWorld, overlap: str, ends: str) -> None:
    """A slot waits for both, or cancels both."""
    world.register(overlap=overlap)
    (slot_job,) = world.after(MINUTE)
    by_hand = str(world.dispatch.crons.trigger("e"))
    world.ends(slot_job if ends == "slot" else by_hand)
    left = by_hand if ends == "slot" else slot_job

    world.after(MINUTE)

    expected = {"skip": "overlapped", "queue_one": "queued", "cancel_previous": "fired"}[overlap]
    assert world.outcomes() == ["fired", "triggered", expected]
    state = world.dispatch.jobs.get(left).state
    assert state == (JobState.CANCELLED if overlap == "cancel_previous" else JobState.PENDING)
    if overlap == "queue_one":
        world.ends(left)
        world.passes(20_000)
        world.fire()
        assert world.outcomes()[3:] == ["fired"]


def test_what_is_run_by_hand_leaves_the_last_slot(world: CronWorld) -> None:
    """An entry says what its schedule did last, and what somebody did."""
    world.register()
    (slot_job,) = world.after(MINUTE)
    by_hand = world.dispatch.crons.trigger("e")

    entry = world.entry()
    assert (entry.last_id, entry.triggered_id) == (slot_job, by_hand)
    assert entry.last_slot == world.now - world.now % MINUTE
