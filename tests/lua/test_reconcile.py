"""What is put right when the server comes back as another run."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from dispatch_celery.cluster.reconcile import Reconcile
from dispatch_celery.cluster.recovery import Recovery
from dispatch_celery.jobs.model import JobRef
from dispatch_celery.store.scripts import Call
from dispatch_celery.work.model import WakeUp
from dispatch_celery.work.upkeep import House
from tests.lua.world import START, World


class Queue:
    """A broker that takes messages, and says how many it is told to hold."""

    def __init__(self, waiting: int | None) -> None:
        self.published: list[str] = []
        self._waiting = waiting

    def riders(self, wakeups: Sequence[WakeUp]) -> list[Call]:  # noqa: ARG002 - the port's signature
        """Ride on nothing."""
        return []

    def publish(self, wakeups: Sequence[WakeUp]) -> None:
        """Take messages."""
        self.published += [wakeup.ref.id for wakeup in wakeups]

    def waiting(self, queue: str) -> int | None:  # noqa: ARG002 - the port's signature
        """Return what the test says."""
        return self._waiting


def reconcile(world: World, waiting: int | None = 0, *, term: str = "") -> tuple[list[str], int]:
    """Let the server be another one than last time; return what was published, and the rounds it took."""
    queue = Queue(waiting)
    recovery = Recovery(
        store=world.jobs,
        records=world.records,
        cluster=world.cluster,
        publisher=queue,
        kinds=world.kinds,
        observer=lambda *_, **__: None,
    )
    house = House(
        store=world.jobs,
        records=world.records,
        keys=world.keys,
        publisher=queue,
        kinds=world.kinds,
        term=lambda: term,
    )
    duty = Reconcile(house, recovery)
    rounds = 1
    while duty.run_once() == 0:
        rounds += 1
        assert rounds < 100
    return queue.published, rounds


def test_a_server_seen_for_the_first_time_is_noted(world: World) -> None:
    """There is nothing to compare with, and nothing to do."""
    ref = world.enqueue()

    assert reconcile(world) == ([], 1)
    assert world.ask("HGET", world.keys.server, "run_id")
    assert reconcile(world) == ([], 1)
    assert world.record(ref)["state"] == "pending"


def another_run(world: World) -> None:
    """Make the server one that is not known yet."""
    world.ask("HSET", world.keys.server, "run_id", "the one before")


@pytest.mark.parametrize("lost", ["lease", "holding"])
def test_a_running_job_without_a_holder_is_released(world: World, lost: str) -> None:
    """Its registration, or its holding, is gone: ready again, and no attempt, crash or lost worker is counted."""
    held = world.running()
    another_run(world)
    if lost == "lease":
        world.ask("ZREM", world.keys.workers, held.holder)
    else:
        world.ask("HDEL", world.keys.held(held.holder), held.ref.id)

    published, _ = reconcile(world, None)

    record = world.record(held.ref)
    assert (record["state"], published) == ("pending", [held.ref.id])
    assert not {"attempts", "crashes", "lost_workers"} & record.keys()
    assert world.end("complete", held).verdict == "FENCED"


def test_a_running_job_with_a_holder_is_left_alone(world: World) -> None:
    """The lease and the worker itself look after it."""
    held = world.running()
    another_run(world)

    assert reconcile(world)[0] == []
    assert world.end("complete", held).verdict == "DONE"


@pytest.mark.parametrize("state", ["scheduled", "retrying"])
def test_a_lost_timer_is_armed_for_its_stored_time(world: World, state: str) -> None:
    """Not for now, and not anew."""
    ref = world.at(state)
    due = world.dump().ordered["timers"][ref.id]
    world.ask("ZREM", world.keys.timers, ref.id)
    another_run(world)
    world.passes(3_000)

    reconcile(world)

    assert world.dump().ordered["timers"] == {ref.id: due}


def test_a_ready_job_outside_of_its_lane_is_published(world: World) -> None:
    """It is in its lane again, as published now."""
    ref = world.enqueue()
    world.ask("ZREM", world.keys.lane(ref.lane), ref.id)
    world.jobs.clear_marks([(ref.id, "1")])
    another_run(world)
    world.passes(50)

    assert reconcile(world, None)[0] == [ref.id]
    assert world.dump().ordered[f"lane:{ref.lane}"] == {ref.id: START + 50}


def test_as_many_are_published_as_messages_are_missing(world: World) -> None:
    """The longest published first; a backlog whose messages are all there is left alone."""
    refs: list[JobRef] = []
    for _ in range(5):
        refs.append(world.enqueue())
        world.passes(1)
    another_run(world)

    assert reconcile(world, 5)[0] == []
    another_run(world)
    assert reconcile(world, 3)[0] == [refs[0].id, refs[1].id]
    another_run(world)
    assert reconcile(world, None)[0] == []


def test_thousands_are_looked_at_in_slices(world: World) -> None:
    """No round is longer than a slice; all of them together miss nothing."""
    jobs = [world.job() for _ in range(1_200)]
    world.jobs.enqueue(jobs)
    world.jobs.clear_marks([(job.ref.id, "1") for job in jobs])
    another_run(world)
    world.passes(1)

    published, rounds = reconcile(world, 0)

    assert sorted(published) == sorted(job.ref.id for job in jobs)
    assert rounds > 5


def test_a_failed_round_starts_again_and_the_run_is_noted_at_the_end_only(world: World) -> None:
    """A leader that lost its lead in between leaves the work to the next one."""
    ref = world.at("scheduled")
    world.ask("ZREM", world.keys.timers, ref.id)
    another_run(world)
    world.leader()

    with pytest.raises(Exception, match="another term"):
        reconcile(world, term="7.stale")

    assert world.ask("HGET", world.keys.server, "run_id") == b"the one before"
    reconcile(world)
    assert ref.id in world.dump().ordered["timers"]
