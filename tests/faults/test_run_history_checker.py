"""The checker of runs and their members itself: bad states and histories, one for each thing it must notice."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.support.invariants import Dump
from tests.support.join_invariants import check_joins
from tests.support.run_invariants import check_run_history

RUN = "run_01h00000000000000000000000"
JOB = "job_01h00000000000000000000000"
CHILD = "run_02h00000000000000000000000"
PROMISES = f"run:{RUN}:promises"


def _promise(status: str, place: int, told: str = "", member: str = "") -> str:
    head = json.dumps({"k": "job", "d": "0" * 12, "o": 0, **({"m": member} if member else {})})
    return f"{status} {place} 1000 {head}\n{told}"


def _member(at: str, **fields: str) -> dict[str, str]:
    return {"state": "completed", "spec": json.dumps({"parent": {"id": RUN, "at": at}}), **fields}


def _good() -> Dump:
    """Return a run that has joined a job and a child, one of which has failed."""
    error = '{"type":"ValueError"}'
    return Dump(
        jobs={JOB: _member("square#1", result="4")},
        runs={RUN: {"state": "running", "seq": "3"}, CHILD: _member("leaf#1", state="failed", error=error)},
        hashes={
            PROMISES: {
                "square#1": _promise("value", 1, "4", JOB),
                "leaf#1": _promise("error", 2, f"failed {CHILD}\n{error}", CHILD),
                "step#1": _promise("value", 3, "9"),
            }
        },
    )


def _put(at: str, text: str) -> Callable[[Dump], object]:
    return lambda found: found.hashes[PROMISES].update({at: text})


BAD: dict[str, tuple[str, Callable[[Dump], object]]] = {
    "an end nobody was told of": ("8", _put("square#1", _promise("open", 0, "", JOB))),
    "a promise that is gone": ("8", lambda found: found.hashes[PROMISES].pop("leaf#1")),
    "a run that is gone": ("12", lambda found: found.runs.pop(RUN)),
    "another result": ("4", _put("square#1", _promise("value", 1, "5", JOB))),
    "a failure told as a value": ("4", _put("leaf#1", _promise("value", 2, "1", CHILD))),
    "a result before the end": ("4", lambda found: found.jobs[JOB].update(state="running")),
    "another member's promise": ("4", _put("square#1", _promise("value", 1, "4", CHILD))),
    "two members for one promise": ("4", lambda found: found.jobs.update({"job_x": dict(found.jobs[JOB])})),
    "two outcomes in one place": ("4", _put("step#1", _promise("value", 2, "9"))),
    "a place that was never given out": ("4", _put("step#1", _promise("value", 4, "9"))),
}


def test_good_joins_pass() -> None:
    """Nothing is said about members whose runs were told how they ended; a child taken back keeps its first end."""
    assert check_joins(_good()) == []
    taken_back = _good()
    taken_back.runs[CHILD] = _member("leaf#1", state="cancelled", reason="its run is undone", undoing_for="undone")
    taken_back.hashes[PROMISES]["leaf#1"] = _promise("value", 2, "1", CHILD)
    assert check_joins(taken_back) == []


@pytest.mark.parametrize("name", sorted(BAD))
def test_a_bad_join_is_noticed(name: str) -> None:
    """Each hand-made fault is reported under the number of the invariant it breaks."""
    number, spoil = BAD[name]
    state = _good()
    spoil(state)

    assert number in {problem.split(":")[0] for problem in check_joins(state)}


def _entry(event: str, source: str, target: str, by: str = "1.a") -> dict[str, str]:
    return {"event": f"dispatch.run.{event}", "id": RUN, "from": source, "to": target, "token": by}


BEGINS = [
    _entry("enqueued", "new", "pending", ""),
    _entry("started", "pending", "running"),
    _entry("intended", "", "a#1"),
    _entry("promise", "", "a#1"),
    _entry("intended", "", "b#1"),
]
TURNED = [*BEGINS, _entry("compensating", "", "failed")]
ENDS = [_entry("undone", "", "b#1"), _entry("undone", "", "a#1"), _entry("failed", "running", "failed")]

BAD_HISTORIES: dict[str, tuple[str, list[dict[str, str]]]] = {
    "a promise with two outcomes": ("4", [*BEGINS, _entry("promise", "", "a#1"), *ENDS]),
    "an undo out of order": ("5", [*TURNED, ENDS[1], ENDS[0], ENDS[2]]),
    "an undo that is lost": ("5", [*TURNED, ENDS[0], ENDS[2]]),
    "an undo done twice": ("5", [*TURNED, ENDS[0], *ENDS]),
    "an undo nobody intended": ("5", [*TURNED, _entry("undone", "", "c#1"), *ENDS]),
    "a skip nobody intended": ("5", [*TURNED, _entry("skipped", "", "c#1", ""), *ENDS]),
    "turned twice": ("5", [*TURNED, _entry("compensating", "", "failed"), *ENDS]),
    "an outcome of another holder": ("3", [*BEGINS, _entry("promise", "", "b#1", "2.b"), *TURNED[5:], *ENDS]),
    "two ends": ("4", [*TURNED, *ENDS, _entry("cancelled", "failed", "cancelled")]),
}


def _told(entries: list[dict[str, str]]) -> list[str]:
    return check_run_history(Dump(runs={RUN: {"state": "failed"}}, journal=entries))


def test_a_good_history_of_undoing_passes() -> None:
    """In reverse and each once; one that a person skipped is not missed."""
    assert _told([*TURNED, *ENDS]) == []
    parked = [
        _entry("parked", "running", "parked"),
        _entry("skipped", "", "b#1", ""),
        _entry("ready", "parked", "pending", ""),
    ]
    again = [_entry("resumed", "pending", "running", "2.b"), _entry("undone", "", "a#1", "2.b")]
    assert _told([*TURNED, *parked, *again, _entry("failed", "running", "failed", "2.b")]) == []


@pytest.mark.parametrize("name", sorted(BAD_HISTORIES))
def test_a_bad_history_of_a_run_is_noticed(name: str) -> None:
    """Each hand-made history is reported under the number of the invariant it breaks."""
    number, entries = BAD_HISTORIES[name]

    assert number in {problem.split(":")[0] for problem in _told(entries)}
