"""The checker itself: hand-made bad states and histories, one for each thing it must notice."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest

from tests.support.invariants import Dump, check_journal, check_quiet, check_state

JOB = "job_01h00000000000000000000000"


def _good() -> Dump:
    """Return a namespace with one job that runs as it should."""
    entry = {"event": "dispatch.job.enqueued", "id": JOB, "from": "new", "to": "pending", "token": ""}
    claim = {"event": "dispatch.job.started", "id": JOB, "from": "pending", "to": "running", "token": "1.a"}
    return Dump(
        jobs={
            JOB: {
                "state": "running",
                "name": "n",
                "lane": "q:0",
                "token": "1.a",
                "token_number": "1",
                "holder": "w",
                "wake": "1",
            }
        },
        ordered={"state:running": {JOB: 1.0}, "name:running:n": {JOB: 1.0}},
        hashes={"held:w": {JOB: "10 1.a"}},
        journal=[entry, claim],
    )


def _move(state: str) -> Callable[[Dump], None]:
    def change(found: Dump) -> None:
        found.jobs[JOB]["state"] = state
        found.ordered = {f"state:{state}": {JOB: 1.0}, f"name:{state}:n": {JOB: 1.0}}
        found.hashes.clear()
        found.jobs[JOB].pop("token")

    return change


def _both(first: Callable[[Dump], object], second: Callable[[Dump], object]) -> Callable[[Dump], object]:
    return lambda found: (first(found), second(found))


BAD: dict[str, tuple[str, Callable[[Dump], object]]] = {
    "in two state indexes": ("1", lambda found: found.ordered.update({"state:pending": {JOB: 1.0}})),
    "in no name index": ("1", lambda found: found.ordered.pop("name:running:n")),
    "running and held by nobody": ("2", lambda found: found.hashes.clear()),
    "held under another token": ("2", lambda found: found.hashes.update({"held:w": {JOB: "10 9.z"}})),
    "held by two": ("2", lambda found: found.hashes.update({"held:v": {JOB: "11 1.a"}})),
    "a holding without a record": ("2", lambda found: found.hashes["held:w"].update({"job_x": "1 1.a"})),
    "completed and still held": ("2", lambda found: found.jobs[JOB].update(state="completed")),
    "a token that is not its number": ("3", lambda found: found.jobs[JOB].update({"token_number": "7"})),
    "too many attempts": ("5", lambda found: found.jobs[JOB].update(attempts="4")),
    "too many crashes": ("5", lambda found: found.jobs[JOB].update(crashes="4")),
    "failed and no dead letter": ("6", _both(_move("failed"), lambda found: found.ordered.update(expiry={JOB: 1.0}))),
    "a dead letter that runs": ("6", lambda found: found.ordered.update(dead={JOB: 1.0})),
    "pending and in no lane": ("7", _move("pending")),
    "retrying without a timer": ("7", _move("retrying")),
    "a timer that outlived its job": ("7", lambda found: found.ordered.update(timers={"job_x": 1.0})),
    "running with a timer": ("7", lambda found: found.ordered.update(timers={JOB: 1.0})),
    "asked to cancel and pending": ("2", _both(_move("pending"), lambda found: found.jobs[JOB].update(cancel="x"))),
}


def test_a_good_state_passes() -> None:
    """Nothing is said about a state and a history that are right."""
    assert check_state(_good(), max_attempts=3, max_crashes=3) == []
    assert check_journal(_good()) == []


@pytest.mark.parametrize("name", sorted(BAD))
def test_a_bad_state_is_noticed(name: str) -> None:
    """Each hand-made fault is reported under the number of the invariant it breaks."""
    number, spoil = BAD[name]
    state = _good()
    spoil(state)

    assert number in {problem.split(":")[0] for problem in check_state(state, max_attempts=3, max_crashes=3)}


def _entry(event: str, source: str, target: str, token: str) -> dict[str, str]:
    return {"event": f"dispatch.job.{event}", "id": JOB, "from": source, "to": target, "token": token}


BAD_HISTORIES: dict[str, tuple[str, list[dict[str, str]]]] = {
    "an outcome that changes": (
        "4",
        [_entry("completed", "running", "completed", "1.a"), _entry("failed", "completed", "failed", "1.a")],
    ),
    "a gap": ("4", [_entry("released", "retrying", "pending", "")]),
    "a transition nobody knows": ("4", [_entry("completed", "running", "scheduled", "1.a")]),
    "an outcome under an old token": ("3", [_entry("completed", "running", "completed", "0.z")]),
    "a claim that goes back": (
        "3",
        [_entry("released", "running", "pending", "1.a"), _entry("started", "pending", "running", "1.b")],
    ),
    "a record its history does not reach": ("4", [_entry("released", "running", "pending", "1.a")]),
}


@pytest.mark.parametrize("name", sorted(BAD_HISTORIES))
def test_a_bad_history_is_noticed(name: str) -> None:
    """Each hand-made history is reported under the number of the invariant it breaks."""
    number, entries = BAD_HISTORIES[name]
    state = _good()
    state.journal = [*copy.deepcopy(state.journal), *entries]

    assert number in {problem.split(":")[0] for problem in check_journal(state)}


def test_what_is_left_over_is_noticed() -> None:
    """At rest nothing may run, be marked, held or condemned."""
    state = _good()
    state.ordered |= {"marks": {f"{JOB}:1": 1.0}, "condemned": {"w": 1.0}}

    assert len(check_quiet(state)) == 4
