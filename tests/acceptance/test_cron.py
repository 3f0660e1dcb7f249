"""Cron with real workers and beats: entries fire on their schedules, whoever leads, and whoever is killed."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from dispatch_celery import CronState, JobId
from tests.support.cron_fleet import CronFleet, cron_fleet
from tests.support.eventually import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


@pytest.fixture
def fleet(namespace: str, server_url: str, tmp_path: Path) -> Iterator[CronFleet]:
    """Return a fleet in a namespace of its own, without processes yet."""
    with cron_fleet(namespace, server_url, tmp_path) as made:
        yield made


def slots_of(fleet: CronFleet, name: str) -> list[int]:
    """Return the slots whose jobs have run, as their ids tell them, in seconds."""
    return [JobId.parse(one).time_ms // 1000 for one in fleet.effects(name)]


def fired(fleet: CronFleet, name: str, count: int, within: float = 20) -> list[int]:
    """Wait until so many slots have run; return them."""
    eventually(lambda: len(slots_of(fleet, name)) >= count, within=within, what=f"{count} slots of {name}")
    return slots_of(fleet, name)


def test_a_worker_fires_what_its_code_declares(fleet: CronFleet) -> None:
    """Every second a job, every two seconds a run, each slot once and on time."""
    fleet.worker("w1")
    slots = fired(fleet, "seconds", 5)
    entry = fleet.dispatch.crons.get("seconds")

    assert [later - earlier for earlier, later in pairwise(slots)] == [1] * (len(slots) - 1)
    assert (entry.origin, entry.state, entry.arguments) == ("code", CronState.ENABLED, {"name": "seconds"})
    late = sorted(fire.at - fire.slot for fire in entry.fires if fire.slot)
    assert late[len(late) // 2] < timedelta(seconds=0.2)
    eventually(lambda: len(fleet.dispatch.runs.list(state="completed")) >= 2, within=10, what="runs of the flow")


def test_an_edit_is_seen_within_a_second(fleet: CronFleet) -> None:
    """An entry that another process registers fires at its next slot; one that it disables does not fire again."""
    fleet.worker("w1")
    fired(fleet, "seconds", 1)
    fleet.dispatch.crons.register("edited", "* * * * * *", "cron.note", arguments={"name": "edited"})
    asked = time.monotonic()
    fired(fleet, "edited", 1)
    assert time.monotonic() - asked < 3

    fleet.dispatch.crons.disable("seconds")
    last = fleet.dispatch.crons.get("seconds").last_slot
    count = len(fleet.effects("edited"))
    fired(fleet, "edited", count + 3)
    assert fleet.dispatch.crons.get("seconds").last_slot == last


def test_an_edit_by_a_person_survives_a_restart(fleet: CronFleet) -> None:
    """A worker that starts again does not write over what its code has declared before."""
    fleet.worker("w1").terminate()
    edited = fleet.dispatch.crons.register("seconds", "@hourly", "cron.note", arguments={"name": "seconds"})
    fleet.dispatch.crons.disable("cron.flow")
    fleet.worker("w2")

    assert fleet.dispatch.crons.get("seconds").revision == edited.revision
    assert fleet.dispatch.crons.get("cron.flow").state == CronState.DISABLED


def test_another_worker_takes_over_when_the_leader_is_killed(fleet: CronFleet) -> None:
    """No slot is fired twice, and at most those of the gap are late; all of them come."""
    leader = fleet.worker("w1")
    fired(fleet, "seconds", 2)
    fleet.worker("w2")
    leader.kill()
    killed = time.monotonic()
    before = fired(fleet, "seconds", 2)
    after = fired(fleet, "seconds", len(before) + 8, within=30)

    assert time.monotonic() - killed < 25
    assert len(set(after)) == len(after)
    entry = fleet.dispatch.crons.get("seconds")
    fires = sorted(fire.slot for fire in entry.fires if fire.slot)
    assert [later - earlier for earlier, later in pairwise(fires)] == [timedelta(seconds=1)] * (len(fires) - 1)


@pytest.mark.faults
def test_a_leader_that_was_stopped_and_goes_on_doubles_nothing(fleet: CronFleet) -> None:
    """It stands still for longer than its lease, another fires meanwhile, and both believe they lead for a moment."""
    stopped = fleet.worker("w1")
    fired(fleet, "seconds", 2)
    fleet.worker("w2")
    os.killpg(stopped.process.pid, signal.SIGSTOP)
    last = fleet.dispatch.crons.get("seconds").last_slot or 0
    eventually(
        lambda: (fleet.dispatch.crons.get("seconds").last_slot or 0) > last + 9_000, within=30, what="slots go on"
    )
    os.killpg(stopped.process.pid, signal.SIGCONT)
    again = fleet.dispatch.crons.get("seconds").last_slot or 0
    eventually(lambda: (fleet.dispatch.crons.get("seconds").last_slot or 0) > again + 3_000, within=30, what="and on")

    jobs = fleet.dispatch.jobs.list(name="cron.note", limit=1_000)
    slots = sorted(JobId.parse(job.id).time_ms for job in jobs)
    assert [later - earlier for earlier, later in pairwise(slots)] == [1_000] * (len(slots) - 1)


def test_two_beats_send_each_run_once_and_one_takes_over_from_the_other(fleet: CronFleet) -> None:
    """Entries of ``beat_schedule`` and of code, jobs and plain tasks; the leading beat is killed without a word."""
    settings = {"CRON_BEAT_SCHEDULE": "1"}
    fleet.worker("w1", DISPATCH_CRON="0")
    first = fleet.beat("b1", **settings)
    for name in ("plain", "ours", "seconds"):
        eventually(lambda name=name: len(fleet.effects(name)) >= 2, within=20, what=name)
    second = fleet.beat("b2", **settings)
    answers = fleet.module.app.control.ping(timeout=3, destination=[f"b2@{fleet.node}"])
    assert answers == [{f"b2@{fleet.node}": {"ok": "pong"}}]
    assert "Sending due task" not in second.words

    first.kill()
    counts = {name: len(fleet.effects(name)) for name in ("plain", "ours", "seconds")}
    killed = time.monotonic()
    for name, count in counts.items():
        eventually(lambda name=name, count=count: len(fleet.effects(name)) > count + 1, within=10, what=name)
    assert time.monotonic() - killed < 12
    for name in counts:
        ids = fleet.effects(name)
        assert len(set(ids)) == len(ids), name
    assert second.terminate() == 0


def test_beat_inside_a_worker_sends_and_fires(fleet: CronFleet) -> None:
    """``worker -B``: its beat leads, because only a beat sends ``beat_schedule``; entries are fired as well."""
    fleet.worker("w1", "-B", "--scheduler", "dispatch", DISPATCH_CRON="0", CRON_BEAT_SCHEDULE="1")

    for name in ("plain", "ours", "seconds"):
        eventually(lambda name=name: len(fleet.effects(name)) >= 3, within=20, what=name)
    for name in ("plain", "ours", "seconds"):
        ids = fleet.effects(name)
        assert len(set(ids)) == len(ids), name


@pytest.mark.faults
def test_workers_take_over_when_the_last_beat_stops(fleet: CronFleet) -> None:
    """A beat that stops resigns, and the workers' leader fires what it fired."""
    fleet.worker("w1")
    beat = fleet.beat("b1", CRON_BEAT_SCHEDULE="1")
    eventually(lambda: len(fleet.effects("plain")) >= 2, within=20, what="beat leads")
    assert beat.terminate() == 0
    count = len(fleet.effects("seconds"))

    slots = fired(fleet, "seconds", count + 4, within=10)
    assert len(set(slots)) == len(slots)
