"""More lanes than one slice holds: what is ready in any of them is counted, and found when its message is lost."""

from __future__ import annotations

import pytest

from dispatch_celery.jobs.listing import JobListing
from dispatch_celery.jobs.model import JobRef
from dispatch_celery.work.upkeep import House, WakeUps
from tests.lua.test_reconcile import Queue, another_run, reconcile
from tests.lua.world import World

MANY = 2_500


@pytest.fixture
def refs(world: World) -> list[JobRef]:
    """Return a job in each of many queues."""
    jobs = [world.job(queue=f"q{n}") for n in range(MANY)]
    for at in range(0, MANY, 500):
        world.jobs.enqueue(jobs[at : at + 500])
    return [job.ref for job in jobs]


def test_what_is_ready_is_counted_in_every_lane(world: World, refs: list[JobRef]) -> None:
    """Each once, whatever the server tells twice."""
    ready = JobListing(world.port, world.keys, world.records).ready()

    assert ready == {ref.queue: 1 for ref in refs}


def test_a_lost_message_is_found_in_every_lane(world: World, refs: list[JobRef]) -> None:
    """In slices, one after the other, until all have been looked at."""
    queue = Queue(0)
    house = House(
        store=world.jobs,
        records=world.records,
        keys=world.keys,
        publisher=queue,
        kinds=world.kinds,
        term=lambda: "",
    )
    duty = WakeUps(house, lambda: world.now)
    world.passes(WakeUps.EMPTY_AFTER)
    rounds = 1
    while duty.run_once() == 0:
        rounds += 1
        assert rounds < 100

    assert sorted(queue.published) == sorted(ref.id for ref in refs)
    assert rounds > 1


def test_every_lane_is_mended_when_the_server_came_back(world: World, refs: list[JobRef]) -> None:
    """It lost its queues, and kept its records."""
    reconcile(world)
    another_run(world)

    published, _ = reconcile(world)

    assert sorted(published) == sorted(ref.id for ref in refs)
