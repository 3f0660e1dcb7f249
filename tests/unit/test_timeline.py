"""How a run's durable calls are drawn: one row each, with bars in proportion, readable at 80 columns."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.cells import cell_len

from dispatch_celery.cli.phrases import Member
from dispatch_celery.cli.timeline import Timeline
from dispatch_celery.ids import RunId, WorkerId
from dispatch_celery.scope import Scope
from dispatch_celery.work.model import Failure
from dispatch_celery.workflows.model import PromiseRecord, Run, RunState

START = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
WORKER = WorkerId.mint()
ID = RunId.mint()


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def run(state: RunState = RunState.WAITING, **fields: Any) -> Run:
    common: dict[str, Any] = {
        "queue": "q",
        "priority": 0,
        "arguments": {},
        "scope": Scope(),
        "created_at": at(-5),
        "started_at": START,
        "version": 3,
    }
    return Run(id=ID, name="checkout", state=state, **{**common, **fields})


def call(identity: str, kind: str = "step", status: str = "value", **fields: Any) -> PromiseRecord:
    common: dict[str, Any] = {"begun_at": None, "resolved_at": None, "due_at": None, "attempts": 0, "worker": ""}
    return PromiseRecord(identity=identity, kind=kind, status=status, **{**common, **fields})


def step(identity: str, begun: float, ended: float, **fields: Any) -> PromiseRecord:
    return call(identity, begun_at=at(begun), resolved_at=at(ended), **{"attempts": 1, "worker": WORKER, **fields})


def drawn(promises: list[PromiseRecord], *, seconds: float = 20, of: Run | None = None, **options: Any) -> list[str]:
    width = options.pop("width", 80)
    timeline = Timeline(run=of or run(), promises=promises, now=at(seconds), width=width, **options)
    return [line.plain for line in timeline.lines()]


def row(lines: list[str], identity: str) -> str:
    (found,) = [line for line in lines if identity in line]
    return found


def test_a_row_has_all_there_is_to_know_of_a_call() -> None:
    """Kind, identity, status, times, length, attempts, the worker's tail and a bar at its place."""
    lines = drawn([step("charge#1", 5, 10, attempts=2, value={"card": "4111"})])

    assert lines[:2] == [
        f"{ID} (checkout, version 3): waiting",
        "began 2026-05-04 12:00:00 UTC (20 s ago), 20 s so far",
    ]
    head, found = row(lines, "tries"), row(lines, "charge#1")
    assert found.split()[:8] == ["step", "charge#1", "value", "12:00:05", "12:00:10", "5.0", "s", "2"]
    assert WORKER[-6:] in found
    begin, bar = found.index("█") - head.index(" 0 ") - 1, found.count("█")
    width = len(head) - head.index(" 0 ") - 1
    assert (begin / width, bar / width) == (pytest.approx(0.25, abs=0.06), pytest.approx(0.25, abs=0.06))
    assert lines[-1] == "    an object of 1 field"


@pytest.mark.parametrize("width", [80, 100, 250])
def test_a_row_fits_the_terminal(width: int) -> None:
    """However long names, values, errors and the run are; a longer identity has a line of its own and stays whole."""
    long = "n" * 70
    promises = [
        step(f"{long}#1", 1, 2, value="v" * 500),
        step("b#1", 2, 3, status="error", failure=Failure(type="E", message="m" * 500)),
        step("漢字#1", 3, 4, value="漢" * 300),
        call("sleep#1", "sleep", "sleeping", due_at=at(10**7)),
        call("pay#1", status="retrying", attempts=3, worker=WORKER, due_at=at(10**7)),
    ]
    lines = drawn(promises, seconds=400_000, width=width, with_values=True, last_errors={"pay#1": "x" * 500})

    assert max(cell_len(line) for line in lines[3:]) <= width
    assert row(lines, long).strip() == f"step  {long}#1"


def test_columns_stay_below_their_heads() -> None:
    """Wide characters count as two cells."""
    lines = drawn([step("漢字#1", 1, 2), step("ab#1", 2, 3)])

    places = {cell_len(row(lines, name).partition("value")[0]) for name in ("漢字#1", "ab#1")}
    assert places == {cell_len(row(lines, "kind").partition("status")[0])}


def test_the_begin_of_a_rest_is_taken_from_the_call_before() -> None:
    """It is marked as not exact; the rest is drawn light, from that call to its end or to now."""
    lines = drawn(
        [
            step("a#1", 0, 4),
            call("sleep#1", "sleep", resolved_at=at(12)),
            call("sleep#2", "sleep", "sleeping", due_at=at(80)),
        ],
    )

    assert row(lines, "sleep#1").split()[3:7] == ["~12:00:04", "12:00:12", "~8.0", "s"]
    assert row(lines, "sleep#2").split()[3:6] == ["~12:00:12", "~8.0", "s"]
    assert "░" in row(lines, "sleep#2")
    assert "    until 2026-05-04 12:01:20 UTC (in 1 min)" in lines


def test_branches_have_a_before_of_their_own() -> None:
    """A rest in one branch does not begin where a call of another ended."""
    lines = drawn([step("a/x#1", 0, 4), step("b/y#1", 0, 9), call("a/sleep#1", "sleep", resolved_at=at(12))])

    assert "~12:00:04" in row(lines, "  sleep#1")


def test_members_stand_below_their_group() -> None:
    """In the order of their ends, indented, without its name; also while nothing is decided; the group spans them."""
    members = {
        "gather#1/b#1": Member(id="job_b", state="completed", begun_at=at(5)),
        "gather#1/a#1": Member(id="run_a", state="waiting", begun_at=at(6)),
    }
    lines = drawn(
        [
            step("first#1", 0, 5),
            call("gather#1/b#1", "job", resolved_at=at(10), value={"x": 1}),
            step("gather#1/c#1", 6, 7),
            call("gather#1/a#1", "child", "open"),
        ],
        members=members,
    )
    names = [line.split()[1] for line in lines if line.startswith(("step", "gather", "job", "child"))]

    assert names == ["first#1", "gather#1", "b#1", "c#1", "a#1"]
    assert row(lines, "gather#1").split()[:6] == ["gather", "gather#1", "open", "12:00:05", "15", "s"]
    places = [row(lines, name).index(name) for name in ("gather#1", " b#1", " c#1", " a#1")]
    assert [place - places[0] for place in places] == [0, 1, 1, 1]
    assert "    job_b: an object of 1 field" in lines
    assert "    run_a: waiting" in lines
    over = drawn([call("race#1/a#1", "job", resolved_at=at(3)), call("race#1", "race", resolved_at=at(4), value=0)])
    assert "    call 1 of it decided it" in over


def test_many_members_are_one_line() -> None:
    """How many stand how, and a bar of those that are over; of those that failed the first are named."""
    failure = Failure(type="E", message="no")
    several = [
        *(call(f"map#1/a#{n}", "job", resolved_at=at(n / 100), value=1) for n in range(1_000)),
        *(call(f"map#1/b#{n}", "job", "error", resolved_at=at(15), failure=failure) for n in range(10)),
        *(call(f"map#1/c#{n}", "job", "open") for n in range(1_010)),
    ]
    lines = drawn(several)

    (summary,) = [line for line in lines if "2,020 calls" in line]
    assert summary.startswith("    2,020 calls: 1,000 value, 10 error, 1,010 open ")
    assert (summary.count("█"), summary.count("░")) == (14, 15)
    assert len(summary) == 80
    assert [line.split()[1] for line in lines if line.startswith("job")] == ["b#0", "b#1", "b#2"]
    assert all(line.isascii() for line in drawn(several, ascii_only=True))
    twenty = drawn([call(f"map#1/a#{n}", "job", "open") for n in range(20)])
    assert sum(line.startswith("job") for line in twenty) == 20


def test_undos_have_a_heading_of_their_own() -> None:
    """Below all calls; what an undo ended with is told as an error is."""
    failure = Failure(type="BankError", message="closed")
    lines = drawn(
        [
            step("a#1", 0, 4),
            call("add_undo#1", "undo", resolved_at=at(5)),
            call("undo:a#1", "undo", "stuck", attempts=2, value="shop.refund", failure=failure),
            call("undo:add_undo#1", "undo", "open", value="shop.close"),
        ]
    )
    heading = lines.index("to be undone, the last effect first")

    assert [line.split()[1] for line in lines[:heading] if line.startswith(("step", "undo"))] == ["a#1", "add_undo#1"]
    assert row(lines, "undo:a#1").split()[:4] == ["undo", "undo:a#1", "stuck", "2"]
    assert lines[heading + 2 :] == [
        "    BankError: closed",
        row(lines, "undo:add_undo#1"),
        '    "shop.close"',
    ]


@pytest.mark.parametrize(
    ("state", "statuses", "heading"),
    [
        (RunState.WAITING, ("open", "open"), "to be undone"),
        (RunState.PARKED, ("undone", "stuck"), "undone, or to be undone"),
        (RunState.WAITING, ("undone", "retrying"), "undone, or to be undone"),
        (RunState.WAITING, ("undone", "undone"), "undone"),
        (RunState.FAILED, ("undone", "undone"), "undone"),
        (RunState.FAILED, ("undone", "skipped"), "undone or skipped"),
        (RunState.CANCELLED, ("open", "open"), "not undone"),
        (RunState.CANCELLED, ("undone", "stuck"), "undone, or left as it is"),
        (RunState.COMPLETED, ("open", "open"), "can still be undone"),
        (RunState.COMPLETED, ("undone", "open"), "undone, or can still be undone"),
    ],
)
def test_the_heading_of_undos_says_what_became_of_them(
    state: RunState, statuses: tuple[str, str], heading: str
) -> None:
    """What was undone is not called to be undone, nor what was left undone by him who cancelled."""
    undos = [call(f"undo:{name}#1", "undo", status) for name, status in zip("ab", statuses, strict=True)]

    assert f"{heading}, the last effect first" in drawn(undos, of=run(state))


def test_many_undos_of_a_group_are_one_line_and_those_of_jobs_are_none() -> None:
    """A job is cancelled with its run, and its own row says how it stands; of many children the undos are counted."""
    failure = Failure(type="RunFailed", message="no")
    lines = drawn(
        [
            call("job#1", "job", "open"),
            *(call(f"map#1/ship#{n}", "child", resolved_at=at(9)) for n in range(30)),
            call("undo:job#1", "undo", "open", value="job_1"),
            *(call(f"undo:map#1/ship#{n}", "undo", "open", value="run_1") for n in range(29)),
            call("undo:map#1/ship#29", "undo", "stuck", failure=failure),
        ]
    )
    heading = lines.index("to be undone, the last effect first")

    assert lines[heading + 1].split() == ["undo", "undo:map#1"]
    assert lines[heading + 2].startswith("    30 undos: 29 open, 1 stuck ")
    assert lines[heading + 3].split()[:3] == ["undo", "undo:map#1/ship#29", "stuck"]
    assert lines[heading + 4 :] == ["    RunFailed: no"]
    assert not any("undo:job#1" in line for line in lines)


def test_a_member_tells_its_id_and_how_it_ended() -> None:
    """Its own state while it is waited for; whose record is gone says so; no text of it steers a terminal."""
    hostile = "\x1b[2J\u202e"
    members = {
        "a#1": Member(id="job_a", state="running", begun_at=at(5)),
        "b#1": Member(id="run_b"),
        "c#1": Member(id="job_c", state="failed"),
        "d#1": Member(id=f"job_{hostile}", state=hostile),
    }
    failed = call("c#1", "job", "error", resolved_at=at(9), failure=Failure(type="JobFailed", message="no"))
    sent = [call("a#1", "job", "open"), call("b#1", "child", "open"), call("d#1", "job", "open")]
    lines = drawn([failed, *sent], members=members)

    assert "    job_a: running" in lines
    assert "    run_b: its record is gone" in lines
    assert "    job_c: JobFailed: no" in lines
    assert "    job_\\x1b[2J\\u202e: \\x1b[2J\\u202e" in lines
    assert row(lines, "a#1").split()[3:6] == ["12:00:05", "15", "s"]
    assert row(lines, "b#1").split()[3].startswith("~")
    assert all(line.isprintable() for line in lines)


def test_what_takes_no_time_is_a_line_with_its_value() -> None:
    """The time of ``now`` is shown as a time; nothing of it is secret."""
    lines = drawn([call("now#1", "now", resolved_at=at(10), value=int(at(10).timestamp() * 1000))])

    assert "▏" in row(lines, "now#1")
    assert lines[-1] == "    2026-05-04T12:00:10.000+00:00"
    short = drawn([step("a#1", 2, 2, status="error", failure=Failure(type="ValueError", message="no\nmoney"))])
    assert "0 ms" in row(short, "a#1")
    assert short[-1] == "    ValueError: no money"


def test_open_calls_say_what_they_wait_for() -> None:
    """A retry has its last error and its next attempt; a wait has its timeout, or no limit."""
    lines = drawn(
        [
            call("pay#1", status="retrying", attempts=2, due_at=at(50)),
            call("paid#1", "event", "awaiting", due_at=at(80)),
            call("sent#1", "event", "awaiting"),
        ],
        last_errors={"pay#1": "BankError: closed"},
    )

    assert lines[lines.index(row(lines, "pay#1")) + 1 :][:2] == [
        "    BankError: closed",
        "    attempt 3 is due 2026-05-04 12:00:50 UTC (in 30 s)",
    ]
    assert "    waits; its timeout is due 2026-05-04 12:01:20 UTC (in 1 min)" in lines
    assert "    waits, with no limit" in lines


def test_what_has_not_begun_has_no_bar() -> None:
    """A call that is on record for later is neither under way nor over."""
    lines = drawn([step("a#1", 0, 4), call("undo:a#1", "undo", "open", value="shop.refund")])

    assert row(lines, "undo:a#1").split() == ["undo", "undo:a#1", "open"]
    assert lines[-1] == '    "shop.refund"'


@pytest.mark.parametrize(
    ("seconds", "begun", "resolved"),
    [
        (60, "12:00:01", "12:00:02"),
        (90_000, "05-04 12:00", "05-04 12:00"),
        (200 * 86_400, "2026-05-04", "2026-05-04"),
    ],
)
def test_times_are_as_long_as_the_run_needs(seconds: float, begun: str, resolved: str) -> None:
    """Within a day the time, within half a year day and time, else the date."""
    found = row(drawn([step("a#1", 1, 2)], seconds=seconds), "a#1")

    assert f" {begun} " in found
    assert f" {resolved} " in found


def test_an_ended_run_stands_still() -> None:
    """Its whole time ends with it; its error is the last line."""
    ended = run(RunState.FAILED, finished_at=at(8), failure=Failure(type="E", message="gone\x1b[2J"))
    lines = drawn([step("a#1", 4, 8)], seconds=1_000, of=ended)

    assert lines[1] == "began 2026-05-04 12:00:00 UTC (16 min ago), 8.0 s in all"
    assert lines[-1] == "E: gone\\x1b[2J"


def test_a_run_without_calls_says_so() -> None:
    """Before its first claim, and before its first recorded call."""
    assert drawn([], of=run(RunState.PENDING, started_at=None)) == [
        f"{ID} (checkout, version 3): pending",
        "created 2026-05-04 11:59:55 UTC (25 s ago); no worker has taken it yet",
    ]
    assert drawn([], of=run(RunState.RUNNING, worker=WORKER))[1:] == [
        "began 2026-05-04 12:00:00 UTC (20 s ago), 20 s so far; no call is recorded yet",
        "",
        f"It runs on {WORKER}; the call it makes now is recorded when it ends.",
    ]


def test_a_terminal_without_unicode_gets_ascii() -> None:
    """Bars, rests and lines have their signs there too."""
    promises = [
        step("a#1", 0, 4),
        call("sleep#1", "sleep", resolved_at=at(12)),
        call("now#1", "now", resolved_at=at(12)),
    ]
    lines = drawn(promises, ascii_only=True)

    assert all(line.isascii() for line in lines)
    assert [row(lines, name)[-1] for name in ("a#1", "sleep#1", "now#1")] == ["#", "-", "|"]


def test_a_run_of_no_length_is_drawn() -> None:
    """Also where clocks put a call before the run's begin, or its end before its begin."""
    for promise in (step("a#1", -3, -2), step("a#1", 3, 2)):
        assert "a#1" in row(drawn([promise], seconds=0), "a#1")
        assert "a#1" in row(drawn([promise], seconds=1), "a#1")


def test_a_running_run_tells_what_its_step_says() -> None:
    """The step under way has no row yet."""
    progress = {"step": "ship#1", "attempt": 1, "done": 0.5, "total": None, "message": ""}
    lines = drawn([step("charge#1", 5, 10)], of=run(RunState.RUNNING, worker="w1", progress=progress))

    place = "at attempt 1 of step ship#1, which has done 0.5"
    assert lines[-1] == f"It runs on w1, {place}; the call it makes now is recorded when it ends."
