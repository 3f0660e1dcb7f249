"""A server whose memory is full: what moves work on is accepted, what needs memory is refused whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dispatch_celery.errors import StoreUnavailable
from dispatch_celery.jobs.model import JobState
from tests.lua.run_world import RunWorld
from tests.lua.world import ENDS, ERROR, START, World

Act = Callable[[], Any]


def _end(verb: str) -> Callable[[World], Act]:
    def prepare(world: World) -> Act:
        held = world.running(key="k")
        return lambda: world.end(verb, held).verdict == "DONE"

    return prepare


def _cancel(state: str) -> Callable[[World], Act]:
    def prepare(world: World) -> Act:
        ref = world.at(state)
        return lambda: world.jobs.cancel(ref, JobState(state), "x").verdict == "DONE"

    return prepare


def _claim(world: World) -> Act:
    ref, worker = world.enqueue(), world.register()
    return lambda: world.jobs.claim(ref, holder=worker, nonce="n", pid=1)[0] == "CLAIMED"


def _promote(world: World) -> Act:
    ref = world.at("scheduled")
    return lambda: world.jobs.promote([(ref, JobState.SCHEDULED)], force=True)[0].verdict == "READY"


def _reopen(world: World) -> Act:
    ref = world.at("failed")
    return lambda: world.jobs.reopen(ref).verdict == "READY"


def _abandon(world: World) -> Act:
    ref = world.enqueue()
    return lambda: world.jobs.abandon(ref, error=ERROR, reason="unknown").verdict == "DONE"


def _delete(world: World) -> Act:
    ref = world.at("completed")
    return lambda: world.jobs.delete(ref, JobState.COMPLETED, force=True).verdict == "DONE"


def _depart(world: World) -> Act:
    worker, _ = world.leader()
    return lambda: world.cluster.depart(worker)


def _condemn(world: World) -> Act:
    world.register()
    world.passes(60_000)
    return lambda: len(world.cluster.condemn()[1]) == 1


def _flag(world: World) -> Act:
    held = world.running()
    return lambda: world.jobs.flag(held.ref, held.holder, "x").verdict == "ASKED"


def _renew(world: World) -> Act:
    worker = world.register()
    return lambda: world.renew(worker) is not None


def _lead(world: World) -> Act:
    worker, _ = world.leader()
    return lambda: world.renew(worker, volunteer=True, nonce=worker[-8:]) is not None


def _suspect(world: World) -> Act:
    worker = world.register()
    return lambda: world.cluster.suspect(worker, 1_000) is None


def _spare(world: World) -> Act:
    world.register()
    return lambda: world.cluster.spare() == 1


def _rewake(world: World) -> Act:
    ref = world.enqueue()
    return lambda: world.jobs.rewake(ref, str(START)).verdict == "READY"


ACCEPTED = {
    **{verb: _end(verb) for verb in ENDS},
    **{f"cancel {state}": _cancel(state) for state in ("scheduled", "pending", "retrying")},
    "claim": _claim,
    "promote": _promote,
    "reopen": _reopen,
    "abandon": _abandon,
    "delete": _delete,
    "depart": _depart,
    "condemn": _condemn,
    "cancel running": _flag,
    "renew": _renew,
    "lead": _lead,
    "suspect": _suspect,
    "spare": _spare,
    "rewake": _rewake,
}


@pytest.mark.parametrize("prepare", [pytest.param(prepare, id=name) for name, prepare in ACCEPTED.items()])
def test_what_moves_work_on_is_accepted_when_memory_is_full(full: RunWorld, prepare: Callable[[World], Act]) -> None:
    """Ends, releases, cancels and leases go on, or the memory would never be freed."""
    act = prepare(full)
    full.fill()

    assert act()
    assert full.problems() == []


def _enqueue(world: World) -> Act:
    job, later = world.job(key="k", scope="a/b"), world.job(delay=5_000)
    return lambda: [str(reply) for reply in world.jobs.enqueue([job, later])]


def _replay(world: World) -> Act:
    dead = world.at("failed")
    return lambda: world.letters.replay(dead.id, world.job())


def _bury(world: World) -> Act:
    return lambda: world.letters.bury(b"x", queue="q", reason="r")


def _progress(world: World) -> Act:
    held = world.running()
    return lambda: world.jobs.progress(held.ref.id, held.token, "{}")


@pytest.mark.parametrize("prepare", [_replay, _bury, _progress])
def test_what_needs_memory_is_refused_whole(full: RunWorld, prepare: Callable[[World], Act]) -> None:
    """The answer is "not now", and nothing is left behind; it works again when there is room."""
    act = prepare(full)
    full.fill()
    before = full.dump()

    with pytest.raises(StoreUnavailable, match=r"refuses for now: .*maxmemory"):
        act()
    assert full.dump() == before
    full.make_room()
    assert act()


def test_an_enqueue_is_refused_whole(full: RunWorld) -> None:
    """Each job of a batch is answered "not now", with nothing left: record, index, key, mark or timer."""
    act = _enqueue(full)
    full.fill()

    assert all("refuses for now" in reply for reply in act())
    assert full.ask("KEYS", f"{full.keys.tag}*") == []
    full.make_room()
    assert all("CREATED" in reply for reply in act())
