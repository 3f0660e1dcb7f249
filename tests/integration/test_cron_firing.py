"""The firing of cron entries over a real server: each slot once, whoever leads and wherever it dies."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dispatch_celery import CronConflict, CronNotFound, CronState, JobState, Scope
from dispatch_celery.cron.definition import CronOptions
from dispatch_celery.errors import ConfigurationError, InvalidSchedule, LeadershipLost, PayloadError
from dispatch_celery.store.replies import ask
from dispatch_celery.store.scripts import Call
from tests.support.crons import MINUTE, START, CronWorld, Died, Dying, cron_world, stamp


@pytest.fixture
def world(server_url: str, namespace: str) -> Iterator[CronWorld]:
    """Return a world in a namespace of its own."""
    with cron_world(server_url, namespace) as made:
        yield made


def minutes(*numbers: int) -> list[datetime]:
    """Return moments by their minute past noon."""
    return [START.replace(second=0) + timedelta(minutes=number) for number in numbers]


# -- slots


def test_an_entry_fires_at_its_slots(world: CronWorld) -> None:
    """Not before, and each slot once; the job is ready, and its message is sent."""
    world.register(arguments={"n": 3}, scope=Scope(app_id="a", org_id="o"))
    assert world.after(0) == []

    (first,) = world.after(MINUTE)
    job = world.dispatch.jobs.get(first)
    assert (job.state, job.arguments, job.scope.path, job.name) == (JobState.PENDING, {"n": 3}, "a/o", "tick")
    assert world.slots() == minutes(1)
    assert world.messages() == 1
    world.fire()
    assert world.work() == [first]

    world.after(MINUTE)
    assert world.slots() == minutes(1, 2)
    assert [facts["name"] for facts in world.fired()] == ["e", "e"]
    assert [facts["slot"] for facts in world.fired()] == minutes(1, 2)


def test_a_workflow_is_started(world: CronWorld) -> None:
    """With its version, its arguments and its deadline."""
    world.register(target="flow", arguments={"n": 4})

    (run_id,) = world.after(MINUTE)

    run = world.dispatch.runs.get(run_id)
    assert (run.name, run.version, run.arguments) == ("flow", 1, {"n": 4})
    assert ask(world.parts.store, Call.command("ZSCORE", world.parts.keys.timers, run_id)) is not None


def test_a_slot_is_published_on_a_broker_that_is_no_redis(server_url: str, namespace: str) -> None:
    """In a trip of its own, after the script; its mark is cleared then."""
    with cron_world(server_url, namespace, broker="memory://") as world:
        world.register()
        world.register(name="one", overlap="queue_one")
        world.after(MINUTE)
        world.dispatch.crons.trigger("e")

        assert len(world.work()) == 3
        assert world.messages() == 3
        assert ask(world.parts.store, Call.command("ZCARD", world.parts.keys.marks)) == 0


def test_two_leaders_fire_a_slot_once(world: CronWorld) -> None:
    """Both believe they lead, and both know the entry: the script of the second changes nothing."""
    world.register()
    world.fire()
    other = world.lead()
    world.passes(MINUTE)
    store, lead = world.parts.store, other._store
    world.leader.run_once()
    ask(store, Call.command("DEL", world.parts.keys.cron_leader))  # the lock is deleted
    other.run_once()
    world.leader.run_once()

    assert len(world.work()) == 1
    assert lead.time() == world.now


def test_a_leader_whose_term_is_over_fires_nothing(world: CronWorld) -> None:
    """It stalled for longer than its lease, and went on where it was: between its look and its scripts."""
    world.register()
    world.fire()
    other, leader = world.lead(), world.leader
    world.passes(MINUTE)
    seen = leader._store.lead(leader._holder, leader._nonce, lease=5_000)
    world.passes(6_000)
    assert other._store.lead(other._holder, other._nonce, lease=5_000).term != seen.term

    with pytest.raises(LeadershipLost):
        leader._fire(seen)
    assert world.work() == []

    world.fire(other)
    assert world.slots() == minutes(1)


def test_another_takes_over_when_the_leader_is_silent(world: CronWorld) -> None:
    """For its lease nobody else fires; then the next who looks does, and finds every slot."""
    world.register(misfire="all(10)")
    world.fire()
    other = world.lead()
    assert other.run_once() > 0
    assert other.term == ""

    world.passes(3 * MINUTE)
    world.fire(other)

    assert other.term
    assert world.slots() == minutes(1, 2, 3)


def test_a_leader_that_resigns_is_followed_at_once(world: CronWorld) -> None:
    """Nobody waits for the end of its lease."""
    world.register()
    world.fire()
    world.leader.resign()
    other = world.lead()
    other.run_once()

    assert other.term


@pytest.mark.parametrize("overlap", ["allow", "skip", "cancel_previous", "queue_one"])
@pytest.mark.parametrize("misfire", ["once", "all(3)"])
def test_a_leader_killed_between_any_two_commands_neither_doubles_nor_loses_a_slot(
    server_url: str, namespace: str, overlap: str, misfire: str
) -> None:
    """Before and after each of them; whoever leads next ends what it began, and the history is the same."""
    expected, sent = _history(server_url, f"{namespace}-0", overlap, misfire, at=0, after=False)
    assert sent > 10
    for number in range(1, sent + 1):
        for after in (False, True):
            name = f"{namespace}-{number}-{int(after)}"
            found, _ = _history(server_url, name, overlap, misfire, at=number, after=after)
            assert found == expected, (number, after)


def _history(url: str, namespace: str, overlap: str, misfire: str, *, at: int, after: bool) -> tuple[Any, int]:
    """Return what was fired in a short history in which two leaders take turns, and what the first one sent."""
    with cron_world(url, namespace) as world:
        dying, is_alive = Dying(world.parts.store, at=at, after=after), True
        first, second = world.lead(dying), world.leader
        world.register(overlap=overlap, misfire=misfire)
        for step in (MINUTE, 3 * MINUTE, MINUTE):
            world.passes(step)
            if is_alive:
                try:
                    world.fire(first)
                except Died:
                    is_alive = False
            world.passes(6_000)  # its lease is over, whether it lives or not
            world.fire(second)
            for job in world.dispatch.jobs.list(state="pending"):
                world.ends(job.id)
            world.passes(2_000)
            world.fire(second)
        assert is_alive is (at == 0)
        slots = {job.id: str(job.state) for job in world.dispatch.jobs.list()}
        return (sorted(slots.items()), world.entry().next_fire_at), dying.sent


# -- edits


def test_an_edit_is_never_undone_by_what_a_leader_remembers(world: CronWorld) -> None:
    """A leader that has read the entry before it was disabled, or given other arguments, uses what is stored."""
    world.register(arguments={"n": 1})
    world.after(MINUTE)
    world.register(arguments={"n": 2})
    (*_, second) = world.after(MINUTE)
    assert world.dispatch.jobs.get(second).arguments == {"n": 2}

    world.dispatch.crons.disable("e")
    assert len(world.after(5 * MINUTE)) == 2
    assert world.entry().state == CronState.DISABLED


def test_an_edit_that_makes_a_schedule_denser_is_seen_at_once(world: CronWorld) -> None:
    """The leader remembers a slot that is an hour away."""
    world.register("1 * * * *")
    world.after(MINUTE)
    world.register("* * * * *")
    world.after(MINUTE)

    assert world.slots() == minutes(1, 2)


def test_an_edit_that_leaves_the_schedule_loses_no_slot(world: CronWorld) -> None:
    """A slot that is due and not fired yet is fired with what the entry says now."""
    world.register(arguments={"n": 1})
    world.fire()
    world.passes(MINUTE)
    world.register(arguments={"n": 2})
    world.fire()

    (job,) = world.dispatch.jobs.list()
    assert job.arguments == {"n": 2}
    assert world.slots() == minutes(1)


def test_an_entry_that_is_enabled_again_does_not_fire_a_stale_slot(world: CronWorld) -> None:
    """It was disabled for an hour: the next slot counts from now."""
    world.register()
    world.dispatch.crons.disable("e")
    world.passes(60 * MINUTE)
    entry = world.dispatch.crons.enable("e")

    assert world.after(0) == []
    assert entry.next_fire_at == minutes(61)[0]
    world.after(MINUTE)
    assert world.slots() == minutes(61)


def test_the_later_of_two_edits_is_told(world: CronWorld) -> None:
    """Who edits what he has not seen changes nothing, and learns so."""
    seen = world.register()
    world.register("*/5 * * * *", revision=seen.revision)

    with pytest.raises(CronConflict, match="edited meanwhile"):
        world.register("*/7 * * * *", revision=seen.revision)
    with pytest.raises(CronConflict):
        world.dispatch.crons.disable("e", revision=seen.revision)
    with pytest.raises(CronConflict):
        world.dispatch.crons.delete("e", revision=seen.revision)
    assert world.entry().schedule == "*/5 * * * *"
    with pytest.raises(CronConflict, match="there is no cron entry 'f' yet"):
        world.dispatch.crons.register("f", "@daily", "j", revision=7)


def test_two_edits_at_once_conflict(world: CronWorld) -> None:
    """Both have read the entry before either writes."""
    world.register()
    entry = world.parts.crons._registrar.registration("e", "*/9 * * * *", "tick", CronOptions())
    call = world.parts.crons._store.registering(entry, next_slot=1, next_due=1, expected=1)
    world.register("*/8 * * * *")

    assert world.parts.crons._store.registered([call]) == [("CONFLICT", 2)]


def test_registering_the_same_again_changes_nothing(world: CronWorld) -> None:
    """Neither its revision nor its next slot."""
    first = world.register()
    world.passes(10_000)

    assert world.register().revision == first.revision
    assert world.register("*/2 * * * *").revision == first.revision + 1


# -- misfires


@pytest.mark.parametrize(
    ("misfire", "fired"), [("skip", [10]), ("once", [9, 10]), ("all(3)", [7, 8, 9, 10]), ("all(99)", [*range(1, 11)])]
)
def test_missed_slots_are_treated_by_their_policy(world: CronWorld, misfire: str, fired: list[int]) -> None:
    """Ten minutes of standstill: the last slot is still on time, of those before the policy says which are fired."""
    world.register(misfire=misfire)
    world.fire()
    world.after(10 * MINUTE)

    assert world.slots() == minutes(*fired)
    world.after(MINUTE)
    assert world.slots()[-1:] == minutes(11)


def test_a_long_standstill_of_a_busy_schedule_is_bounded(world: CronWorld) -> None:
    """A slot each second, missed for a month: who leads looks at few of them."""
    world.register("* * * * * *", misfire="all(5)")
    world.fire()
    world.passes(30 * 24 * 60 * MINUTE)
    world.fire()

    assert len(world.work()) == 61 + 5


# -- overlap


def test_skip_passes_a_slot_over_while_the_one_before_goes_on(world: CronWorld) -> None:
    """When it has ended, the next slot is fired."""
    world.register(overlap="skip")
    (first,) = world.after(MINUTE)
    assert world.after(MINUTE) == [first]
    world.ends(first)
    world.after(MINUTE)

    assert world.slots() == minutes(1, 3)
    assert world.outcomes() == ["fired", "overlapped", "fired"]


def test_cancel_previous_fires_and_cancels_the_one_before(world: CronWorld) -> None:
    """One that is held is asked to end; one that waits ends at once."""
    world.register(overlap="cancel_previous")
    (first,) = world.after(MINUTE)
    world.after(MINUTE)
    world.fire()

    assert world.dispatch.jobs.state(first) == JobState.CANCELLED
    assert world.slots() == minutes(1, 2)
    assert ask(world.parts.store, Call.command("ZCARD", world.parts.keys.cron_chores)) == 0


def test_queue_one_fires_when_the_one_before_has_ended(world: CronWorld) -> None:
    """One slot waits, those after it are passed over; it keeps its own id."""
    world.register(overlap="queue_one")
    (first,) = world.after(MINUTE)
    assert world.after(MINUTE) == [first]
    assert world.after(MINUTE) == [first]
    world.ends(first)
    world.after(1_000)

    assert world.slots() == minutes(1, 2)
    assert world.outcomes() == ["fired", "queued", "overlapped", "fired"]
    assert world.messages() == 2


def test_a_queued_slot_is_forgotten_when_its_entry_is_disabled(world: CronWorld) -> None:
    """Nothing is fired behind the back of who has paused it."""
    world.register(overlap="queue_one")
    (first,) = world.after(MINUTE)
    world.after(MINUTE)
    world.dispatch.crons.disable("e")
    world.ends(first)

    assert world.after(5_000) == [first]


# -- jitter, dates


def test_jitter_delays_a_slot_by_a_part_that_only_entry_and_slot_decide(world: CronWorld) -> None:
    """It is never early, never later than the jitter, and not the same for every entry."""
    entries = [world.register(name=f"e{n}", jitter=30) for n in range(20)]
    delays = {(entry.next_fire_at or START) - minutes(1)[0] for entry in entries}
    assert all(timedelta(0) <= delay <= timedelta(seconds=30) for delay in delays)
    assert len(delays) > 10

    world.passes(30_000)
    world.fire()
    world.after(30_000)
    assert world.slots() == minutes(1) * 20


def test_an_entry_fires_between_its_dates(world: CronWorld) -> None:
    """From the start date on; after the end date it is finished, and says so."""
    world.register(start=minutes(2)[0], end=minutes(3)[0])
    for _ in range(6):
        world.after(MINUTE)

    assert world.slots() == minutes(2, 3)
    assert (world.entry().state, world.entry().next_fire_at) == (CronState.FINISHED, None)
    assert ask(world.parts.store, Call.command("ZCARD", world.parts.keys.cron_slots)) == 0


# -- by hand


def test_trigger_runs_an_entry_now_and_leaves_its_slots(world: CronWorld) -> None:
    """Also one that is disabled; listeners hear of it, without a slot."""
    before = world.register().next_fire_at
    world.dispatch.crons.disable("e")
    job_id = world.dispatch.crons.trigger("e")

    assert world.dispatch.jobs.state(job_id) == JobState.PENDING
    assert world.messages() == 1
    world.dispatch.crons.enable("e")
    assert world.entry().next_fire_at == before
    assert [fire.outcome for fire in world.entry().fires] == ["triggered"]
    assert world.entry().fires[0].id == job_id


def test_an_entry_is_deleted_and_what_it_created_goes_on(world: CronWorld) -> None:
    """It is found no more, and fires no more."""
    world.register()
    (first,) = world.after(MINUTE)
    world.dispatch.crons.delete("e")

    for verb in (world.dispatch.crons.get, world.dispatch.crons.trigger, world.dispatch.crons.delete):
        with pytest.raises(CronNotFound):
            verb("e")
    assert world.after(5 * MINUTE) == [first]


def test_an_entry_tells_its_last_and_its_next_fires(world: CronWorld) -> None:
    """The last twenty, and the next five."""
    world.register()
    for _ in range(25):
        world.after(MINUTE)
    entry = world.entry()

    assert [fire.slot for fire in entry.fires] == minutes(*range(25, 5, -1))
    assert list(entry.next_fires) == minutes(*range(26, 31))
    assert entry.last_fire_at == datetime.fromtimestamp(world.now / 1000, UTC)


def test_entries_are_listed_by_filters(world: CronWorld) -> None:
    """By state, by what they call, by tenant; in pages."""
    for n in range(5):
        world.register(name=f"e{n}", target="flow" if n == 4 else "tick", scope=Scope(app_id=f"a{n % 2}"))
        world.passes(1)
    world.dispatch.crons.disable("e3")
    names = [entry.name for entry in world.dispatch.crons.list(limit=2)]
    rest = world.dispatch.crons.list(limit=9, cursor=world.dispatch.crons.list(limit=2).next_cursor)

    assert [*names, *(entry.name for entry in rest)] == ["e4", "e3", "e2", "e1", "e0"]
    assert [entry.name for entry in world.dispatch.crons.list(state="disabled")] == ["e3"]
    assert [entry.name for entry in world.dispatch.crons.list(target="flow")] == ["e4"]
    assert [entry.name for entry in world.dispatch.crons.list(scope=Scope(app_id="a1"))] == ["e3", "e1"]


# -- refused


@pytest.mark.parametrize(
    ("schedule", "options", "error"),
    [
        ("61 * * * *", {}, InvalidSchedule),
        ("0 0 30 2 *", {}, InvalidSchedule),
        ("* * * * *", {"timezone": "Mars/Olympus"}, InvalidSchedule),
        ("* * * * *", {"end": START - timedelta(days=1)}, InvalidSchedule),
        ("* * * * *", {"start": START, "end": START - timedelta(days=1)}, InvalidSchedule),
        ("* * * * *", {"start": "2027-01-01"}, ConfigurationError),
        ("* * * * *", {"end": "2027-01-01"}, ConfigurationError),
        ("* * * * *", {"target": print}, ConfigurationError),
        ("* * * * *", {"target": lambda: 1}, ConfigurationError),
        ("* * * * *", {"arguments": {"m": 1}}, PayloadError),
        ("* * * * *", {"arguments": {"n": "three"}}, PayloadError),
    ],
)
def test_bad_input_is_refused_and_nothing_is_stored(
    world: CronWorld, schedule: str, options: dict[str, Any], error: type[Exception]
) -> None:
    """Expressions, zones, dates, arguments."""
    with pytest.raises(error):
        world.register(schedule, **options)
    assert len(world.dispatch.crons.list()) == 0


def test_an_entry_that_cannot_be_read_is_set_aside_and_the_others_fire(world: CronWorld) -> None:
    """A newer release has written it: it is tried again later, and is not fired meanwhile."""
    entry = world.register(name="newer")
    world.register()
    ask(world.parts.store, Call.command("HSET", world.parts.keys.cron(entry.id), "schema", 99))
    world.after(MINUTE)

    assert len(world.work()) == 1
    due = ask(world.parts.store, Call.command("ZSCORE", world.parts.keys.cron_slots, entry.id))
    assert float(due) == world.now + 60_000


@pytest.mark.parametrize("hours", [1, -1, 24])
def test_a_server_whose_clock_jumps_fires_no_slot_twice(world: CronWorld, hours: int) -> None:
    """Forwards it is as after a standstill, backwards the slots that have been are over."""
    world.register(misfire="once")
    world.after(MINUTE)
    world.passes(hours * 60 * MINUTE)
    for _ in range(3):
        world.leader.run_once()
        world.after(MINUTE)

    slots = world.slots()
    assert len(set(slots)) == len(slots)
    assert slots[0] == minutes(1)[0]
    assert (len(slots) > 3) is (hours > 0)


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        (datetime(2027, 3, 27, 12, tzinfo=UTC), [datetime(2027, 3, 28, 1, tzinfo=UTC)]),
        (datetime(2027, 10, 30, 12, tzinfo=UTC), [datetime(2027, 10, 31, 0, 30, tzinfo=UTC)]),
    ],
    ids=["spring", "autumn"],
)
@pytest.mark.parametrize("misfire", ["skip", "once", "all(9)"])
def test_a_change_of_clocks_during_a_standstill_fires_once(
    world: CronWorld, start: datetime, expected: list[datetime], misfire: str
) -> None:
    """A daily slot in the hour that is skipped, or comes twice, and ten minutes in which nobody fired."""
    world.goes_to(start)
    world.register("30 2 * * *", timezone="Europe/Berlin", misfire=misfire)
    world.fire()
    world.goes_to(expected[0] - timedelta(minutes=5))
    world.fire()
    world.passes(10 * MINUTE)
    world.fire()
    world.passes(12 * 60 * MINUTE)
    world.fire()

    assert world.slots() == ([] if misfire == "skip" else expected)
    assert stamp(expected[0]) < world.now
