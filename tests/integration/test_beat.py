"""Beat's scheduler class in this process: each run is sent once, whoever leads and wherever a beat dies."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery
from celery.beat import ScheduleEntry, Scheduler
from celery.schedules import crontab

from dispatch_celery import Dispatch
from dispatch_celery.store.replies import ask
from dispatch_celery.store.scripts import Call
from dispatch_celery.worker.beat import DispatchScheduler
from tests.support.crons import CronWorld, Died, cron_world
from tests.support.eventually import eventually

NAMES = ("plain", "ours")


@pytest.fixture
def world(server_url: str, namespace: str) -> Iterator[CronWorld]:
    """Return a world whose app has a schedule of two entries: a task that only others know, and a job of ours."""
    with cron_world(server_url, namespace) as made:
        made.app.conf.beat_schedule = {
            "plain": {"task": "elsewhere.note", "schedule": 0.05, "args": (1,), "options": {"headers": {"k": "v"}}},
            "ours": {"task": "tick", "schedule": 0.05, "kwargs": {"n": 4}},
        }
        yield made


def messages(world: CronWorld) -> list[tuple[str, str]]:
    """Return the task and id of each message in the lists of the queue, the oldest of each first."""
    queue, port = world.app.conf.task_default_queue, world.parts.store
    lists = [ask(port, Call.command("LRANGE", key, 0, -1)) for key in ask(port, Call.command("KEYS", f"{queue}*"))]
    heads = [json.loads(one)["headers"] for found in lists for one in reversed(found)]
    return [(head["task"], head["id"]) for head in heads]


def until_sent(world: CronWorld, beat: DispatchScheduler, name: str, count: int) -> list[str]:
    """Tick until so many messages of a task are in the queue; return their ids."""
    task = {"plain": "elsewhere.note", "ours": "tick"}[name]

    def sent() -> list[str] | None:
        beat.tick()
        ids = [work_id for found, work_id in messages(world) if found == task]
        return ids if len(ids) >= count else None

    return eventually(sent, within=10, what=f"{count} messages of {name}") or []


def test_a_schedule_is_sent_and_noted(world: CronWorld) -> None:
    """Each run under an id of its own; a job is stored, with its arguments; what was sent is noted as sent."""
    beat = DispatchScheduler(world.app)
    for name in NAMES:
        ids = until_sent(world, beat, name, 3)
        assert len(set(ids)) == len(ids)
    beat.close()
    beat.close()

    assert {job.arguments["n"] for job in world.dispatch.jobs.list()} == {4}
    noted = world.leader._store.sent()
    assert set(noted) == {"plain", "ours"}
    assert all(work_id == "" for _, work_id in noted.values())


def test_a_beat_that_is_only_asked_for_its_banner_touches_nothing(world: CronWorld) -> None:
    """Celery builds it twice."""
    beat = DispatchScheduler(world.app, lazy=True)

    assert "beat_schedule" in beat.info
    assert beat.schedule == {}
    beat.close()


class DiesBeforeSending(DispatchScheduler):
    """A beat that is killed when it has noted that it is about to send."""

    def apply_entry(self, *_args: Any, **_kwargs: Any) -> None:
        """Die."""
        raise Died


class DiesAfterSending(DispatchScheduler):
    """A beat that is killed before it has noted that it sent."""

    def send_task(self, *args: Any, **kwargs: Any) -> Any:
        """Send, and die."""
        super().send_task(*args, **kwargs)
        raise Died


def _killed(world: CronWorld, kind: type[DispatchScheduler], only: str) -> dict[str, tuple[int, str]]:
    """Let a beat of one entry die at its first run; return what is noted then."""
    beat = kind(world.app)
    beat.schedule = {only: beat.schedule[only]}

    def died() -> bool:
        try:
            beat.tick()
        except Died:
            return True
        return False

    eventually(died, within=10)
    return world.leader._store.sent()


def _follow(world: CronWorld, only: str) -> DispatchScheduler:
    """Return a beat that takes over when the lead of the one before has run out."""
    world.passes(6_000)
    beat = DispatchScheduler(world.app)
    beat.schedule = {only: beat.schedule[only]}
    return beat


@pytest.mark.parametrize("name", NAMES)
def test_a_run_that_was_noted_and_not_sent_is_sent_by_the_next_beat(world: CronWorld, name: str) -> None:
    """Under the id it was noted with."""
    noted = _killed(world, DiesBeforeSending, name)
    assert messages(world) == []
    beat = _follow(world, name)
    ids = until_sent(world, beat, name, 1)
    beat.close()

    assert ids[0] == noted[name][1]


def test_a_run_that_was_sent_and_not_noted_is_sent_again_under_its_id(world: CronWorld) -> None:
    """A plain Celery task: the same message twice, never none."""
    noted = _killed(world, DiesAfterSending, "plain")
    beat = _follow(world, "plain")
    ids = until_sent(world, beat, "plain", 2)
    beat.close()

    assert ids[:2] == [noted["plain"][1]] * 2


def test_a_job_that_was_sent_and_not_noted_is_one_job(world: CronWorld) -> None:
    """Its id is the same, and its record is there already."""
    beat = DispatchScheduler(world.app)
    beat.schedule = {"ours": beat.schedule["ours"]}
    ids = until_sent(world, beat, "ours", 1)
    last, _ = world.leader._store.sent()["ours"]
    beat._unsent["ours"] = beat.schedule["ours"]
    beat._claimed["ours"] = (last, ids[-1])
    beat.apply_entry(beat.schedule["ours"], producer=beat.producer)
    beat.close()

    assert [job.id for job in world.dispatch.jobs.list()].count(ids[-1]) == 1


@pytest.mark.parametrize("name", NAMES)
def test_the_id_of_a_run_is_the_same_in_every_beat(world: CronWorld, name: str) -> None:
    """It is made of the entry's name and its last run."""
    first, second = DispatchScheduler(world.app), DispatchScheduler(world.app)
    ids = {beat._id_of(beat.schedule[name], last) for beat in (first, second) for last in (1_000, 2_000)}
    first.close()
    second.close()

    assert len(ids) == 2


def test_an_entry_that_is_sent_by_hand_is_none_of_its_runs(world: CronWorld) -> None:
    """Celery's ``apply_async`` of a scheduler sends it once, under an id of Celery's."""
    beat = DispatchScheduler(world.app)
    beat.schedule = {"plain": beat.schedule["plain"]}
    beat.schedule["plain"].schedule = crontab(0, 0, day_of_month=29, month_of_year=2)
    beat.tick()
    beat.apply_async(beat.schedule["plain"], producer=beat.producer)
    for _ in range(3):
        beat.tick()
    beat.close()

    assert [task for task, _ in messages(world)] == ["elsewhere.note"]


def test_one_of_two_beats_sends(world: CronWorld) -> None:
    """The other waits, and goes on where the first has ended when its lead has run out."""
    first, second = DispatchScheduler(world.app), DispatchScheduler(world.app)
    until_sent(world, first, "plain", 2)
    count = len(messages(world))
    for _ in range(5):
        assert 0 < second.tick() <= 1
    assert len(messages(world)) == count

    world.passes(6_000)
    ids = until_sent(world, second, "plain", 4)
    before = len(messages(world))
    for _ in range(5):
        assert 0 <= first.tick() <= 1  # it has lost the lead, and goes on waiting
    assert len(messages(world)) == before
    assert len(set(ids)) == len(ids)
    first.close()
    second.close()


def test_a_server_that_is_away_ends_no_beat(caplog: pytest.LogCaptureFixture) -> None:
    """It looks again a second later, and says so once."""
    app = Celery("away", broker="redis://127.0.0.1:1/0", set_as_current=False)
    app.conf.dispatch_connect_timeout = 0.1
    Dispatch(app)
    beat = DispatchScheduler(app)
    with caplog.at_level(logging.WARNING):
        assert [beat.tick() for _ in range(3)] == [1.0] * 3
    beat.close()
    app.close()

    assert caplog.text.count("beat will try again") == 1


def test_an_app_without_dispatch_is_told() -> None:
    """In the log: beat itself goes on."""
    app = Celery("bare", broker="redis://127.0.0.1:1/0", set_as_current=False)
    beat = DispatchScheduler(app)

    assert beat.tick() == 1.0
    beat.close()
    app.close()


def test_what_wraps_celerys_scheduler_hears_of_each_run(world: CronWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """Monitors patch ``Scheduler.apply_entry``, and look at the schedule of the entry they are given."""
    world.app.conf.beat_schedule["plain"]["schedule"] = crontab()
    seen: list[ScheduleEntry] = []
    original = Scheduler.apply_entry

    def patched(scheduler: Any, entry: Any, *args: Any, **kwargs: Any) -> None:
        seen.append(entry)
        original(scheduler, entry, *args, **kwargs)

    monkeypatch.setattr(Scheduler, "apply_entry", patched)
    beat = DispatchScheduler(world.app)
    until_sent(world, beat, "ours", 2)
    beat.close()

    assert [entry.name for entry in seen] == ["ours", "ours"]
    assert isinstance(beat.schedule["plain"].schedule, crontab)
