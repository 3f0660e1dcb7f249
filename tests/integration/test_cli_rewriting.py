"""The commands that give a run another past, and the one that looks before a deploy, against real journals."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from celery import Celery

from dispatch_celery import Dispatch, Retry, RunId, RunState, Workflow
from dispatch_celery.testing import Kit
from tests.support.command_line import CommandLine

app = Celery("rewritten", broker="redis://127.0.0.1:1/0", set_as_current=False)
dispatch = Dispatch(app)
broken: set[str] = set()
changed: list[bool] = []


def unbook(_: str | None, city: str) -> None:
    """Take back."""


@dispatch.step(retry=Retry(1), undo=unbook)
def book(city: str) -> str:
    """Have an effect."""
    return f"booked {city}"


@dispatch.step(retry=Retry(1))
def pay(ticket: str) -> str:
    """Fail, or not."""
    if "bank" in broken:
        raise ConnectionError("the bank is closed")
    return f"paid {ticket}"


@dispatch.workflow(name="trip")
def trip(wf: Workflow, city: str) -> list[str]:
    """An effect, a payment, a rest; and a call more, where the code has changed."""
    ticket = wf.step(book, city)
    if changed:
        wf.step(pay, "an umbrella")
    receipt = wf.step(pay, ticket)
    wf.sleep(timedelta(hours=1))
    return [ticket, receipt]


@dispatch.workflow(name="nap", version=1)
def nap_1(wf: Workflow) -> str:
    """Sleep."""
    wf.sleep(timedelta(hours=1))
    return "1"


@dispatch.workflow(name="nap", version=2)
def nap_2(wf: Workflow) -> str:
    """Sleep, with another end."""
    wf.sleep(timedelta(hours=1))
    return "2"


@dispatch.workflow(name="nap", version=3)
def nap_3(wf: Workflow) -> str:
    """Do something else."""
    return wf.step(pay, "a bed")


@dispatch.workflow(name="nap", version=4)
def nap_4(wf: Workflow) -> str:
    """Not work."""
    raise TypeError(f"no {wf.info.name}\nat all")


@pytest.fixture
def kit(server_url: str) -> Iterator[Kit]:
    """Return a world of the app, executed by the test."""
    broken.clear()
    changed.clear()
    with Kit(dispatch, server_url) as kit:
        yield kit


@pytest.fixture
def line(kit: Kit) -> CommandLine:
    """Return the app's command line."""
    return CommandLine(app, dispatch)


def failed_trip(kit: Kit) -> RunId:
    """Return a run that could not pay, and has undone what it did before."""
    broken.add("bank")
    run = trip.start("Rome")
    kit.drain()
    broken.clear()
    assert run.state() == RunState.FAILED
    return run.id


def resting_trip(kit: Kit) -> RunId:
    """Return a run that rests, with two calls recorded."""
    run = trip.start("Rome")
    kit.drain()
    assert run.state() == RunState.WAITING
    return run.id


def parked_trip(kit: Kit) -> RunId:
    """Return a run whose code had changed when it woke."""
    run_id = resting_trip(kit)
    changed.append(True)
    kit.advance(timedelta(hours=1))
    assert dispatch.runs.state(run_id) == RunState.PARKED
    return run_id


def result_of(kit: Kit, run_id: str) -> Any:
    """Return the result of a run."""
    return kit.result(dispatch.runs.handle(run_id))


def refused(line: CommandLine, *words: str) -> str:
    """Return the one line that a command ends with which is refused."""
    result = line.call(*words)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.count("\n") == 1
    return result.stderr


def test_a_failed_run_is_rewound_as_its_explanation_says(kit: Kit, line: CommandLine) -> None:
    """To the first effect that was undone; anywhere behind it the error names that call."""
    run_id = failed_trip(kit)

    assert f"runs rewind {run_id} --to 'book#1'` lets this one go on" in line.ok("explain", run_id)
    assert "go back to 'book#1'" in refused(line, "runs", "rewind", run_id, "--to", "pay#1")
    assert "'pay#9'" in refused(line, "runs", "rewind", run_id, "--to", "pay#9")
    rewind = ("runs", "rewind", run_id, "--to", "book#1", "--idempotency-key", "once")
    assert line.ok(*rewind) == f"{run_id} is pending: the next free worker goes on with book#1\n"
    assert result_of(kit, run_id) == ["booked Rome", "paid booked Rome"]
    assert line.ok(*rewind) == f"{run_id} is completed: it was taken back under this key\n"
    assert "ConnectionError: the bank is closed" in line.ok("runs", "timeline", run_id, "--previous")


def test_effects_are_left_on_a_persons_word(kit: Kit, line: CommandLine) -> None:
    """The error names the option as it is called here."""
    run_id = resting_trip(kit)
    result_of(kit, run_id)

    said = refused(line, "runs", "rewind", run_id)
    assert "book#1 would happen again" in said
    assert "rewind it with --discard-undo, which" in said
    again = ("runs", "rewind", run_id, "--discard-undo")
    assert line.json(*again) == {"id": run_id, "state": "pending"}
    assert "is pending: a run is rewound when it is parked or has ended" in refused(line, *again)


def test_a_parked_run_goes_on_as_its_explanation_says(kit: Kit, line: CommandLine) -> None:
    """From the first call that differs on, with the new code."""
    run_id = parked_trip(kit)

    said = line.ok("explain", run_id)
    assert "\nthe code calls step pay#1 with other arguments where step pay#1 is recorded.\n" in said
    assert f"runs rewind {run_id} --to 'pay#1'` lets it go on with the new code: that call" in said
    line.ok("runs", "rewind", run_id, "--to", "pay#1")
    assert result_of(kit, run_id) == ["booked Rome", "paid booked Rome"]
    assert kit.executions["pay"] == 3


def test_a_run_is_forked_with_another_input_and_other_results(kit: Kit, line: CommandLine) -> None:
    """Each given as JSON, also on the standard input; the new run's id is printed, and it says where it comes from."""
    run_id = resting_trip(kit)

    edits = ("--arguments", '{"city": "Oslo"}', "--result", 'book#1="by hand=#1"')
    command = ("runs", "fork", run_id, "--at", "pay#1", *edits, "--idempotency-key", "once")
    printed = line.ok(*command)
    assert line.ok(*command) == printed
    fork, _, words = printed.partition(" is pending: ")
    assert words == f"it has what came before pay#1 of {run_id}; `celery dispatch runs timeline {fork}` follows it\n"
    assert dispatch.runs.get(fork).arguments == {"city": "Oslo"}
    assert f"forked from: {run_id}\n" in line.ok("runs", "timeline", fork)
    assert result_of(kit, fork) == ["by hand=#1", "paid by hand=#1"]
    whole = line.json("runs", "fork", run_id, "--result", 'book#1="a=b"', "--result", 'pay#1="cash"')
    assert result_of(kit, whole["id"]) == ["a=b", "cash"]
    piped = line.ok("runs", "fork", run_id, "--result", "book#1=-", answer='"piped"')
    assert "it has all that has an outcome of" in piped
    assert result_of(kit, piped.split(" ", 1)[0])[0] == "piped"


@pytest.mark.parametrize("words", ["book#1", "book=1", "=1", "book#1={", "book#1=4111 1111", "book#1=NaN", '"4111"'])
def test_a_result_that_is_none_is_refused(words: str, kit: Kit, line: CommandLine) -> None:
    """The error shows what is expected, and never what was given: it may be a secret."""
    result = line.call("runs", "fork", resting_trip(kit), "--result", words)

    assert (result.exit_code, result.stdout) == (2, "")
    assert "such as " in result.stderr
    assert "4111" not in result.stderr
    assert sum(dispatch.runs.count().values()) == 1


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("--result", "pay#1=1", "--result", "pay#1=2"), 2, "given twice"),
        (("--at", "pay#1", "--result", "pay#1=1"), 1, "error [promise_not_found]: "),
        (("--result", "sleep#1=1"), 1, "error [promise_not_found]: "),
        (("--arguments", '{"town": "Oslo"}'), 1, "error [payload_error]: "),
        (("--version", "9"), 1, "error [workflow_not_found]: "),
    ],
)
def test_a_fork_is_asked_for_in_full(words: tuple[str, ...], code: int, told: str, kit: Kit, line: CommandLine) -> None:
    """What is not there, does not fit or is said twice is refused, and nothing is started."""
    result = line.call("runs", "fork", resting_trip(kit), *words)

    assert (result.exit_code, result.stdout) == (code, "")
    assert told in result.stderr
    assert sum(dispatch.runs.count().values()) == 1


def test_a_run_is_migrated(kit: Kit, line: CommandLine) -> None:
    """It says when the other version takes over, and that it will not fit where it does not."""
    run_id = nap_1.start().id
    kit.drain()

    printed = line.ok("runs", "migrate", run_id, "2")
    assert printed == f"{run_id} is waiting: it goes on with version 2 when what it waits for has come\n"
    bad = line.ok("runs", "migrate", run_id, "3")
    assert "has come, but it would park: the code calls step pay#1 where sleep sleep#1 is recorded.\n" in bad
    kit.advance(timedelta(hours=1))
    assert "is parked since" in line.ok("explain", run_id)
    assert line.json("runs", "migrate", run_id, "2") == {"id": run_id, "state": "pending"}
    assert result_of(kit, run_id) == "2"
    assert "no version 9 of nap; it has: 1, 2, 3, 4" in refused(line, "runs", "migrate", run_id, "9")
    assert "is completed" in refused(line, "runs", "migrate", run_id, "1")


def test_code_that_fits_lets_a_pipeline_go_on(kit: Kit, line: CommandLine) -> None:
    """Exit code 0 and one line; runs that have ended are not looked at."""
    failed_trip(kit)
    assert line.ok("runs", "check-code") == "0 runs looked at: 0 would go on.\n"
    resting_trip(kit)
    nap_1.start()
    kit.drain()

    assert line.ok("runs", "check-code") == "2 runs looked at: 2 would go on.\n"
    assert line.ok("runs", "check-code", "--name", "nap", "--version", "2") == (
        "1 run looked at, as version 2: 1 would go on.\n"
    )
    assert line.json("runs", "check-code", "--name", "nap")["bad"] == 0


def test_code_that_does_not_fit_stops_a_pipeline(kit: Kit, line: CommandLine) -> None:
    """Exit code 1, a row with its reason for each run that would not go on, and a sum."""
    resting = resting_trip(kit)
    nap = nap_1.start().id
    kit.drain()
    changed.append(True)

    result = line.call("runs", "check-code")
    assert result.exit_code == 1
    (row,) = [row.split(maxsplit=5) for row in result.stdout.splitlines() if resting in row]
    assert row[1:5] == ["trip", "1", "waiting", "parks"]
    assert row[5].strip() == "the code calls step pay#1 with other arguments where step pay#1 is recorded."
    assert nap not in result.stdout
    assert result.stdout.endswith("\n2 runs looked at: 1 would go on, 1 would park.\n")
    one = line.call("runs", "check-code", "--run", resting)
    assert one.exit_code == 1
    assert "\nrecorded: step book#1, step pay#1, sleep sleep#1\n" in one.stdout
    parsed = line.call("runs", "check-code", "--json")
    assert parsed.exit_code == 1
    assert '"complete": true' in parsed.stdout
    kit.advance(timedelta(hours=1))
    assert "1 would park (1 is parked already).\n" in line.call("runs", "check-code").stdout


@pytest.mark.parametrize(
    ("version", "told"),
    [("4", "0 would go on, 1 would fail."), ("9", "0 would go on, 1 would find no code.")],
)
def test_a_version_is_checked_before_runs_are_migrated_to_it(version: str, told: str, line: CommandLine) -> None:
    """One that raises at once, and one that is not declared; of which runs is to be said."""
    run_id = nap_1.start().id

    for which in (("--name", "nap"), ("--run", run_id)):
        result = line.call("runs", "check-code", *which, "--version", version)
        assert (result.exit_code, f"1 run looked at, as version {version}: {told}\n" in result.stdout) == (1, True)
    of_all = line.call("runs", "check-code", "--version", version)
    assert (of_all.exit_code, of_all.stdout) == (2, "")
    assert "with --run or --name" in of_all.stderr


def test_runs_that_were_not_looked_at_are_told(kit: Kit, line: CommandLine) -> None:
    """An exit code of its own: nothing is wrong with those that were."""
    for _ in range(3):
        nap_1.start()
    kit.drain()

    result = line.call("runs", "check-code", "--limit", "2")
    assert (result.exit_code, result.stdout) == (
        3,
        "2 runs looked at: 2 would go on; there are more: raise --limit, or choose with --name.\n",
    )
    assert line.call("runs", "check-code", "--limit", "3").exit_code == 0
