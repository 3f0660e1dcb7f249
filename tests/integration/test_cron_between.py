"""Between a leader's look at an entry and its script: somebody stops it, edits it, or nobody can read it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dispatch_celery import InvalidSchedule
from dispatch_celery.jobs.model import JobState
from dispatch_celery.store.replies import ask
from dispatch_celery.store.scripts import Call
from tests.support.crons import MINUTE, CronWorld, cron_world


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


def test_an_edit_that_fires_a_slot_again_does_not_call_off_its_job(world: CronWorld) -> None:
    """Its next slot was computed before that was fired, and written after it."""
    world.register(overlap="cancel_previous")
    world.fire()

    def fires() -> None:
        world.passes(MINUTE)
        world.fire()
        assert len(world.work()) == 1

    _before(world.dispatch.crons._store, "registered", fires)
    world.register(schedule="*/1 * * * *", overlap="cancel_previous")
    world.fire()
    world.fire()

    (one,) = world.work()
    assert world.dispatch.jobs.get(one).state == JobState.PENDING
