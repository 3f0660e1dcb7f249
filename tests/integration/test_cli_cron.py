"""The commands of cron entries against a real server, in this process."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime

import pytest
from celery import Celery

from dispatch_celery import Dispatch, JobId
from dispatch_celery.store.client import RedisStore
from tests.lua.world import World
from tests.support.command_line import CommandLine


@pytest.fixture
def line(namespace: str, server_url: str) -> Iterator[CommandLine]:
    """Return the command line of an app with one job."""
    app = Celery("desk", broker=server_url, set_as_current=False)
    app.conf.update(dispatch_namespace=namespace, task_default_queue=namespace)
    dispatch = Dispatch(app)

    @dispatch.job(name="report")
    def report(card: str = "", n: int = 1) -> None: ...

    yield CommandLine(app, dispatch)
    dispatch.close()
    app.close()


def test_an_entry_is_registered_shown_and_deleted(line: CommandLine) -> None:
    """With the words of the API; what it is called with is shown only where it is asked for."""
    options = ("--timezone", "Europe/Berlin", "--overlap", "skip", "--misfire", "all(3)", "--jitter", "2.5")
    made = line.json("cron", "register", "nightly", "0 3 * * *", "report", "--arguments", '{"card": "4111"}', *options)

    assert (made["name"], made["schedule"], made["timezone"], made["target"]) == (
        "nightly",
        "0 3 * * *",
        "Europe/Berlin",
        "report",
    )
    assert (made["overlap"], made["misfire"], made["jitter"], made["revision"]) == ("skip", "all(3)", 2.5, 1)
    assert len(made["next_fires"]) == 5
    shown = line.ok("cron", "show", "nightly")
    assert "0 3 * * * (Europe/Berlin)" in shown
    assert "4111" not in shown + line.ok("cron", "list") + line.ok("cron", "show", made["id"], "--json")
    assert line.json("cron", "show", "nightly", "--arguments")["arguments"] == {"card": "4111"}
    assert line.json("cron", "delete", "nightly", "--yes")["id"] == made["id"]
    assert line.json("cron", "list")["records"] == []


def test_an_entry_is_paused_and_goes_on(line: CommandLine) -> None:
    """It is told when it fires next; a revision that is not the last one is refused."""
    line.ok("cron", "register", "hourly", "@hourly", "report")

    assert "is disabled: it fires never, as it stands" in line.ok("cron", "disable", "hourly")
    assert [one["name"] for one in line.json("cron", "list", "--state", "disabled")["records"]] == ["hourly"]
    assert "is enabled: it fires 2" in line.ok("cron", "enable", "hourly")
    refused = line.call("cron", "disable", "hourly", "--revision", "1")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert refused.stderr.startswith("error [cron_conflict]: ")


def test_an_entry_is_run_now(line: CommandLine) -> None:
    """Its job is there at once, and in its history."""
    line.ok("cron", "register", "hourly", "@hourly", "report")
    made = line.json("cron", "trigger", "hourly")

    assert line.dispatch.jobs.get(JobId.parse(made["id"])).name == "report"
    assert "triggered" in line.ok("cron", "show", "hourly")
    assert made["id"] in line.ok("cron", "show", "hourly")


def test_the_next_moments_are_told(line: CommandLine) -> None:
    """As many as are asked for."""
    line.ok("cron", "register", "hourly", "@hourly", "report")
    found = line.json("cron", "next", "hourly", "--count", "7")["next_fires"]

    assert len(found) == 7
    assert all(datetime.fromisoformat(one).minute == 0 for one in found)
    assert line.ok("cron", "next", "hourly", "--count", "2").count("UTC (in ") == 2


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("register", "x", "61 * * * *", "report"), "invalid_schedule", "at character 1"),
        (("register", "x", "@hourly", "report", "--arguments", '{"m": 1}'), "payload_error", "m"),
        (("show", "nothing"), "cron_not_found", "nothing"),
        (("trigger", "nothing"), "cron_not_found", "nothing"),
    ],
)
def test_what_is_refused_is_told_on_one_line(line: CommandLine, words: tuple[str, ...], code: str, told: str) -> None:
    """With its code, on the standard error."""
    result = line.call("cron", *words)

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"error [{code}]: ")
    assert told in result.stderr


def test_an_entry_is_explained(line: CommandLine) -> None:
    """When it fires; or why not, and what to do."""
    entry = line.dispatch.crons.register("hourly", "@hourly", "report")

    told = line.json("explain", entry.id)
    assert (told["kind"], told["state"]) == ("cron entry", "enabled")
    assert told["explanation"].startswith("hourly fires 2")
    assert datetime.fromisoformat(told["next_at"]) == entry.next_fire_at
    line.dispatch.crons.disable("hourly")
    assert f"cron enable {entry.id}" in line.ok("explain", entry.id)


def test_a_target_that_nobody_knows_is_told(line: CommandLine, caplog: pytest.LogCaptureFixture) -> None:
    """It may be deployed later, so the entry is registered; once beside it, with the one that is meant."""
    told = line.call("cron", "register", "nightly", "0 3 * * *", "repotr", "--json")

    assert told.exit_code == 0
    assert told.stderr == (
        "notice: neither this app nor a worker declares 'repotr': what is created waits for a worker that does;"
        " did you mean 'report'?\n"
    )
    assert json.loads(told.stdout)["target"] == "repotr"
    assert not caplog.records
    assert line.call("cron", "register", "nightly", "0 3 * * *", "report").stderr == ""


def test_the_api_warns_of_a_target_that_nobody_knows(
    line: CommandLine, store: RedisStore, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    """In the log; not of one that this app declares, nor of one that a worker somewhere has published."""
    World(store, namespace).register(far="{}")
    for target in ("report", "far"):
        line.dispatch.crons.register("known", "@daily", target)
    assert not caplog.records

    line.dispatch.crons.register("nightly", "@daily", "repotr")

    (warning,) = caplog.records
    assert (warning.levelname, warning.name) == ("WARNING", "dispatch_celery.cron.service")
    assert "'nightly' is registered, but neither this app nor a worker declares 'repotr'" in warning.getMessage()
    assert "did you mean 'report'?" in warning.getMessage()
