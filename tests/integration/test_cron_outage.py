"""An outage ends no declaration: while the server was away, nobody could say that it lives on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dispatch_celery import CronState
from dispatch_celery.cron.registrar import Registrar
from tests.support.crons import MINUTE, CronWorld, cron_world


@pytest.fixture
def world(server_url: str, namespace: str) -> Iterator[CronWorld]:
    """Return a world in a namespace of its own."""
    with cron_world(server_url, namespace) as made:
        yield made


@pytest.fixture
def registrar(world: CronWorld) -> Registrar:
    """Return the way in of a process whose code declares an entry."""
    world.dispatch.cron("* * * * *", name="declared")(world.tick)
    made = world.parts.make_registrar(world.parts.store)
    assert made.declare() == 1
    return made


def test_an_outage_longer_than_the_grace_orphans_nothing(world: CronWorld, registrar: Registrar) -> None:
    """Whoever leads first afterwards lets every process say what it declares before it misses anything."""
    world.fire()
    world.passes(20 * MINUTE)
    fresh = world.lead()

    world.fire(fresh)
    assert world.entry("declared").state == CronState.ENABLED
    registrar.touch()
    fresh._orphans_at = 0
    world.passes(MINUTE)
    world.fire(fresh)
    assert world.entry("declared").state == CronState.ENABLED


def test_an_entry_that_was_orphaned_goes_on_when_a_live_process_declares_it(
    world: CronWorld, registrar: Registrar
) -> None:
    """A process that was cut off and comes back needs no restart for it."""
    world.fire()
    world.passes(20 * MINUTE)
    world.leader._orphans_at = 0
    world.leader.run_once()
    assert world.entry("declared").state == CronState.ORPHANED

    registrar.touch()
    assert world.entry("declared").state == CronState.ENABLED
    assert len(world.after(MINUTE)) > 0
