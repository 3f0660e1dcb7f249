"""Celery's schedule objects as cron entries have them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from celery.schedules import crontab, schedule, solar

from dispatch_celery.cron.schedule import parse_schedule
from dispatch_celery.errors import InvalidSchedule
from dispatch_celery.worker.celery_schedules import READERS, Solar, spell

NEW_YEAR = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ("*/5 * * * *", "*/5 * * * *"),
        (timedelta(minutes=90), "@every 1h30m"),
        (schedule(30), "@every 30s"),
        (schedule(timedelta(days=8)), "@every 1w1d"),
        (crontab(), "crontab * * * * *"),
        (crontab(minute=0, hour="*/3"), "crontab 0 */3 * * *"),
        (crontab(minute="*/15", hour="8-10", day_of_week="mon-fri"), "crontab */15 8,9,10 * * 1,2,3,4,5"),
        (crontab(0, 0, day_of_month=13, day_of_week=5), "crontab 0 0 13 * 5"),
        (crontab(minute={5, 35}, month_of_year="1-12"), "crontab 5,35 * * * *"),
        (solar("sunset", -37.81753, 144.96715), "solar sunset -37.81753 144.96715"),
        (parse_schedule("crontab 0 0 13 * 5"), "crontab 0 0 13 * 5"),
    ],
)
def test_a_schedule_is_spelled(given: Any, text: str) -> None:
    """As text that says the same, and can be read."""
    assert spell(given) == text
    assert parse_schedule(text, readers=READERS).after(NEW_YEAR) is not None


def test_a_crontab_means_what_it_means_to_celery() -> None:
    """Day and weekday both have to match."""
    found = parse_schedule(spell(crontab(0, 0, day_of_month=13, day_of_week=5))).after(NEW_YEAR)

    assert found == int(datetime(2026, 2, 13, tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize("given", [5, None, schedule(0.5), object(), type("mine", (crontab,), {})()])
def test_what_cannot_be_stored_is_refused(given: Any) -> None:
    """A class of somebody else's could not be read by another process."""
    with pytest.raises(InvalidSchedule):
        spell(given)


@pytest.mark.parametrize("words", ["sunset", "sunset x y", "sunset 91 0", "tea_time 1 2", "sunset 1 2 3"])
def test_a_bad_event_of_the_sun_is_refused(words: str) -> None:
    """Unknown events, and places that are nowhere."""
    with pytest.raises(InvalidSchedule):
        parse_schedule(f"solar {words}", readers=READERS)


def test_the_sun_sets_once_a_day() -> None:
    """Each moment is later than the one asked for, about a day apart, and the way back is the same."""
    sunset = parse_schedule("solar sunset -37.81753 144.96715", readers=READERS)
    assert isinstance(sunset, Solar)
    moments = [NEW_YEAR]
    for _ in range(20):
        following = sunset.after(moments[-1])
        assert following is not None
        moments.append(following)

    assert all(86_000_000 < later - earlier < 87_000_000 for earlier, later in pairwise(moments[1:]))
    assert all(sunset.before(later) == earlier for earlier, later in pairwise(moments[1:]))


def test_the_midnight_sun_is_waited_for() -> None:
    """Where it does not set for weeks, the next moment is weeks away."""
    far_north = Solar(event="sunset", latitude=69.65, longitude=18.96)
    june = int(datetime(2026, 6, 1, tzinfo=UTC).timestamp() * 1000)

    found = far_north.after(june)
    assert found is not None
    assert timedelta(days=40) < timedelta(milliseconds=found - june) < timedelta(days=70)
