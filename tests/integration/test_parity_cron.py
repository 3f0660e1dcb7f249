"""What the engine we measure ourselves by tests of its cron, and the defects of it that ours must not have."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from dispatch_celery import CronId, CronState, Extension, JobId, Scope, signals
from dispatch_celery.errors import InvalidSchedule
from dispatch_celery.store.replies import ask
from dispatch_celery.store.scripts import Call
from dispatch_celery.work import spans
from tests.support.crons import MINUTE, START, CronWorld, Dying, cron_world
from tests.support.invariants import dump

NOON = START.replace(second=0)


@pytest.fixture
def world(server_url: str, namespace: str) -> Iterator[CronWorld]:
    """Return a world in a namespace of its own."""
    with cron_world(server_url, namespace) as made:
        yield made


def test_fires_on_schedule_and_enqueues_a_job(world: CronWorld) -> None:
    """An entry that is due creates a job of its name, with its arguments."""
    world.register("*/2 * * * *", arguments={"n": 7})
    assert world.after(MINUTE) == []

    (job_id,) = world.after(MINUTE)
    assert world.dispatch.jobs.get(job_id).arguments == {"n": 7}


def test_skips_disabled(world: CronWorld) -> None:
    """An entry that is disabled creates nothing."""
    world.register()
    world.dispatch.crons.disable("e")

    assert world.after(10 * MINUTE) == []


def test_a_non_leader_skips(world: CronWorld) -> None:
    """Who does not lead fires nothing, although it is due."""
    world.register()
    world.fire()
    other = world.lead()
    world.passes(MINUTE)
    world.leader._store.lead(world.leader._holder, world.leader._nonce, lease=5_000)
    other.run_once()

    assert (world.work(), other.term) == ([], "")


def test_computes_the_next_run(world: CronWorld) -> None:
    """When it is registered, and after each fire."""
    assert world.register("*/5 * * * *").next_fire_at == NOON + timedelta(minutes=5)
    world.after(5 * MINUTE)

    assert world.entry().next_fire_at == NOON + timedelta(minutes=10)


def test_no_lock_is_needed_to_prevent_a_double_fire(world: CronWorld) -> None:
    """Ten leaders at once, none of which asks for the lead."""
    world.register()
    world.passes(MINUTE)
    lead = world.leader._store.lead("somebody", "n", lease=60_000)
    for carrier in [world.lead() for _ in range(10)]:
        carrier._fire(lead)

    assert len(world.work()) == 1


def test_a_leaders_look_reads_no_entry(world: CronWorld) -> None:
    """One command tells it that nothing is due; a slot of an entry it knows costs the script and its message."""
    counting = Dying(world.parts.store, at=0, after=False)
    leader = world.lead(counting)
    for name in ("a", "b", "c"):
        world.register(name=name)
    world.passes(MINUTE)
    world.fire(leader)
    before = counting.sent
    for _ in range(5):
        leader.run_once()
    assert counting.sent - before == 5
    world.passes(MINUTE)
    before = counting.sent
    leader.run_once()

    assert counting.sent - before == 1 + 3 + 2  # the look, three scripts, one push of their messages and its note


def test_an_idle_non_leader_issues_no_writes(world: CronWorld) -> None:
    """It looks, and what is stored stays as it is."""
    world.register()
    world.fire()
    other = world.lead()
    before = dump(world.parts.store, world.parts.keys.tag)
    for _ in range(5):
        other.run_once()

    assert dump(world.parts.store, world.parts.keys.tag) == before


def test_what_a_leader_has_read_is_refreshed(world: CronWorld) -> None:
    """An edit through another process is what the next slot is fired with."""
    world.register(arguments={"n": 1})
    world.after(MINUTE)
    other = CronWorld.__new__(CronWorld)
    other.__dict__.update(world.__dict__)
    other.register("* * * * *", arguments={"n": 2})
    (_, second) = world.after(MINUTE)

    assert world.dispatch.jobs.get(second).arguments == {"n": 2}


def test_registering_is_idempotent(world: CronWorld) -> None:
    """The same again is one entry, at the same revision."""
    first, second = world.register(), world.register()

    assert (first.id, first.revision) == (second.id, second.revision)
    assert len(world.dispatch.crons.list()) == 1


def test_an_entry_keeps_no_trace_of_who_registered_it(world: CronWorld) -> None:
    """Each worker that starts registers it in another trace: it is the same entry all the same."""
    before = spans._follower
    carriers = iter(f"00-{n:032x}-{n:016x}-01" for n in range(1, 9))
    spans.follow(SimpleNamespace(made=lambda *_: {"traceparent": next(carriers)}, here=str))  # type: ignore[arg-type]  # what a registration asks of one
    try:
        first, second = world.register(), world.register()
    finally:
        spans.follow(before)

    assert first.revision == second.revision
    assert spans.TRACE not in first.template.spec


def test_registering_an_invalid_schedule_is_refused(world: CronWorld) -> None:
    """And nothing is stored."""
    with pytest.raises(InvalidSchedule):
        world.register("not a schedule")
    assert len(world.dispatch.crons.list()) == 0


def test_extensions_and_signals_hear_of_a_fire(world: CronWorld) -> None:
    """Once, with the entry, its slot and what it created; one that raises loses no fire."""
    heard: list[Any] = []

    class Broken(Extension):
        def on_cron_fired(self, *_args: Any, **_facts: Any) -> None:
            raise RuntimeError("not today")

    class Hearing(Extension):
        def on_cron_fired(self, cron: CronId, name: str, slot: Any, id: Any, late: float) -> None:  # noqa: A002 - its word
            heard.append((cron, name, slot, id, late))

    def told(**facts: Any) -> None:
        heard.append(facts["name"])

    world.dispatch.add_extension(Broken())
    world.dispatch.add_extension(Hearing())
    signals.cron_fired.connect(told)
    try:
        world.leader = world.parts.make_firing(world.parts.store, world.parts.observer)
        entry = world.register()
        world.passes(MINUTE - 25_000)
        world.fire()
    finally:
        signals.cron_fired.disconnect(told)

    (job_id,) = world.work()
    assert heard == ["e", (entry.id, "e", NOON + timedelta(minutes=1), JobId(job_id), 5.0)]


# -- defects that may not come back


def test_a_crash_between_enqueue_and_update_cannot_double_a_fire(world: CronWorld) -> None:
    """D 14: both are one script, under an id that entry and slot decide."""
    first = world.register()
    (job_id,) = world.after(MINUTE)

    assert job_id == JobId.derive(first.id, f"slot {int(NOON.timestamp() + 60) * 1000}", time_ms=JobId(job_id).time_ms)
    assert JobId(job_id).time_ms == int(NOON.timestamp() + 60) * 1000


def test_a_disable_is_not_undone_by_a_leaders_copy(world: CronWorld) -> None:
    """D 25: the leader had read the entry when it was enabled."""
    world.register()
    world.after(MINUTE)
    world.dispatch.crons.disable("e")
    for _ in range(3):
        world.after(MINUTE)

    assert world.entry().state == CronState.DISABLED
    assert len(world.work()) == 1


def test_the_last_run_is_kept(world: CronWorld) -> None:
    """D 25: with its moment, its slot and what it created."""
    world.register()
    (job_id,) = world.after(MINUTE)
    entry = world.entry()

    assert (entry.last_id, entry.last_slot) == (job_id, int(NOON.timestamp() + 60) * 1000)
    assert entry.last_fire_at == START + timedelta(minutes=1)


def test_a_schedule_changed_in_code_takes_effect(world: CronWorld) -> None:
    """D 25: when a worker of the new code starts; what a person has edited of an unchanged one stays."""
    dispatch, registrar = world.dispatch, world.parts.make_registrar(world.parts.store)
    dispatch.cron("*/5 * * * *", name="declared")(world.tick)
    assert registrar.declare() == 1
    assert registrar.declare() == 0
    dispatch.crons.register("declared", "*/7 * * * *", "tick")
    assert registrar.declare() == 0
    assert world.entry("declared").schedule == "*/7 * * * *"

    world.parts.cron_declarations._declared.clear()
    dispatch.cron("*/9 * * * *", name="declared", scope=Scope(app_id="a"))(world.tick)
    assert registrar.declare() == 1
    entry = world.entry("declared")
    assert (entry.schedule, entry.scope, entry.origin) == ("*/9 * * * *", Scope(app_id="a"), "code")


def test_an_entry_that_is_enabled_after_a_week_fires_nothing_stale(world: CronWorld) -> None:
    """D 25: its next slot counts from now."""
    world.register()
    world.dispatch.crons.disable("e")
    world.passes(7 * 24 * 60 * MINUTE)
    world.dispatch.crons.enable("e")

    assert world.after(0) == []


def test_an_entry_that_cannot_be_parsed_does_not_fire_every_tick(world: CronWorld) -> None:
    """D 25: it fires not at all, and is looked at once a minute."""
    entry = world.register()
    ask(world.parts.store, Call.command("HSET", world.parts.keys.cron(entry.id), "schedule", "nonsense"))
    for _ in range(5):
        world.after(MINUTE)

    assert world.work() == []


def test_an_entry_removed_from_code_does_not_fire_for_ever(world: CronWorld) -> None:
    """It is orphaned when no live process has declared it for the grace, and says so; declared again, it goes on."""
    world.dispatch.cron("0 * * * *", name="declared")(world.tick)
    registrar = world.parts.make_registrar(world.parts.store)
    registrar.declare()
    world.fire()
    for _ in range(3):
        world.passes(9 * MINUTE)
        registrar.touch()
        _sweep(world)
    assert world.entry("declared").state == CronState.ENABLED

    world.passes(10 * MINUTE + 1)
    _sweep(world)
    entry = world.entry("declared")
    assert (entry.state, entry.next_fire_at) == (CronState.ORPHANED, None)
    assert world.after(120 * MINUTE) == []
    assert [one.name for one in world.dispatch.crons.list(state="orphaned")] == ["declared"]

    assert registrar.declare() == 1
    world.fire()
    assert world.entry("declared").state == CronState.ENABLED
    assert len(world.work()) == 1  # of those missed meanwhile, the last
    assert len(world.after(60 * MINUTE)) == 2


def _sweep(world: CronWorld) -> None:
    """Let a leader look for orphans, as it does once a minute by its own clock."""
    world.leader._orphans_at = 0
    world.leader.run_once()


def test_one_bad_declaration_does_not_keep_the_others_from_being_registered(
    world: CronWorld, caplog: pytest.LogCaptureFixture
) -> None:
    """Its arguments have the wrong type, which is seen when they are bound; it is logged by name."""
    world.dispatch.cron("@daily", name="bad", arguments={"n": "three"})(world.tick)
    world.dispatch.cron("@daily", name="good")(world.tick)

    assert world.parts.make_registrar(world.parts.store).declare() == 1
    assert [entry.name for entry in world.dispatch.crons.list()] == ["good"]
    assert "'bad'" in caplog.text
