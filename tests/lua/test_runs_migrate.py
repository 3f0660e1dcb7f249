"""``runs/migrate``, and ``jobs/giveback`` of a run that was migrated after its message was made."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from dispatch_celery.store.client import RedisStore
from dispatch_celery.work.model import WorkRef
from dispatch_celery.work.scripts import Answer
from tests.lua.run_world import ENDS, RunWorld, run_world
from tests.lua.world import START

UNHELD = ("pending", "waiting", "parked")


@pytest.fixture
def world(store: RedisStore, namespace: str) -> Iterator[RunWorld]:
    """Return a world with runs."""
    yield from run_world(store, namespace)


def migrate(world: RunWorld, ref: WorkRef, expected: str, version: int = 2) -> Answer:
    """Pin a run to another version."""
    return world.runs.migrate(ref, expected, version, {"schema": 1, "version": version})


def versions(world: RunWorld, ref: WorkRef) -> tuple[str, int]:
    """Return the version of a run's record, and the one that its next wake-up is published under."""
    (stored,) = world.records.stored([ref.id])
    assert stored is not None
    return world.shown(ref)["version"], stored.ref.version


@pytest.mark.parametrize("state", UNHELD)
def test_a_run_that_nobody_holds_has_another_version(world: RunWorld, state: str) -> None:
    """Its record and its wake-ups say so, and the history; what it waits for stays."""
    ref = world.run_at(state, timeout=50_000)
    before = world.dump()

    verdict = migrate(world, ref, state).verdict

    assert verdict == ("READY" if state == "parked" else "DONE")
    assert versions(world, ref) == ("2", 2)
    assert world.shown(ref)["state"] == ("pending" if state == "parked" else state)
    assert world.waits_of(ref) == before.sets.get(f"run:{ref.id}:waits", set())
    assert world.due_of(ref)["deadline"] == START + 50_000
    told = next(entry for entry in world.dump().journal if entry["event"] == "dispatch.run.migrated")
    assert (told["from"], told["to"]) == ("", "2")


def test_a_parked_run_goes_on(world: RunWorld) -> None:
    """As when a person resumes it: what was said of it, and its crashes, are forgotten."""
    ref = world.run_at("parked")

    assert migrate(world, ref, "parked") == Answer("READY", "2")

    record = world.shown(ref)
    assert not {"reason", "detail", "parked_at", "crashes", "lost_workers"} & set(record)
    assert world.dump().ordered["marks"].keys() == {f"{ref.id}:2"}
    assert world.take(replace(ref, version=2), nonce="b").spec == b'{"schema":1,"version":2}'


def test_a_stranded_run_is_not_revived_under_its_old_version(world: RunWorld) -> None:
    """It is ready under the new one, and waits for no worker that knows the old one."""
    ref = world.start()
    world.jobs.give_back(ref, pause=10)
    world.runs.strand(ref, "nobody knows it")

    assert migrate(world, ref, "parked").verdict == "READY"
    assert "unknown" not in world.dump().ordered
    assert "unknown_since" not in world.shown(ref)


def test_a_run_under_way_keeps_its_version_until_it_rests(world: RunWorld) -> None:
    """Whoever holds it has begun with the old code; an ended run has nothing to go on with."""
    refs = {"running": world.taken().ref, **{state: world.run_at(state) for state in ENDS}}
    before = world.dump()

    for state, ref in refs.items():
        for expected in (state, *UNHELD):
            assert migrate(world, ref, expected) == Answer("STATE", state)
    gone = world.new_run().ref
    assert migrate(world, gone, "pending") == Answer("STATE", "missing")
    assert world.dump() == before


@pytest.mark.parametrize("state", UNHELD)
def test_a_run_in_another_state_than_the_caller_saw_is_left(world: RunWorld, state: str) -> None:
    """Its indexes would be the wrong ones."""
    ref = world.run_at(state)
    before = world.dump()

    for expected in UNHELD:
        if expected != state:
            assert migrate(world, ref, expected) == Answer("STATE", state)
    assert world.dump() == before


@pytest.mark.parametrize("state", UNHELD)
def test_a_migration_sent_again_has_one_effect(world: RunWorld, state: str) -> None:
    """Its reply was lost; the answer is the state by now, whoever has taken the run."""
    ref = world.run_at(state)
    migrate(world, ref, state)
    indexed = {
        name: found for name, found in world.dump().ordered.items() if name.startswith(("run-", "lane", "marks"))
    }

    again = migrate(world, ref, state)
    assert again == Answer("DONE", "pending" if state == "parked" else state)
    assert {
        name: found for name, found in world.dump().ordered.items() if name.startswith(("run-", "lane", "marks"))
    } == indexed
    if state != "waiting":
        world.take(ref, nonce="b")
        assert migrate(world, ref, state) == Answer("DONE", "running")
    assert migrate(world, ref, state, version=3).verdict == ("DONE" if state == "waiting" else "STATE")


# -- giveback


def test_an_old_message_of_a_migrated_run_is_published_again_at_once(world: RunWorld) -> None:
    """Under the version it has now; nobody has looked for that one in vain yet."""
    ref = world.start()
    world.jobs.clear_marks([(ref.id, "1")])
    migrate(world, ref, "pending")
    world.passes(500)

    assert world.jobs.give_back(ref, pause=9_000) == Answer("WAITING", str(START + 500))

    found = world.dump().ordered
    assert found["marks"] == {f"{ref.id}:1": START + 500}
    assert found["lane:q:0"] == {ref.id: START + 500}
    assert "unknown_since" not in world.shown(ref)
    assert versions(world, ref) == ("2", 2)


def test_a_run_whose_new_version_nobody_knows_waits_for_it(world: RunWorld) -> None:
    """The time begins with the first worker that was given the new version, and then it is told."""
    ref = world.start()
    world.passes(world.settings.unknown_grace)
    world.jobs.give_back(ref, pause=10)
    migrate(world, ref, "pending")
    world.passes(world.settings.unknown_grace)
    moved = replace(ref, version=2)

    assert world.jobs.give_back(ref, pause=10).verdict == "WAITING"
    assert world.jobs.give_back(moved, pause=10).verdict == "WAITING"
    assert world.shown(ref)["unknown_since"] == str(world.now)
    world.passes(world.settings.unknown_grace)
    assert world.jobs.give_back(ref, pause=10).verdict == "WAITING"
    assert world.jobs.give_back(moved, pause=10).verdict == "ABANDON"


def test_an_old_message_of_a_run_that_was_taken_is_a_leftover(world: RunWorld) -> None:
    """It has gone on under its new version already."""
    ref = world.start()
    migrate(world, ref, "pending")
    world.take(ref)
    before = world.dump()

    assert world.jobs.give_back(ref, pause=10) == Answer("LEFTOVER", "running")
    assert world.dump() == before
