"""The commands of events against a real server, in this process."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from celery import Celery

from dispatch_celery import Dispatch, EventId, RunId, scope
from tests.support.command_line import CommandLine

HOSTILE = "\x1b[2J\u202ea\x07"
"""Clears a screen, turns the direction of text, and rings."""


@pytest.fixture
def line(namespace: str, server_url: str) -> Iterator[CommandLine]:
    """Return the command line of an app."""
    app = Celery("desk", broker=server_url, set_as_current=False)
    app.conf.update(dispatch_namespace=namespace, dispatch_max_inbox=2, dispatch_max_events=3)
    dispatch = Dispatch(app)
    yield CommandLine(app, dispatch)
    dispatch.close()
    app.close()


def test_an_event_is_published_by_name(line: CommandLine) -> None:
    """Its payload is one JSON value, of the command line or of the standard input; without one it is null."""
    first = line.json("events", "publish", "paid", "--key", "o-1", "--payload", '{"by": "ann", "n": 9007199254740993}')
    printed = line.ok("events", "publish", "paid", "--payload", "-", answer="[1, 2]")
    nothing = line.ok("events", "publish", "paid")

    events = line.dispatch.events
    assert events.get(first["id"]).payload == {"by": "ann", "n": 9007199254740993}
    assert events.get(first["id"]).key == "o-1"
    assert ": runs that wait for 'paid' without a key go on\n" in printed
    assert events.get(printed.split(" ", 1)[0]).payload == [1, 2]
    assert events.get(nothing.split(" ", 1)[0]).payload is None
    assert "under the key 'o-2' go on" in line.ok("events", "publish", "paid", "--key", "o-2")


def test_an_event_is_sent_to_one_run(line: CommandLine) -> None:
    """Which need not exist yet; a full inbox is told with its remedy."""
    run_id = RunId.mint()
    sent = line.json("runs", "publish", run_id, "paid", "--payload", '"yes"')
    printed = line.ok("runs", "publish", run_id, "paid", "--payload", "-", answer="true")

    assert line.dispatch.events.get(sent["id"]).payload == "yes"
    assert f" is published: a wait of {run_id} for 'paid' takes it\n" in printed
    full = line.call("runs", "publish", run_id, "paid")
    assert (full.exit_code, full.stdout) == (1, "")
    assert full.stderr.startswith("error [state_conflict]: ")
    assert "dispatch_max_inbox" in full.stderr
    line.ok("runs", "publish", run_id, "refused")


def test_events_are_listed_by_name_and_key_within_a_tenant(line: CommandLine) -> None:
    """All of them, the newest first, or by name, key, tenant and time; pages are joined by their cursor."""
    a = line.json("events", "publish", "paid", "--key", "k")["id"]
    b = line.json("events", "publish", "paid")["id"]
    tenant = ("--scope-app", "shop", "--scope-org", "acme")
    c = line.json("events", "publish", "paid", "--key", "k", *tenant)["id"]
    with scope(app_id="shop", org_id="acme"):
        assert [one.id for one in line.dispatch.events.list(name="paid", key="k")] == [c]

    def ids(*words: str) -> list[str]:
        return [record["id"] for record in line.json("events", "list", *words)["records"]]

    assert ids() == ids("--name", "paid") == [c, b, a]
    assert ids("--name", "paid", "--key", "k") == [a]
    assert ids("--name", "paid", "--key", "k", *tenant) == ids(*tenant) == ids("--scope-app", "shop") == [c]
    assert ids("--key", "k") == [c, a]
    assert ids("--name", "other") == []
    assert ids("--after", "1m") == [c, b, a]
    assert ids("--before", "1m") == ids("--after", "2999-01-01") == []
    first = line.json("events", "list", "--limit", "2")
    assert ids("--limit", "2", "--cursor", first["next_cursor"]) == [a]
    printed = line.ok("events", "list", "--limit", "2")
    assert (c in printed, "shop/acme" in printed, first["next_cursor"] in printed) == (True, True, True)


def test_a_payload_is_shown_only_where_it_is_asked_for(line: CommandLine) -> None:
    """It may hold secrets."""
    event_id = line.json("events", "publish", "paid", "--key", "o-1", "--payload", '{"card": "4111-1111"}')["id"]

    shown = line.ok("events", "get", event_id)
    assert "o-1" in shown
    listed = line.ok("events", "list") + line.ok("events", "list", "--json")
    assert "4111" not in shown + listed + line.ok("events", "get", event_id, "--json")
    assert "4111-1111" in line.ok("events", "get", event_id, "--payload")
    record = line.json("events", "get", event_id, "--payload")
    assert (record["name"], record["key"], record["payload"]) == ("paid", "o-1", {"card": "4111-1111"})


@pytest.mark.parametrize("words", ["{", "4111-1111", '{"card": NaN}', "[" * 100_000])
@pytest.mark.parametrize("verb", [("events", "publish"), ("runs", "publish", str(RunId.mint()))])
def test_a_payload_that_is_no_json_is_refused(verb: tuple[str, ...], words: str, line: CommandLine) -> None:
    """The error shows what is expected, and never what was given."""
    result = line.call(*verb, "paid", "--payload", words)

    assert (result.exit_code, result.stdout) == (2, "")
    assert 'give one JSON value, such as \'{"by": "ann"}\'' in result.stderr
    assert "4111" not in result.stderr
    assert line.json("events", "list")["records"] == []


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("events", "get", str(EventId.mint())), "event_not_found"),
        (("events", "get", "nonsense"), "invalid_id"),
        (("events", "publish", ""), "configuration_error"),
        (("events", "publish", f"paid{HOSTILE}"), "configuration_error"),
        (("events", "publish", "paid", "--key", ""), "configuration_error"),
        (("events", "publish", "paid", "--scope-app", "a/b"), "configuration_error"),
        (("events", "publish", "paid", "--payload", '"\\ud800"'), "payload_error"),
        (("events", "list", "--cursor", "x"), "configuration_error"),
        (("runs", "publish", "nonsense", "paid"), "invalid_id"),
    ],
)
def test_an_error_is_one_line_with_its_code(words: tuple[str, ...], code: str, line: CommandLine) -> None:
    """On stderr, with exit code 1, and nothing on stdout."""
    result = line.call(*words)

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"error [{code}]: ")
    assert result.stderr.count("\n") == 1


def test_text_of_an_event_cannot_steer_a_terminal(line: CommandLine) -> None:
    """Keys and payloads are spelled out, whatever they hold."""
    event_id = line.json("events", "publish", "paid", "--key", HOSTILE, "--payload", json.dumps(HOSTILE))["id"]

    for words in (("list",), ("get", event_id, "--payload")):
        printed = line.ok("events", *words)
        assert printed.replace("\n", "").isprintable(), words
        assert "\\u202e" in printed, words
    assert line.ok("events", "publish", "paid", "--key", HOSTILE).replace("\n", "").isprintable()
