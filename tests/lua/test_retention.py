"""``jobs/unexpire`` and the duty that deletes: what is reopened meanwhile is kept for its next end."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from dispatch_celery.ids import JobId
from dispatch_celery.jobs.model import JobRef
from dispatch_celery.work.records import Stored, WorkRecords
from dispatch_celery.work.upkeep import House, Retention
from tests.lua.world import World
from tests.support.machine.ground import Postbox


class _Between(WorkRecords):
    """Reads, with something done right before it and right after."""

    def __init__(self, world: World, before: Callable[[], object], after: Callable[[], object]) -> None:
        super().__init__(world.port, world.keys)
        self._before, self._after = before, after

    def stored(self, ids: Sequence[str]) -> list[Stored | None]:
        """Read between two moments."""
        self._before()
        found = super().stored(ids)
        self._after()
        return found


def _nothing() -> None:
    """Let nothing happen."""


def _delete(world: World, before: Callable[[], object] = _nothing, after: Callable[[], object] = _nothing) -> None:
    """Do one round of the duty, in which others do something before and after it reads."""
    house = House(
        store=world.jobs,
        records=_Between(world, before, after),
        keys=world.keys,
        publisher=Postbox(),
        kinds=world.kinds,
        term=str,
    )
    Retention(house).run_once()


def _overdue(world: World) -> JobRef:
    """Return a dead letter whose retention has passed."""
    ref = world.at("failed")
    world.passes(world.settings.retain_failed + 1)
    return ref


def _end_again(world: World, ref: JobRef) -> None:
    world.end("fail", world.claim(ref, world.register(), nonce="again"))


def test_one_that_ends_again_behind_the_leaders_back_is_still_deleted_later(world: World) -> None:
    """It is reopened before the leader reads its record and ends after it: its new retention is left alone."""
    ref = _overdue(world)

    _delete(world, before=lambda: world.jobs.reopen(ref), after=lambda: _end_again(world, ref))

    assert world.record(ref)["state"] == "failed"
    assert world.dump().ordered["expiry"] == {ref.id: world.now + world.settings.retain_failed}
    world.passes(world.settings.retain_failed + 1)
    _delete(world)
    assert world.record(ref) == {}


def test_one_that_ends_again_after_the_leader_has_read_of_its_first_end_is_not_deleted(world: World) -> None:
    """The script asks for a retention that has passed, not for what the leader has seen."""
    ref = _overdue(world)

    def reopened() -> None:
        world.jobs.reopen(ref)
        _end_again(world, ref)

    _delete(world, after=reopened)

    assert world.record(ref)["state"] == "failed"
    assert world.dump().ordered["expiry"] == {ref.id: world.now + world.settings.retain_failed}


def test_one_that_is_reopened_after_the_leader_has_read_of_its_end_runs_on(world: World) -> None:
    """Its record stays, and is in no line to be deleted."""
    ref = _overdue(world)

    _delete(world, after=lambda: world.jobs.reopen(ref))

    assert world.record(ref)["state"] == "pending"
    assert world.dump().ordered.get("expiry", {}) == {}


@pytest.mark.parametrize("state", ["scheduled", "pending", "running", "retrying"])
def test_what_has_not_ended_is_taken_out(world: World, state: str) -> None:
    """Nobody put it there today; an entry that is left of some other release would be looked at for ever."""
    ref = world.at(state)
    world.ask("ZADD", world.keys.expiry, world.now, ref.id)

    assert world.jobs.unexpire(ref.id) == "DONE"
    assert "expiry" not in world.dump().ordered


def test_what_is_gone_is_taken_out(world: World) -> None:
    """Its entry names nothing."""
    gone = JobId.mint()
    world.ask("ZADD", world.keys.expiry, world.now, gone)

    _delete(world)

    assert "expiry" not in world.dump().ordered


@pytest.mark.parametrize("state", ["completed", "failed", "cancelled"])
def test_what_has_ended_stays_until_it_is_deleted(world: World, state: str) -> None:
    """Its entry is all that ever deletes it."""
    ref = world.at(state)

    assert world.jobs.unexpire(ref.id) == "ENDED"
    assert ref.id in world.dump().ordered["expiry"]
