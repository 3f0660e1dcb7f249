"""The commands of runs against a real server, in this process: the states are made by the stores that workers use."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from dispatch_celery import RunId
from dispatch_celery.store.client import RedisStore
from dispatch_celery.workflows.held import Awaited, RunClaim
from dispatch_celery.workflows.journal import rest_of
from dispatch_celery.workflows.model import STUCK, RunState
from tests.lua.run_world import RunWorld, asleep, awaits, run_world
from tests.support.command_line import CommandLine, order_desk

HOSTILE = "\x1b[2J\u202ea\x07\nb" + "x" * 500
"""Clears a screen, turns the direction of text, rings, breaks a line, and does not end."""


@pytest.fixture
def world(store: RedisStore, namespace: str) -> Iterator[RunWorld]:
    """Return a namespace to put runs into, under the server's own clock."""
    for world in run_world(store, namespace):
        world.time.now = None
        yield world


@pytest.fixture
def line(world: RunWorld, namespace: str, server_url: str) -> Iterator[CommandLine]:
    """Return the command line of an app that declares one workflow."""
    with order_desk(namespace, server_url) as line:
        yield line


def test_a_run_is_started_by_name(line: CommandLine) -> None:
    """The arguments are one JSON object, of the command line or of the standard input."""
    started = line.json("runs", "start", "order", "--arguments", '{"card": "4111", "amount": 3}')
    assert started["state"] == "pending"
    assert line.dispatch.runs.get(started["id"]).arguments == {"card": "4111", "amount": 3}

    printed = line.ok("runs", "start", "order", "--arguments", "-", answer='{"card": "4222"}')
    run_id = printed.split(" ", 1)[0]
    assert f"{run_id} is pending: `celery dispatch runs timeline {run_id}` follows it" in printed
    assert line.dispatch.runs.get(run_id).arguments == {"card": "4222"}


@pytest.mark.parametrize("words", ["[1]", "{", "4111-1111", '{"card": NaN}', "[" * 100_000])
def test_arguments_that_are_no_json_object_are_refused(words: str, line: CommandLine) -> None:
    """The error shows what is expected, and never what was given: it may be a secret."""
    result = line.call("runs", "start", "order", "--arguments", words)

    assert (result.exit_code, result.stdout) == (2, "")
    assert 'give one JSON object of arguments by name, such as \'{"order_id": "o-1"}\'' in result.stderr
    assert "4111" not in result.stderr
    assert line.json("runs", "count")["pending"] == 0


def test_runs_are_listed_and_counted(world: RunWorld, line: CommandLine) -> None:
    """State and name choose; pages are joined by their cursor; what stopped a run is told on one line."""
    waiting, other, parked = world.run_at("waiting").id, world.run_at("pending", name="other").id, world.taken()
    assert world.park(parked).verdict == "DONE"

    def ids(*words: str) -> list[str]:
        return [record["id"] for record in line.json("runs", "list", *words)["records"]]

    assert set(ids()) == {waiting, other, parked.ref.id}
    assert ids("--state", "waiting") == [waiting]
    assert ids("--name", "other") == [other]
    assert ids("--state", "waiting", "--name", "other") == []
    first = line.json("runs", "list", "--limit", "2")
    assert len({*ids("--limit", "2", "--cursor", first["next_cursor"]), *(one["id"] for one in first["records"])}) == 3
    printed = line.ok("runs", "list", "--limit", "2")
    assert first["next_cursor"] in printed
    assert "its code has changed" in line.ok("runs", "list")
    counts = line.json("runs", "count")
    assert (counts["waiting"], counts["pending"], counts["parked"], counts["failed"]) == (1, 1, 1, 0)
    assert line.json("runs", "count", "--state", "pending", "--name", "order") == {"pending": 0}
    assert "parked" in line.ok("runs", "count")


def test_one_run_is_shown_without_its_secrets(world: RunWorld, line: CommandLine) -> None:
    """Record, reason and the whole detail are there; arguments and result only where they are asked for."""
    done = world.taken(payload=b'{"card":"4111-1111"}')
    world.finish(done)
    parked = world.run_at("parked").id

    shown = line.ok("runs", "get", done.ref.id)
    assert "completed" in shown
    assert "4111" not in shown + line.ok("runs", "get", done.ref.id, "--json")
    assert "4111-1111" in line.ok("runs", "get", done.ref.id, "--arguments")
    assert "9007199254740993" in line.ok("runs", "get", done.ref.id, "--result")
    record = line.json("runs", "get", done.ref.id)
    assert (record["state"], record["version"], record["queue"]) == ("completed", 1, "q")
    assert {"arguments", "result"}.isdisjoint(record)
    assert line.json("runs", "get", done.ref.id, "--result")["result"] == {"big": 9007199254740993, "l": []}
    assert "\nboth\n" in line.ok("runs", "get", parked)
    failed = world.run_at("failed").id
    assert "ValueError: bad" in line.ok("runs", "get", failed)


def test_runs_are_moved_by_id(world: RunWorld, line: CommandLine) -> None:
    """Cancel and resume print the state that follows, for people and for programs."""
    waiting, held, parked = world.run_at("waiting").id, world.taken(), world.run_at("parked").id

    assert "it will not go on" in line.ok("runs", "cancel", waiting, "--reason", "not wanted")
    assert line.dispatch.runs.get(waiting).reason == "not wanted"
    assert line.json("runs", "cancel", held.ref.id) == {"id": held.ref.id, "state": "running"}
    assert line.json("runs", "resume", parked) == {"id": parked, "state": "pending"}
    assert line.dispatch.runs.state(parked) == RunState.PENDING


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("runs", "get", str(RunId.mint())), "run_not_found"),
        (("runs", "timeline", str(RunId.mint())), "run_not_found"),
        (("explain", str(RunId.mint())), "run_not_found"),
        (("runs", "get", "nonsense"), "invalid_id"),
        (("explain", "run_1"), "invalid_id"),
        (("runs", "start", "other"), "workflow_not_found"),
        (("runs", "start", "order"), "payload_error"),
        (("runs", "start", "order", "--arguments", '{"cart": "4111"}'), "payload_error"),
        (("runs", "start", "order", "--arguments", '{"card": "\\ud800"}'), "payload_error"),
        (("runs", "list", "--cursor", "x"), "configuration_error"),
        (("runs", "compensate", str(RunId.mint())), "run_not_found"),
        (("runs", "retry-undo", str(RunId.mint())), "run_not_found"),
        (("runs", "skip-undo", str(RunId.mint()), "charge#1"), "run_not_found"),
        (("runs", "skip-undo", "nonsense", "charge#1"), "invalid_id"),
    ],
)
def test_an_error_is_one_line_with_its_code(words: tuple[str, ...], code: str, line: CommandLine) -> None:
    """On stderr, with exit code 1, and nothing on stdout."""
    result = line.call(*words)

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"error [{code}]: ")
    assert result.stderr.count("\n") == 1


def test_what_is_over_is_not_moved(world: RunWorld, line: CommandLine) -> None:
    """A completed run is neither cancelled nor resumed; the error names its state."""
    done = world.run_at("completed").id

    for verb in ("cancel", "resume"):
        result = line.call("runs", verb, done)
        assert (result.exit_code, result.stderr.startswith("error [state_conflict]: ")) == (1, True)
        assert "completed" in result.stderr


def noted(world: RunWorld, *identities: str) -> RunClaim:
    """Return a held run with things to undo, noted as the engine does."""
    claim = world.taken()
    for identity in identities:
        head = {"k": "undo", "f": "shop:refund", "r": {}, "s": 0, "o": 0, "d": "0" * 12}
        assert world.runs.intend(claim, identity, rest_of(head, b"{}"))[0] == "DONE"
        claim.revision += 1
    return claim


def stuck(world: RunWorld, *identities: str) -> str:
    """Return a run that is parked because the undo of the last of its calls was given up."""
    claim = noted(world, *identities)
    assert world.finish(claim, "failed").verdict == "UNDOING"
    claim.revision += 1
    head = {"k": "undo", "f": "shop:refund", "a": 2, "e": "BankError: closed", "o": 0, "d": "0" * 12}
    assert world.runs.undo(claim, identities[-1], "stuck", rest_of(head, b"{}"))[0] == "DONE"
    claim.revision += 1
    world.runs.park(claim.ref, holder=claim.holder, token=claim.token, reason=STUCK, detail="it was given up")
    return str(claim.ref.id)


def test_an_undo_that_was_given_up_is_tried_again_or_skipped(world: RunWorld, line: CommandLine) -> None:
    """The explanation names it and every way on; each command prints the state that follows."""
    again, skipped = stuck(world, "reserve#1", "charge#1"), stuck(world, "reserve#1", "charge#1")

    said = line.ok("explain", again)
    assert "an undo was given up: undo:charge#1 after 2 attempts, with BankError: closed; 1 other waits" in said
    assert f"runs skip-undo {again} 'charge#1'` goes on with the next" in said
    drawn = line.ok("runs", "timeline", again)
    assert "\nto be undone, the last effect first\nundo " in drawn
    assert "    BankError: closed\n" in drawn
    assert line.json("runs", "retry-undo", again) == {"id": again, "state": "pending"}
    assert line.call("runs", "retry-undo", again).stderr.startswith("error [state_conflict]: ")
    assert "the next free worker goes on with its undos" in line.ok("runs", "skip-undo", skipped, "charge#1")
    undos = {one.identity: one.status for one in line.dispatch.runs.timeline(skipped)}
    assert undos == {"undo:charge#1": "skipped", "undo:reserve#1": "open"}
    assert "It is compensating: 1 of 2 undos are over, next is undo:reserve#1." in line.ok("explain", skipped)
    refused = line.call("runs", "skip-undo", stuck(world, "a#1"), "b#1")
    assert (refused.exit_code, "has no open undo 'b#1'" in refused.stderr) == (1, True)


def test_effects_are_undone_or_left_when_a_run_is_ended(world: RunWorld, line: CommandLine) -> None:
    """A cancel undoes first, compensate does so also after the end, and --discard-undo leaves everything as it is."""
    why = ("--reason", "refunded by hand")
    resting, left = noted(world, "charge#1"), noted(world, "charge#1")
    for claim in (resting, left):
        world.runs.suspend(claim, [asleep(3_600_000)])
    over, parked = noted(world, "charge#1"), stuck(world, "charge#1")
    assert world.finish(over).verdict == "DONE"

    assert "is pending: it undoes what it has done first" in line.ok("runs", "cancel", resting.ref.id)
    assert line.json("runs", "cancel", left.ref.id, "--discard-undo", *why) == {"id": left.ref.id, "state": "cancelled"}
    assert "it will not go on" in line.ok("runs", "cancel", parked, "--discard-undo", *why)
    world.discarded |= {left.ref.id, parked}
    assert "is pending: the next free worker undoes what it has done" in line.ok(
        "runs", "compensate", over.ref.id, "--reason", "a mistake"
    )
    assert line.dispatch.runs.get(over.ref.id).shown == "compensating"
    nothing = world.run_at("completed").id
    assert "nothing it did can be undone" in line.call("runs", "compensate", nothing).stderr
    assert "nothing is left to undo" in line.ok("runs", "compensate", world.run_at("waiting").id)
    held = line.call("runs", "cancel", world.taken().ref.id, "--discard-undo")
    assert (held.exit_code, "nobody holds" in held.stderr) == (1, True)


def test_the_timeline_has_a_row_for_each_call(world: RunWorld, line: CommandLine) -> None:
    """Resolved calls and open ones; values are hinted at, and shown where they are asked for."""
    claim = world.taken()
    world.note(claim, "charge#1", b'{"card":"4111-1111"}')
    world.runs.suspend(claim, [asleep(3_600_000), awaits("awaiting", None, "paid#1")])
    run_id = claim.ref.id

    drawn = line.ok("runs", "timeline", run_id)
    assert drawn.startswith(f"{run_id} (order, version 1): waiting\nbegan 20")
    rows = [row.split() for row in drawn.splitlines()]
    assert ["step", "charge#1", "value"] in [row[:3] for row in rows]
    assert "    an object of 1 field\n" in drawn
    assert ["sleep", "sleep#1", "sleeping"] in [row[:3] for row in rows]
    assert "(in 59 min)\n" in drawn
    assert "    waits, with no limit\n" in drawn
    assert "4111" not in drawn + line.ok("runs", "timeline", run_id, "--json")
    assert '    {"card": "4111-1111"}\n' in line.ok("runs", "timeline", run_id, "--values")
    found = line.json("runs", "timeline", run_id, "--values")
    assert [one["identity"] for one in found["records"]] == ["charge#1", "sleep#1", "paid#1"]
    assert (found["records"][0]["value"], found["run"]["state"]) == ({"card": "4111-1111"}, "waiting")
    assert "arguments" not in found["run"]


def test_a_retry_tells_what_ended_the_last_attempt(world: RunWorld, line: CommandLine) -> None:
    """The timeline and the explanation have the error, the number of the next attempt and when it is due."""
    head = {"k": "step", "d": "0" * 12, "o": 0, "a": 2, "w": "wkr_1", "e": f"BankError: no {HOSTILE}"}
    claim = world.suspended([Awaited("charge#1", "retrying", 120_000, rest_of(head))])

    drawn = line.ok("runs", "timeline", claim.ref.id)
    assert "    BankError: no \\x1b[2J\\u202ea\\x07 bxxx" in drawn
    assert "    attempt 3 is due 20" in drawn
    assert line.json("runs", "timeline", claim.ref.id)["last_errors"] == {"charge#1": head["e"]}
    said = line.ok("explain", claim.ref.id)
    assert "it waits for step charge#1, whose attempt 2 ended with BankError: no \\x1b[2J\\u202ea\\x07 bxxx" in said
    assert "attempt 3 is due 20" in said


def test_text_of_the_store_cannot_steer_a_terminal(world: RunWorld, line: CommandLine) -> None:
    """Identities, values, errors, reasons and names are spelled out and cut, whatever they hold."""
    claim = world.taken()
    world.note(claim, f"ste\u202ep\x1b[2J{'y' * 900}#1", json.dumps(HOSTILE).encode())
    failure = {"type": "E\x1b", "message": HOSTILE, "traceback": HOSTILE, "module": "m", "qualname": "E", "args": []}
    world.note(claim, "b#1", json.dumps({**failure, "attributes": {}}).encode(), status="error")
    world.runs.park(claim.ref, holder=claim.holder, token=claim.token, reason=HOSTILE, detail=HOSTILE)
    run_id = claim.ref.id

    commands = (
        ("runs", "timeline", run_id, "--values"),
        ("runs", "get", run_id),
        ("runs", "list"),
        ("explain", run_id),
    )
    for words in commands:
        printed = line.ok(*words)
        assert printed.replace("\n", "").isprintable(), words
        assert "\\u202e" in printed, words
        line.json(*words)
    assert max(map(len, line.ok("runs", "timeline", run_id, "--values").splitlines())) < 1_000
