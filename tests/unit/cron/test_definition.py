"""Entries as code declares them: checked where they are declared, before any app is configured."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from dispatch_celery import ConfigurationError, Dispatch, Scope, Workflow
from dispatch_celery.errors import InvalidSchedule

NAIVE = datetime(2026, 1, 1)  # noqa: DTZ001 - what is refused


def declared(dispatch: Dispatch) -> list[tuple[str, str]]:
    """Return the names and schedules of what is declared."""
    return [(one.name, one.schedule) for one in dispatch._parts.cron_declarations]


def test_decorators_are_stacked_above_jobs_and_workflows() -> None:
    """Each is an entry of its own; the first has the name of what it calls, the others a number, or names of theirs."""
    dispatch = Dispatch()

    @dispatch.cron("@every 5m", name="often")
    @dispatch.cron("0 1 * * *")
    @dispatch.cron("*/5 * * * *")
    @dispatch.job(name="tick")
    def tick(n: int = 0) -> int:
        return n

    @dispatch.cron("@daily", timezone="Europe/Berlin", arguments={"n": 2}, scope=Scope(app_id="a"), overlap="skip")
    @dispatch.workflow(name="flow")
    def flow(wf: Workflow, n: int) -> int:
        return n

    assert declared(dispatch) == [
        ("tick", "*/5 * * * *"),
        ("tick#2", "0 1 * * *"),
        ("often", "@every 5m"),
        ("flow", "@daily"),
    ]
    assert tick(3) == 3
    assert flow.name == "flow"


@pytest.mark.parametrize(
    ("schedule", "options", "error"),
    [
        ("61 * * * *", {}, InvalidSchedule),
        ("0 0 30 2 *", {}, InvalidSchedule),
        (object(), {}, InvalidSchedule),
        ("@daily", {"timezone": "Nowhere"}, InvalidSchedule),
        (
            "@daily",
            {"start": datetime(2026, 2, 1, tzinfo=UTC), "end": datetime(2026, 1, 1, tzinfo=UTC)},
            InvalidSchedule,
        ),
        ("@daily", {"start": NAIVE}, ConfigurationError),
        ("@daily", {"misfire": "maybe"}, ConfigurationError),
        ("@daily", {"overlap": "maybe"}, ConfigurationError),
        ("@daily", {"jitter": -1}, ConfigurationError),
        ("@daily", {"jitter": 100_000}, ConfigurationError),
        ("@daily", {"scope": "a/b"}, ConfigurationError),
        ("@daily", {"name": ""}, ConfigurationError),
        ("@daily", {"arguments": {"m": 1}}, ConfigurationError),
        ("@daily", {"arguments": [1]}, ConfigurationError),
    ],
)
def test_a_bad_declaration_is_refused_where_it_stands(schedule: Any, options: Any, error: type[Exception]) -> None:
    """Not when a worker starts, and not at its first slot."""
    dispatch = Dispatch()

    def tick(n: int = 0) -> int:
        return n

    with pytest.raises(error):
        dispatch.cron(schedule, **options)(dispatch.job(name="tick")(tick))


def test_what_it_calls_must_bear_its_arguments() -> None:
    """A job that needs one cannot be called without."""
    dispatch = Dispatch()

    @dispatch.job(name="tick")
    def tick(n: int) -> int:
        return n

    with pytest.raises(ConfigurationError, match="missing a required argument: 'n'"):
        dispatch.cron("@daily")(tick)  # type: ignore[type-var]  # what is tested
    dispatch.cron("@daily", arguments={"n": 1})(tick)


def test_a_plain_function_is_no_target() -> None:
    """The decorators are in the wrong order."""
    with pytest.raises(ConfigurationError, match=r"put it over @dispatch\.job"):
        Dispatch().cron("@daily")(lambda: None)  # type: ignore[type-var]  # what is tested


def test_two_entries_of_one_name_are_refused() -> None:
    """Each name is one entry."""
    dispatch = Dispatch()

    @dispatch.cron("@daily", name="one")
    @dispatch.job(name="a")
    def a() -> None: ...

    with pytest.raises(ConfigurationError, match="another name="):

        @dispatch.cron("@daily", name="one")
        @dispatch.job(name="b")
        def b() -> None: ...

    with pytest.raises(ConfigurationError, match="declared twice"):
        dispatch.cron("@hourly", name="one")(a)
