"""``cluster/*``: registration, leases, the lead, and the end of workers."""

from __future__ import annotations

from typing import Any, cast

import pytest

from dispatch_celery.clock import from_ms
from dispatch_celery.cluster.model import WorkerState
from dispatch_celery.cluster.recovery import DeadWorkers, Recovery
from dispatch_celery.errors import LeadershipLost
from dispatch_celery.ids import WorkerId
from tests.lua.world import ERROR, START, World, nobody

# -- register


def test_a_worker_registers_with_a_full_lease(world: World) -> None:
    """It is listed as it described itself, with the names it knows and their catalogue."""
    worker = WorkerId.mint()
    description = {"pid": 42, "name": "celery@a", "pool": "prefork", "concurrency": 4, "queues": "q,slow"}

    assert world.cluster.register(worker, description, {"mail": "{}", "tax": '{"queue":"b"}'}) == START

    (found,) = world.cluster.workers()
    assert (found.id, found.pid, found.name, found.queues) == (worker, 42, "celery@a", ("q", "slow"))
    assert (found.state, found.lease_until) == (WorkerState.ACTIVE, from_ms(START + world.settings.lease))
    state = world.dump()
    assert state.ordered["known"] == {"mail": START, "tax": START}
    assert state.hashes["catalogue"] == {"mail": "{}", "tax": '{"queue":"b"}'}


def test_a_worker_may_know_nothing_or_thousands(world: World) -> None:
    """The number of names is no limit of the script."""
    world.cluster.register(WorkerId.mint(), {}, {})
    world.cluster.register(WorkerId.mint(), {"pid": 1}, {f"job{n}": "{}" for n in range(20_000)})

    assert world.ask("ZCARD", world.keys.known) == 20_000


# -- renew


def test_a_renewal_extends_the_lease_and_tells_the_time(world: World) -> None:
    """From now on, and with what the worker said of itself."""
    worker = world.register()
    world.passes(3_000)
    pulse = world.renew(worker, state=WorkerState.DRAINING)

    assert pulse is not None
    assert (pulse.now, pulse.leader, pulse.held) == (START + 3_000, "", {})
    (found,) = world.cluster.workers()
    assert found.lease_until == from_ms(START + 3_000 + world.settings.lease)
    assert (found.state, found.seen_at) == (WorkerState.DRAINING, from_ms(START + 3_000))


def test_a_renewal_tells_what_is_due(world: World) -> None:
    """When the first timer, mark, expiry and lease ends, and how much there is of the rest."""
    worker = world.register()
    world.at("scheduled")
    ready = world.at("pending")
    world.at("completed")
    world.jobs.abandon(world.at("pending"), error=ERROR, reason="unknown")
    held = world.claim(world.enqueue(), worker)
    pulse = world.renew(worker)

    assert pulse is not None
    assert pulse.due["timers"] == START + 10_000
    assert pulse.due["marks"] == START + 1_000
    assert pulse.due["expiry"] == START + world.settings.retain_completed
    assert pulse.due["leases"] == START + world.settings.lease
    assert (pulse.running, pulse.lanes, pulse.unknown, pulse.condemned) == (1, 1, 1, 0)
    assert pulse.held == {held.ref.id: f"7 {held.token}"}
    assert ready


def test_a_renewal_of_nothing_due_is_empty(world: World) -> None:
    """No timer is no time, and holdings are told only when asked for."""
    held = world.running()
    world.end("release", held)
    held = world.claim(held.ref, held.holder, nonce="b")
    pulse = world.renew(held.holder, with_held=False)

    assert pulse is not None
    assert (pulse.due["timers"], pulse.due["expiry"], pulse.held) == (None, None, {})


def test_a_worker_that_is_not_registered_is_lost(world: World) -> None:
    """Unknown, departed or condemned: the answer is the same, and nothing is written."""
    worker = world.register()
    world.cluster.depart(worker)
    before = world.dump()

    assert world.renew(worker, volunteer=True) is None
    assert world.renew(WorkerId.mint(), volunteer=True) is None
    assert world.dump() == before


def test_a_late_renewal_counts_until_the_worker_is_condemned(world: World) -> None:
    """A lease that ran out unnoticed is renewed; nobody has taken anything away yet."""
    worker = world.register()
    world.passes(world.settings.lease + 5_000)

    assert world.renew(worker) is not None
    assert world.cluster.condemn()[1] == []


# -- the lead


def test_a_volunteer_leads_when_nobody_does(world: World) -> None:
    """One that does not volunteer does not; the first that does takes term 1."""
    first, second = world.register(), world.register()
    idle = world.renew(first)
    taken = world.renew(second, volunteer=True, nonce="x")

    assert idle is not None
    assert idle.leader == ""
    assert taken is not None
    assert (taken.leader, taken.term, taken.leader_until) == (second, "1.x", START + world.settings.leader_lease)


def test_a_follower_learns_who_leads(world: World) -> None:
    """A lead that stands is not taken, and keeping it keeps the term."""
    leader, term = world.leader()
    follower = world.register()
    world.passes(world.settings.leader_lease - 1)
    seen = world.renew(follower, volunteer=True, nonce="y")
    kept = world.renew(leader, volunteer=True, nonce=leader[-8:])

    assert seen is not None
    assert kept is not None
    assert (seen.leader, seen.term) == (kept.leader, kept.term) == (leader, term)
    assert kept.leader_until == world.now + world.settings.leader_lease


def test_a_lead_that_has_ended_is_taken_with_a_new_term(world: World) -> None:
    """The number grows, and the old leader learns it by its next renewal."""
    leader, term = world.leader()
    world.passes(world.settings.leader_lease)
    follower = world.register()
    taken = world.renew(follower, volunteer=True, nonce="y")
    late = world.renew(leader, volunteer=True, nonce=leader[-8:])

    assert taken is not None
    assert late is not None
    assert (taken.leader, taken.term) == (late.leader, late.term) == (follower, "2.y")
    assert term.startswith("1.")


def test_another_incarnation_with_the_same_id_does_not_inherit_the_lead(world: World) -> None:
    """Id and random part both name a leader."""
    leader, term = world.leader()
    other = world.renew(leader, volunteer=True, nonce="z")

    assert other is not None
    assert (other.leader, other.term) == (leader, term)
    world.passes(world.settings.leader_lease)
    again = world.renew(leader, volunteer=True, nonce="z")
    assert again is not None
    assert again.term == "2.z"


@pytest.mark.parametrize("verb", ["condemn", "spare"])
def test_a_leader_of_another_term_ends_and_spares_nobody(world: World, verb: str) -> None:
    """The scripts of the leader compare number and random part."""
    _, term = world.leader()
    world.passes(world.settings.lease)
    before = world.dump()

    for wrong in ("none", f"{term}x", "2." + term.partition(".")[2]):
        with pytest.raises(LeadershipLost):
            getattr(world.cluster, verb)(term=wrong)
    assert world.dump() == before
    assert getattr(world.cluster, verb)(term=term)


def test_a_leader_of_another_term_is_told_in_an_error_of_the_tree(world: World) -> None:
    """``LeadershipLost`` is promised, and is what comes."""
    world.leader()

    with pytest.raises(LeadershipLost):
        world.cluster.condemn(term="none")


# -- the end of workers


def test_a_worker_that_holds_nothing_departs_at_once(world: World) -> None:
    """Nothing of it is left, and the lead is free for the next."""
    leader, _ = world.leader()

    assert world.cluster.depart(leader) is True

    assert world.cluster.workers() == []
    follower = world.register()
    pulse = world.renew(follower, volunteer=True)
    assert pulse is not None
    assert (pulse.leader, pulse.term) == (follower, "2.n")


def test_a_worker_that_holds_something_is_left_to_recovery(world: World) -> None:
    """It is condemned, listed as lost, and forgotten once its holdings are gone."""
    held = world.running()

    assert world.cluster.depart(held.holder) is False
    assert world.cluster.forget(held.holder) is False
    (found,) = world.cluster.workers()
    assert (found.state, found.holding, found.lease_until) == (WorkerState.LOST, 1, None)
    assert world.cluster.condemn()[1] == [held.holder]

    world.end("release", held)
    assert world.cluster.forget(held.holder) is True
    assert world.cluster.workers() == []
    assert world.cluster.condemn()[1] == []


def test_what_is_told_of_dead_workers_is_when_to_look_again(world: World) -> None:
    """When the first lease of those that are left ends: a cut one soon, and nobody's never."""
    assert world.cluster.condemn()[2] is None
    world.register()
    assert world.cluster.condemn()[2] == world.settings.lease

    suspect = world.register()
    world.cluster.suspect(suspect, 1_000)
    world.passes(400)
    assert world.cluster.condemn()[2] == 600
    world.passes(600)
    assert world.cluster.condemn()[1:] == ([suspect], world.settings.lease - 1_000)


def test_dead_workers_are_looked_for_when_a_cut_lease_ends(world: World) -> None:
    """While something runs, and a round comes between the cut and its end, the next is at that end."""
    world.running()
    suspect = world.register()
    recovery = Recovery(
        store=world.jobs,
        records=world.records,
        cluster=world.cluster,
        publisher=cast("Any", None),
        kinds=world.kinds,
        observer=nobody,
    )
    duty = DeadWorkers(world.cluster, recovery, str, nobody)
    assert duty.run_once() == 1_000

    world.cluster.suspect(suspect, 1_000)
    world.passes(400)
    assert duty.run_once() == 601


def test_a_departing_follower_leaves_the_lead_alone(world: World) -> None:
    """Only the leader resigns."""
    leader, term = world.leader()
    world.cluster.depart(world.register())
    pulse = world.renew(leader)

    assert pulse is not None
    assert (pulse.leader, pulse.term) == (leader, term)
    assert pulse.leader_until > world.now


def test_only_a_lease_that_has_run_out_is_condemned(world: World) -> None:
    """To the millisecond, each by its own."""
    early = world.register()
    world.passes(10)
    late = world.register()
    world.passes(world.settings.lease - 11)
    assert world.cluster.condemn()[1] == []

    world.passes(1)
    assert world.cluster.condemn()[1] == [early]
    world.passes(10)
    assert world.cluster.condemn()[1] == [early, late]
    assert world.cluster.registered() == []


def test_a_suspect_keeps_a_second_and_loses_the_lead_with_it(world: World) -> None:
    """Its lease is cut; one that lives renews both."""
    leader, term = world.leader()
    world.cluster.suspect(leader, 1_000)
    state = world.dump()

    assert state.ordered["workers"] == {leader: START + 1_000}
    assert state.hashes["leader"]["until"] == str(START + 1_000)
    pulse = world.renew(leader, volunteer=True, nonce=leader[-8:])
    assert pulse is not None
    assert (pulse.term, pulse.leader_until) == (term, START + world.settings.leader_lease)


def test_a_suspicion_never_prolongs_a_lease(world: World) -> None:
    """What ends earlier ends earlier; a worker nobody knows is not made up."""
    worker = world.register()
    world.passes(world.settings.lease - 500)
    before = world.dump()

    world.cluster.suspect(worker, 1_000)
    world.cluster.suspect(WorkerId.mint(), 1_000)

    assert world.dump() == before


def test_a_stall_gives_everybody_one_full_lease(world: World) -> None:
    """Short leases are lengthened, none is shortened."""
    workers = [world.register() for _ in range(3)]
    world.passes(world.settings.lease + 60_000)
    fresh = world.register()

    assert world.cluster.spare() == 4
    assert world.dump().ordered["workers"] == dict.fromkeys([*workers, fresh], world.now + world.settings.lease)
    assert world.cluster.condemn()[1] == []


def test_who_listens_is_counted(world: World) -> None:
    """Nobody listens for a worker that is gone."""
    worker = world.register()

    assert world.cluster.listeners([worker]) == {worker: 0}
    assert world.cluster.listeners([]) == {}
    assert (world.cluster.pid_of(worker), world.cluster.pid_of("wkr_x")) == (100, 0)
