"""``dispatch explain`` of runs against a real server: what surrounds a run is read from where workers leave it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dispatch_celery.clock import wall_ms
from dispatch_celery.store.client import RedisStore
from tests.lua.run_world import RunWorld, asleep, run_world
from tests.support.command_line import CommandLine, order_desk


@pytest.fixture
def world(store: RedisStore, namespace: str) -> Iterator[RunWorld]:
    """Return a namespace to put runs into, under the server's own clock."""
    for world in run_world(store, namespace):
        world.time.now = None
        yield world


@pytest.fixture
def line(world: RunWorld, namespace: str, server_url: str) -> Iterator[CommandLine]:
    """Return the command line of an app that declares one workflow."""
    with order_desk(namespace, server_url) as line:
        yield line


def test_explain_reads_what_surrounds_a_run(world: RunWorld, line: CommandLine) -> None:
    """Its place in the queue, its holder, its times and what it waits for come from the server."""
    world.time.now = wall_ms() - 1_000
    first = world.start()
    world.time.now = None
    second = world.start(timeout=60_000)
    ready = line.json("explain", second.id)
    assert (ready["kind"], ready["state"]) == ("run", "pending")
    assert "with 1 other of its priority ahead. No worker is live" in ready["explanation"]
    assert "worker -Q q`" in ready["advice"]

    claim = world.take(first)
    running = line.json("explain", first.id)
    assert f"({claim.holder} on " in running["explanation"]
    assert "is at its first call" in running["explanation"]
    assert running["worker"] == claim.holder
    world.note(claim, "charge#1")
    assert "the call after step charge#1, the last of 1 recorded call" in line.ok("explain", first.id)
    world.runs.suspend(claim, [asleep(3_600_000)])
    waiting = line.json("explain", first.id)
    assert "it waits for sleep#1: its end is due 20" in waiting["explanation"]
    assert (waiting["next_at"] > waiting["since"], waiting["worker"]) == (True, None)
    limited = world.take(second)
    world.runs.suspend(limited, [asleep(3_600_000)])
    assert "before that, its timeout cancels it 20" in line.ok("explain", second.id)


def test_explain_tells_why_a_run_starts_later_or_again(world: RunWorld, line: CommandLine) -> None:
    """A delayed start and the pause after a crash are told with their time."""
    delayed = world.start(delay=3_600_000)
    crashed = world.taken()
    world.release(crashed, counter="crashes", pause=60_000)

    assert "its start is due 20" in line.ok("explain", delayed.id)
    said = line.ok("explain", crashed.ref.id)
    assert "because its process died (crashes: 1); nobody holds it, and it waits: its next turn is due 20" in said


def test_explain_shows_both_sequences_of_a_changed_run(world: RunWorld, line: CommandLine) -> None:
    """The detail is printed line by line under the sentence, and is a field of its own in JSON."""
    detail = "the code calls step b#1 where step a#1 is recorded.\nrecorded: step a#1\ncode:     step b#1"
    claim = world.taken()
    world.runs.park(claim.ref, holder=claim.holder, token=claim.token, reason="its code has changed", detail=detail)

    said = line.ok("explain", claim.ref.id)
    assert f"only a person lets it go on.\n{detail}\nPut the old code back" in said
    assert f"dispatch runs resume {claim.ref.id}`" in said
    assert line.json("explain", claim.ref.id)["detail"] == detail


def test_an_unknown_version_is_explained(world: RunWorld, line: CommandLine) -> None:
    """Since when no live worker has it, and when the run is parked; then, what lets it go on."""
    world.register()
    ref = world.start(name="order")
    world.jobs.give_back(ref, pause=1_000)

    said = line.ok("explain", ref.id)
    assert "no live worker has known version 1 of the workflow 'order' since 20" in said
    assert "it is parked 20" in said
    assert world.runs.strand(ref, "nobody").verdict == "DONE"
    assert "Deploy a worker that declares version 1 of the workflow 'order': the run goes on by itself" in line.ok(
        "explain", ref.id
    )
