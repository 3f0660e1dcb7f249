"""The commands of cron entries against a real server, in this process."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from celery import Celery

from dispatch_celery import Dispatch, JobId, Secret
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
    def report(card: Secret[str] = "", n: int = 1, note: str = "") -> None: ...

    yield CommandLine(app, dispatch)
    dispatch.close()
    app.close()


def test_an_entry_is_registered_shown_and_deleted(line: CommandLine) -> None:
    """With the words of the API; what is secret in what it is called with is shown only where it is asked for."""
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

    assert "is disabled: it does not fire; `celery dispatch cron enable hourly`" in line.ok("cron", "disable", "hourly")
    assert [one["name"] for one in line.json("cron", "list", "--state", "disabled")["records"]] == ["hourly"]
    assert "is enabled: it fires 2" in line.ok("cron", "enable", "hourly")
    refused = line.call("cron", "disable", "hourly", "--revision", "1")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert refused.stderr.startswith("error [cron_conflict]: ")


def test_an_entry_is_shown_with_what_an_edit_must_give(line: CommandLine) -> None:
    """Its arguments stand on one line of JSON, to be pasted; what is secret is masked, and never taken back."""
    line.ok("cron", "register", "n 1", "@hourly", "report", "--arguments", '{"card": "4111", "note": "\u202ehi"}')

    shown = line.ok("cron", "show", "n 1")
    (called,) = [row for row in shown.splitlines() if row.startswith("arguments: ")]
    assert json.loads(called.removeprefix("arguments: ")) == {"card": "***", "note": "\u202ehi"}
    assert "*** stands for what is hidden; `celery dispatch cron show cron_" in shown
    found = line.json("cron", "show", "n 1")
    assert (found["arguments"], found["arguments_masked"]) == ({"card": "***", "note": "\u202ehi"}, True)
    whole = line.json("cron", "show", "n 1", "--arguments")
    assert (whole["arguments"]["card"], whole["arguments_masked"]) == ("4111", False)
    assert '"4111"' in line.ok("cron", "show", "n 1", "--arguments")

    refused = line.call("cron", "register", "n 1", "@daily", "report", "--arguments", json.dumps(found["arguments"]))
    assert (refused.exit_code, "`celery dispatch cron show 'n 1' --arguments` shows it" in refused.stderr) == (1, True)
    assert line.dispatch.crons.get("n 1").revision == 1


def test_a_disabled_entry_is_told_in_words(line: CommandLine) -> None:
    """In the list, by itself and explained: since when, and how it is enabled."""
    line.ok("cron", "register", "hourly", "@hourly", "report")
    assert "disabled" not in line.ok("cron", "list") + line.ok("cron", "show", "hourly")
    line.ok("cron", "disable", "hourly")
    since = line.dispatch.crons.get("hourly").disabled_at
    line.ok("cron", "register", "hourly", "@daily", "report")

    assert since is not None
    assert line.dispatch.crons.get("hourly").disabled_at == since
    listed, shown = line.ok("cron", "list"), line.ok("cron", "show", "hourly")
    assert f"disabled since {since:%Y-%m-%d %H:%M:%S}" in listed
    assert "1 of these is disabled, and not fired: `celery dispatch cron enable hourly` lets it fire again" in listed
    assert f"somebody has disabled it {since:%Y-%m-%d %H:%M:%S}" in shown
    assert "`celery dispatch cron enable hourly` lets it fire again" in shown
    assert f"somebody has disabled it {since:%Y-%m-%d %H:%M:%S}" in line.ok(
        "explain", line.dispatch.crons.get("hourly").id
    )
    line.ok("cron", "enable", "hourly")
    assert line.json("cron", "show", "hourly")["disabled_at"] is None


def test_deleting_an_entry_of_the_code_says_that_it_comes_back(line: CommandLine) -> None:
    """Before it asks and after; one of the API goes for good."""
    line.ok("cron", "register", "by hand", "@hourly", "report")
    assert line.json("cron", "delete", "by hand", "--yes")["comes_back"] is False
    for name in ("first", "second", "third"):
        line.dispatch.cron("@hourly", name=name)(line.dispatch.job(name=f"job.{name}")(lambda: None))
    line.dispatch._parts.make_registrar(line.dispatch._parts.store).declare()

    kept = line.call("cron", "delete", "first", answer="n\n")
    assert (kept.exit_code, line.dispatch.crons.get("first").name) == (1, "first")
    assert "comes back with the next worker or beat that declares it" in kept.stderr
    assert "`celery dispatch cron disable first`" in kept.stderr
    assert "comes back with the next worker" in line.ok("cron", "delete", "first", "--yes")
    assert line.ok("cron", "delete", "second", answer="y\n") == "second is deleted\n"
    assert line.json("cron", "delete", "third", "--yes")["comes_back"] is True


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


def test_times_are_told_in_the_zone_of_the_entry_too(line: CommandLine) -> None:
    """Beside UTC, and with the day where that is another one; not where the zone is UTC."""
    made = line.ok("cron", "register", "x", "0 3 * * *", "report", "--timezone", "Asia/Tokyo")

    for told in (made, line.ok("cron", "next", "x"), line.ok("explain", "x"), line.ok("cron", "show", "x")):
        assert " 18:00:00 UTC" in told
        assert " 03:00:00 Asia/Tokyo" in told
    line.ok("cron", "register", "x", "0 3 * * *", "report", "--timezone", "UTC")
    assert "03:00:00 UTC" in line.ok("cron", "show", "x")
    assert ", 03:00:00" not in line.ok("cron", "show", "x") + line.ok("cron", "next", "x") + line.ok("explain", "x")


def test_times_of_an_entry_that_does_not_fire_are_no_promise(line: CommandLine) -> None:
    """It is said that they come only once it is enabled."""
    line.ok("cron", "register", "x", "@hourly", "report")
    assert "\nnext " in line.ok("cron", "show", "x")
    line.ok("cron", "disable", "x")

    shown = line.ok("cron", "show", "x")
    assert "\nwould fire, were it enabled" in shown
    assert "\nnext" not in shown


def test_a_start_and_an_end_are_moments_to_come(line: CommandLine) -> None:
    """A length is from now on, which the help says; a start may be over, an end may not."""
    made = line.json("cron", "register", "x", "@hourly", "report", "--start", "2h", "--end", "3d")
    ahead = [datetime.fromisoformat(made[word]) - datetime.now(UTC) for word in ("start", "end")]
    assert timedelta(hours=1, minutes=58) < ahead[0] < timedelta(hours=2)
    assert timedelta(days=2, hours=23) < ahead[1] < timedelta(days=3)
    assert datetime.fromisoformat(made["next_fires"][0]) > datetime.fromisoformat(made["start"])
    past = line.json("cron", "register", "x", "@hourly", "report", "--start", "2020-01-31T12:00")
    assert past["start"].startswith("2020-01-31T12:00:00")

    refused = line.call("cron", "register", "y", "@hourly", "report", "--end", "2020-01-31T12:00")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "'2020-01-31T12:00' is over: it was 2020-01-31 12:00:00 UTC" in refused.stderr
    told = line.call("cron", "register", "y", "@hourly", "report", "--start", "tomorrow").stderr
    assert "or how long from now on (90s, 15m, 2h, 3d)" in told
    assert "how long from now on" in " ".join(line.ok("cron", "register", "--help").split())
    assert len(line.json("cron", "list")["records"]) == 1


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
