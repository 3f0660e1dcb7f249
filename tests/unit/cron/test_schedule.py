"""Schedules: what they name around a change of clocks, how they are read, and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from dispatch_celery.cron.expression import ALIASES
from dispatch_celery.cron.schedule import CronExpression, Interval, Schedule, Window, parse_schedule
from dispatch_celery.errors import ConfigurationError, InvalidSchedule

BERLIN = "Europe/Berlin"


def stamp(moment: datetime) -> int:
    """Return a moment as schedules count."""
    return int(moment.timestamp() * 1000)


def fires(schedule: Schedule, start: datetime, end: datetime) -> list[str]:
    """Return the moments of a schedule between two others, as walls in Berlin show them."""
    found, at = [], schedule.after(stamp(start) - 1)
    while at is not None and at < stamp(end):
        found.append(datetime.fromtimestamp(at / 1000, ZoneInfo(BERLIN)).strftime("%H:%M %Z"))
        at = schedule.after(at)
    return found


SPRING = (datetime(2026, 3, 29, tzinfo=ZoneInfo(BERLIN)), datetime(2026, 3, 30, tzinfo=ZoneInfo(BERLIN)))
AUTUMN = (datetime(2026, 10, 25, tzinfo=ZoneInfo(BERLIN)), datetime(2026, 10, 26, tzinfo=ZoneInfo(BERLIN)))


@pytest.mark.parametrize(
    ("expression", "day", "expected"),
    [
        ("30 2 * * *", SPRING, ["03:00 CEST"]),
        ("30 2 * * *", AUTUMN, ["02:30 CEST"]),
        ("0 3 * * *", SPRING, ["03:00 CEST"]),
        ("15,45 2 * * *", SPRING, ["03:00 CEST"]),
        ("30 2-3 * * *", SPRING, ["03:00 CEST", "03:30 CEST"]),
        ("0 30 2 * * *", SPRING, ["03:00 CEST"]),
        ("0 30 2 * * *", AUTUMN, ["02:30 CEST"]),
    ],
)
def test_a_time_of_day_fires_once_whatever_the_clocks_do(
    expression: str, day: tuple[datetime, datetime], expected: list[str]
) -> None:
    """In the skipped hour when the clocks have moved; in the doubled one the first time only."""
    assert fires(CronExpression(expression=expression, zone=BERLIN), *day) == expected


def test_an_hourly_schedule_counts_real_hours() -> None:
    """Twenty-five of them on the long day, twenty-three on the short one; none is skipped or doubled."""
    hourly = CronExpression(expression="0 * * * *", zone=BERLIN)

    assert fires(hourly, *AUTUMN)[1:5] == ["01:00 CEST", "02:00 CEST", "02:00 CET", "03:00 CET"]
    assert (len(fires(hourly, *AUTUMN)), len(fires(hourly, *SPRING))) == (25, 23)


def test_an_interval_of_minutes_goes_on_through_the_change() -> None:
    """Every half hour that really passes, and none in the hour that does not exist."""
    halves = CronExpression(expression="*/30 * * * *", zone=BERLIN)

    assert fires(halves, *SPRING)[2:6] == ["01:00 CET", "01:30 CET", "03:00 CEST", "03:30 CEST"]
    assert len(fires(halves, *AUTUMN)) == 50


def test_clocks_that_change_by_half_an_hour_lose_no_slot() -> None:
    """On Lord Howe the first matching minute after the change is found: each minute that passes is looked at."""
    zone = ZoneInfo("Australia/Lord_Howe")
    minutes = CronExpression(expression="*/7 2-3 * * *", zone=zone.key)
    start = stamp(datetime(2026, 10, 3, 12, tzinfo=UTC))
    walls = {at: datetime.fromtimestamp(at / 1000, zone) for at in range(start, start + 86_400_000, 60_000)}
    expected = [at for at, wall in walls.items() if wall.hour in (2, 3) and wall.minute % 7 == 0]

    found, at = [], minutes.after(start - 1)
    while at is not None and at < start + 86_400_000:
        found.append(at)
        at = minutes.after(at)

    assert found == expected


@pytest.mark.parametrize("expression", ["30 2 * * *", "*/15 * * * *", "0 0 29 2 *", "10 */2 1-7 * mon"])
def test_before_goes_the_way_of_after(expression: str) -> None:
    """The last moment before one that ``after`` names is the one it named before that."""
    schedule = CronExpression(expression=expression, zone=BERLIN)
    at = schedule.after(stamp(AUTUMN[0]))
    assert at is not None
    for _ in range(60):
        following = schedule.after(at)
        assert following is not None
        assert schedule.before(following) == at
        at = following


@pytest.mark.parametrize("alias", sorted(ALIASES))
def test_words_stand_for_expressions(alias: str) -> None:
    """``@hourly`` and kin name what their expression names."""
    moment = stamp(datetime(2026, 5, 5, 5, 5, tzinfo=UTC))

    assert parse_schedule(alias).after(moment) == parse_schedule(ALIASES[alias]).after(moment)


def test_the_seconds_come_first_of_six_fields() -> None:
    """``*/20 * * * * *`` is every twenty seconds."""
    schedule = parse_schedule("*/20 * * * * *")
    moment = stamp(datetime(2026, 5, 5, 5, 5, 1, tzinfo=UTC))

    assert schedule.after(moment) == stamp(datetime(2026, 5, 5, 5, 5, 20, tzinfo=UTC))
    assert schedule.before(moment) == stamp(datetime(2026, 5, 5, 5, 5, 0, tzinfo=UTC))


@pytest.mark.parametrize(("text", "seconds"), [("30s", 30), ("5m", 300), ("1h30m", 5_400), ("1w", 604_800)])
def test_every_takes_a_time(text: str, seconds: int) -> None:
    """``@every 1h30m`` names multiples of it, counted from its anchor, and is shown as it was written."""
    schedule = parse_schedule(f"@every {text}", anchor=7_000)

    assert schedule == Interval(seconds=seconds, anchor=7_000)
    assert schedule.text == f"@every {text}"
    assert schedule.after(7_000) == 7_000 + seconds * 1000
    assert schedule.before(7_001) == 7_000
    assert schedule.before(7_000) == 7_000 - seconds * 1000


def test_a_range_from_a_value_to_itself_is_that_value() -> None:
    """``8-8`` is August, not every month."""
    schedule = parse_schedule("0 0 1 8-8 *")

    assert schedule.after(stamp(datetime(2026, 1, 1, tzinfo=UTC))) == stamp(datetime(2026, 8, 1, tzinfo=UTC))


def test_day_and_weekday_are_either_or_both() -> None:
    """A plain expression fires on the 13th and on Fridays; Celery's ``crontab`` on Friday the 13th."""
    moment = stamp(datetime(2026, 1, 1, tzinfo=UTC))

    assert parse_schedule("0 0 13 * 5").after(moment) == stamp(datetime(2026, 1, 2, tzinfo=UTC))
    assert parse_schedule("crontab 0 0 13 * 5").after(moment) == stamp(datetime(2026, 2, 13, tzinfo=UTC))
    assert parse_schedule("crontab 0 0 13 * 5").text == "crontab 0 0 13 * 5"


@pytest.mark.parametrize(
    ("expression", "days"),
    [
        ("0 6 L * *", ["01-31", "02-28", "03-31"]),
        ("0 6 l * *", ["01-31", "02-28", "03-31"]),
        ("0 6 1,L * *", ["01-01", "01-31", "02-01"]),
        ("0 6 * * fri#3", ["01-15", "02-19", "03-19"]),
        ("0 6 * * 1#1,1#3", ["01-04", "01-18", "02-01"]),
        ("0 6 * * sun#5", ["01-31", "05-30", "08-29"]),
        ("0 6 * * L5", ["01-29", "02-26", "03-26"]),
        ("0 6 1W 5-7 *", ["05-03", "06-01", "07-01"]),
        ("0 6 L * 1", ["01-04", "01-11", "01-18"]),
        ("0 6 */2 * 1#1", ["02-01", "03-01", "04-05"]),
    ],
)
def test_last_days_and_counted_weekdays(expression: str, days: list[str]) -> None:
    """``L`` is the last day of the month, ``fri#3`` the third Friday, ``L5`` the last, ``1W`` the nearest weekday."""
    schedule, found = parse_schedule(expression), [stamp(datetime(2027, 1, 1, tzinfo=UTC))]
    while len(found) <= len(days):
        at = schedule.after(found[-1])
        assert at is not None
        found.append(at)

    assert [f"{datetime.fromtimestamp(at / 1000, UTC):%m-%d}" for at in found[1:]] == days


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("0 6 15 * 1#1", 10),
        ("0 0 6 L * mon#2", 11),
        ("0 6 15 * L5", 10),
        ("0 6 15w * 1", 5),
        ("0 6 15W * */2", 5),
        ("0 6 * * 5L", 9),
        ("0 6 LW * *", 5),
        ("0 6 * * 1,L5", 9),
        ("0 6 * * 1#6", 9),
        ("61 * * * *", 1),
        ("* 24 * * *", 3),
        ("*/5 * 3,99 * *", 9),
        ("0 0 * * mon-frx", 9),
        ("* * * *", 8),
        ("0 0 1 * * * *", 13),
        ("* * * * * 9", 11),
        ("0 0 H * *", 5),
        ("R * * * *", 1),
        ("@fortnightly", 1),
        ("@every soon", 8),
        ("@every", 8),
        ("* * * * \u0661", 9),
    ],
)
def test_a_bad_expression_is_refused_with_its_position(text: str, position: int) -> None:
    """The error says what is wrong and at which character, in words and as a number."""
    with pytest.raises(InvalidSchedule, match=f"at character {position}") as refused:
        parse_schedule(text)

    assert refused.value.position == position
    assert isinstance(refused.value, ConfigurationError)


@pytest.mark.parametrize("text", [None, 5, "", "*" * 600, "@every 0s", "@every 99999w"])
def test_what_is_no_schedule_is_refused(text: object) -> None:
    """Text of any other kind, and intervals that are none."""
    with pytest.raises(InvalidSchedule):
        parse_schedule(text)  # type: ignore[arg-type]  # what is tested


@pytest.mark.parametrize("zone", ["Europe/Atlantis", "", "../etc/passwd", "CEST+1"])
def test_a_bad_zone_is_refused(zone: str) -> None:
    """By its name, with a word on what is expected."""
    with pytest.raises(InvalidSchedule, match="there is no time zone"):
        parse_schedule("0 0 * * *", zone=zone)


@pytest.mark.parametrize("text", ["0 0 30 2 *", "0 0 31 2,4,6,9,11 *", "0 0 31 11 *"])
def test_a_schedule_that_can_never_fire_is_refused(text: str) -> None:
    """There is no thirtieth of February."""
    with pytest.raises(InvalidSchedule, match="could never fire"):
        Window(schedule=parse_schedule(text)).check()


def test_the_29th_of_february_is_waited_for() -> None:
    """A leap day fires, years ahead."""
    Window(schedule=parse_schedule("0 0 29 2 *")).check()


def test_a_window_has_both_ends() -> None:
    """Nothing is named before its start or after its end; the ends themselves are in it."""
    start, end = datetime(2026, 1, 5, tzinfo=UTC), datetime(2026, 1, 7, tzinfo=UTC)
    window = Window(schedule=parse_schedule("0 0 * * *"), start=stamp(start), end=stamp(end))

    assert window.after(0) == stamp(start)
    assert window.after(stamp(end) - 1) == stamp(end)
    assert window.after(stamp(end)) is None
    assert window.before(stamp(end + timedelta(days=9))) == stamp(end)
    assert window.before(stamp(start)) is None


@pytest.mark.parametrize(("start", "end"), [((2026, 1, 2), (2026, 1, 1)), ((2026, 1, 1, 1), (2026, 1, 1, 2))])
def test_a_bad_date_range_is_refused(start: tuple[int, ...], end: tuple[int, ...]) -> None:
    """An end before the start, and a range in which the schedule names nothing."""
    window = Window(
        schedule=parse_schedule("0 0 * * *"),
        start=stamp(datetime(*start, tzinfo=UTC)),  # type: ignore[arg-type,misc]  # year, month, day, hour
        end=stamp(datetime(*end, tzinfo=UTC)),  # type: ignore[arg-type,misc]  # year, month, day, hour
    )
    with pytest.raises(InvalidSchedule, match="date"):
        window.check()
