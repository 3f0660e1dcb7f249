"""What is said of a cron entry that does not fire."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dispatch_celery.cli.explaining_crons import comes_back, explain_entry
from dispatch_celery.cli.phrases import Surroundings
from dispatch_celery.cron.model import CronEntry, CronFire, Misfire, Overlap, Template, Timetable
from dispatch_celery.ids import CronId

NOW = datetime(2027, 1, 1, 12, tzinfo=UTC)
DUE = int((NOW + timedelta(minutes=5)).timestamp() * 1000)
ENTRY = CronEntry(
    id=CronId.adopt("e"),
    name="e",
    timetable=Timetable(schedule="* * * * *"),
    template=Template(name="tick", queue="q", spec={}, payload=b"{}"),
    misfire=Misfire("once"),
    overlap=Overlap.ALLOW,
    origin="code",
    revision=1,
    is_enabled=True,
    next_slot=DUE,
    next_due=DUE,
    last_id="job_1",
    triggered_id="",
    last_slot=None,
    queued_slot=None,
    orphaned_at=None,
    last_fire_at=NOW,
    created_at=NOW,
    updated_at=NOW,
)


@pytest.mark.parametrize(
    ("change", "said", "advice"),
    [
        ({}, "e fires 2027-01-01 12:05:00 UTC (in 5 min).", "cron trigger"),
        ({"queued_slot": DUE}, "A slot waits for the end of job_1.", "Nothing has to be done"),
        ({"is_enabled": False}, "somebody has disabled it", "cron enable"),
        ({"orphaned_at": NOW}, "no live worker or beat declares it in its code", "cron delete"),
        ({"next_slot": None, "next_due": None}, "its last slot has been", "later end date"),
        ({"next_due": DUE - 301_000}, "is due since 2027-01-01 11:59:59 UTC (1.0 s ago), and fires at any", "Nothing"),
        ({"next_due": DUE - 600_000}, "should have fired 2027-01-01 11:55:00 UTC (5 min ago)", "celery beat"),
    ],
)
def test_each_state_is_explained(change: dict[str, Any], said: str, advice: str) -> None:
    """With what to do about it."""
    found = explain_entry(replace(ENTRY, **change), Surroundings(now=NOW, command="celery dispatch"))

    assert said in found.explanation
    assert advice in found.advice


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        ("overlapped", "Its slot 2027-01-01 12:00:00 UTC was not fired: what it created before had not ended"),
        ("passed", "was not fired: nobody could fire it in time (misfire once)."),
        ("fired", ""),
    ],
)
def test_it_is_told_why_the_last_slot_was_not_fired(outcome: str, said: str) -> None:
    """What runs still, or that nobody could."""
    fire = CronFire(outcome=outcome, slot=NOW, at=NOW, id=None)
    found = explain_entry(replace(ENTRY, fires=(fire,)), Surroundings(now=NOW, command="celery dispatch"))

    assert said in found.explanation
    assert ("was not fired" in found.explanation) == bool(said)


def test_one_that_an_older_release_disabled_is_told_by_its_last_edit() -> None:
    """Since when is not on record then."""
    found = explain_entry(replace(ENTRY, is_enabled=False), Surroundings(now=NOW, command="celery dispatch"))

    assert "somebody has disabled it, before its last edit 2027-01-01 12:00:00 UTC" in found.explanation
    assert found.since == NOW


def test_only_what_code_declares_now_comes_back() -> None:
    """An entry whose declaration has gone is deleted for good, as one of the API is."""
    assert "disable it instead (`celery dispatch cron disable e`)" in comes_back(ENTRY, "celery dispatch")
    assert comes_back(replace(ENTRY, orphaned_at=NOW), "celery dispatch") == ""
    assert comes_back(replace(ENTRY, origin="api"), "celery dispatch") == ""
