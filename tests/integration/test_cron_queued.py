"""A slot that is queued, while its entry's policy is edited or the clock is set back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dispatch_celery.jobs.model import JobState
from tests.support.crons import MINUTE, CronWorld, cron_world


@pytest.fixture
def world(server_url: str, namespace: str) -> Iterator[CronWorld]:
    """Return an app with a cron leader, under a clock that only a test moves."""
    with cron_world(server_url, namespace) as made:
        yield made


@pytest.mark.parametrize("overlap", ["allow", "cancel_previous"])
def test_an_edit_of_the_policy_sets_a_queued_slot_free(world: CronWorld, overlap: str) -> None:
    """What it waits for hangs, so somebody lets slots overlap: it is fired, and so is every slot from now on."""
    world.register(overlap="queue_one")
    (first,) = world.after(MINUTE)
    world.after(MINUTE)
    assert world.outcomes() == ["fired", "queued"]

    world.register(overlap=overlap)
    world.after(20_000)
    assert world.outcomes()[2:] == ["fired"]
    world.after(MINUTE)

    assert world.outcomes()[2:] == ["fired", "fired"]
    assert len(world.work()) == 3
    hanging = world.dispatch.jobs.get(first).state
    assert hanging == (JobState.CANCELLED if overlap == "cancel_previous" else JobState.PENDING)


@pytest.mark.parametrize("overlap", ["skip", "queue_one"])
def test_a_slot_that_comes_again_takes_no_place(world: CronWorld, overlap: str) -> None:
    """The clock was set back behind a slot that was fired and works on, and its entry is edited then."""
    world.register(overlap=overlap)
    (first,) = world.after(MINUTE)
    world.passes(-MINUTE)

    world.register(schedule="*/1 * * * *", overlap=overlap)
    world.after(MINUTE)
    assert world.outcomes() == ["fired"]
    world.after(MINUTE)
    world.ends(first)
    world.after(20_000)

    assert world.outcomes()[1:] == (["queued", "fired"] if overlap == "queue_one" else ["overlapped"])
    assert len(world.work()) == (2 if overlap == "queue_one" else 1)
