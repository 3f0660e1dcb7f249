"""What is said of a run that has ended or waits for a person: why, and every way on from there."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from dispatch_celery.cli.explaining_runs import explain_run
from dispatch_celery.ids import RunId
from dispatch_celery.work.model import Failure
from dispatch_celery.workflows.model import STUCK, RunPhase, RunState
from tests.support.run_views import AROUND, ID, NOW, ago, call, run, waits_for


@pytest.mark.parametrize(
    ("reason", "says", "advises"),
    [
        ("its code has changed", "its code has changed. Nobody holds it, and only a person", "wf.patched"),
        ("it kills its processes", "it kills its processes. Nobody", "segmentation faults"),
        ("unknown", "no live worker has known version 2 of the workflow 'checkout' for too long", "goes on by itself"),
        ("because", "because. Nobody holds it", "Mend the cause"),
    ],
)
def test_a_parked_run_tells_why_and_how_it_goes_on(reason: str, says: str, advises: str) -> None:
    """Each reason has its remedy; its detail is there in full, but for lines nobody could read."""
    detail = f"why\nrecorded: step a#1\ncode:     {'step b#1, ' * 900}"
    found = explain_run(run(RunState.PARKED, reason=reason, detail=detail), replace(AROUND, parked_at=ago(minutes=9)))

    assert "is parked since 2026-05-04 11:51:00 UTC (9 min ago): " in found.explanation
    assert says in found.explanation
    assert advises in found.advice
    assert f"runs cancel {ID}" in found.advice
    assert (f"runs resume {ID}" in found.advice) == (reason != "unknown")
    assert found.detail.startswith("why\nrecorded: step a#1\ncode:     step b#1, ")
    assert found.detail.endswith("...")
    assert (found.since, found.next_at) == (ago(minutes=9), None)


def test_a_run_whose_undo_was_given_up_names_it_and_the_three_ways_on() -> None:
    """Which undo, why, how many wait behind it; try again, skip that one, or leave everything as it is."""
    undos = (
        call("undo:ship#1", "undo", "undone", resolved_at=ago(seconds=9)),
        call("undo:pay me#1", "undo", "stuck", attempts=2, failure=Failure(type="BankError", message="closed")),
        call("undo:reserve#1", "undo", "open"),
    )
    parked = run(RunState.PARKED, phase=RunPhase.UNDOING, reason=STUCK, detail="the undo was given up")
    found = explain_run(parked, waits_for(*undos))

    assert (
        "an undo was given up: undo:pay me#1 after 2 attempts, with BankError: closed; 1 other waits behind it. Nobody"
        in found.explanation
    )
    assert f"`celery -A app dispatch runs retry-undo {ID}` tries that undo again, with new attempts" in found.advice
    assert f"`celery -A app dispatch runs skip-undo {ID} 'pay me#1'` goes on with the next" in found.advice
    assert f"`celery -A app dispatch runs cancel {ID} --discard-undo` leaves the effects as they are" in found.advice
    unknown = explain_run(parked, AROUND)
    assert "runs skip-undo" in unknown.advice


def test_an_ended_run_tells_how_and_why() -> None:
    """A result is hinted at, an error and a reason are told; how long each is kept."""
    around = replace(AROUND, kept_until=NOW + timedelta(days=1))
    ended: dict[str, Any] = {"started_at": ago(seconds=12), "finished_at": ago(seconds=2)}

    completed = explain_run(run(RunState.COMPLETED, result="hunter2", **ended), around)
    assert "completed 2026-05-04 11:59:58 UTC (2.0 s ago) in 10 s, with 1 recorded call." in completed.explanation
    assert "a text of 7 characters; its record is kept until 2026-05-05 12:00:00 UTC" in completed.explanation
    assert "hunter2" not in completed.explanation
    assert completed.advice.endswith(f"runs get {ID} --result` shows the result.")
    left = replace(around, promises=(*around.promises, call("undo:charge#1", "undo", "open")))
    assert f"runs compensate {ID}` undoes what it did." in explain_run(run(RunState.COMPLETED), left).advice
    failed = explain_run(
        run(RunState.FAILED, failure=Failure(type="StepFailed", message="step b#1\nfailed"), **ended), around
    )
    assert "failed 2026-05-04 11:59:58 UTC (2.0 s ago), with StepFailed: step b#1 failed; its" in failed.explanation
    assert f"runs timeline {ID}" in failed.advice
    cancelled = explain_run(run(RunState.CANCELLED, reason="not wanted", **ended), around)
    assert "was cancelled 2026-05-04 11:59:58 UTC (2.0 s ago): not wanted; its record" in cancelled.explanation
    overdue = explain_run(run(RunState.CANCELLED, reason="timeout", **ended), around)
    assert "the time it was given is up" in overdue.explanation


CHANGED = "the code calls step look#1 where step book a trip#1 is recorded.\nrecorded: step book a trip#1\ncode: look#1"


def test_a_run_of_changed_code_names_every_way_on() -> None:
    """The old code, an earlier call, another version; and what tells before whether it would fit."""
    found = explain_run(run(RunState.PARKED, reason="its code has changed", detail=CHANGED), AROUND)

    old, earlier, version, last = found.advice.splitlines()
    assert f"`celery -A app dispatch runs resume {ID}` replays the run." in old
    assert f"`celery -A app dispatch runs rewind {ID} --to 'book a trip#1'` lets it go on with the new code:" in earlier
    assert f"`celery -A app dispatch runs migrate {ID} VERSION` lets it go on with another version" in version
    assert f"`celery -A app dispatch runs check-code --run {ID} --version VERSION` says that it fits." in version
    assert f"`celery -A app dispatch runs check-code --run {ID}` tells whether the code that is here fits" in last
    untold = explain_run(run(RunState.PARKED, reason="its code has changed", detail="otherwise"), AROUND)
    assert (
        "--to IDENTITY` lets it go on with the new code, the first call of its timeline that differs:" in untold.advice
    )


def test_a_run_of_an_unknown_version_can_be_migrated() -> None:
    """Also before it is parked: another version may fit what it has recorded."""
    parked = explain_run(run(RunState.PARKED, reason="unknown"), AROUND)
    ready = explain_run(run(RunState.PENDING), replace(AROUND, unknown_since=ago(minutes=4), known_at=None))

    for found in (parked, ready):
        assert f"runs migrate {ID} VERSION` lets it go on with another version" in found.advice
        assert f"runs check-code --run {ID} --version VERSION`" in found.advice


@pytest.mark.parametrize(
    ("calls", "undone", "place", "which"),
    [
        ({"a#1": "value", "b#1": "error", "c#1": "error"}, "", "'c#1'", ", from the call on that failed last"),
        ({"a#1": "value", "b#1": "value"}, "", "'b#1'", ", from its last call on"),
        ({"a#1": "value", "b b#1": "value", "c#1": "error"}, "b b#1", "'b b#1'", " whose effect was undone"),
        ({}, "", "IDENTITY", " another one"),
    ],
)
def test_a_failed_run_names_where_it_can_go_on(calls: dict[str, str], undone: str, place: str, which: str) -> None:
    """Before what was undone, for what follows stands on it; else before what failed last."""
    promises = [call(identity, status=status, resolved_at=ago(seconds=9)) for identity, status in calls.items()]
    undos = [call(f"undo:{name}", "undo", "undone" if name == undone else "open") for name in calls if undone]
    found = explain_run(run(RunState.FAILED), replace(AROUND, promises=(*promises, *undos)))

    assert f"runs rewind {ID} --to {place}` lets this one go on" in found.advice
    assert f"runs fork {ID} --at {place}` another one" in found.advice
    assert found.advice.endswith(f"{which}.")


def test_a_run_that_recorded_too_much_is_told_what_to_change() -> None:
    """The code, or the limits of the workers, with which this run goes on."""
    failure = Failure(type="dispatch_celery.errors.JournalTooLarge", message="20 calls")
    found = explain_run(run(RunState.FAILED, failure=failure), AROUND)

    assert "begin anew with wf.continue_as_new" in found.advice
    assert "raise dispatch_max_promises or dispatch_max_journal" in found.advice
    assert f"runs rewind {ID} --to 'charge#1'` lets this one go on, from its last call on." in found.advice


def test_an_ended_run_has_said_something_and_comes_from_somewhere() -> None:
    """Its last status, its parent, the run it was forked from; of a completed one nobody needs it."""
    about: dict[str, Any] = {"status": "two\nleft", "forked_from": RunId.mint(), "parent": RunId.mint()}
    found = explain_run(run(RunState.CANCELLED, reason="rain", **about), AROUND)

    assert found.explanation.endswith(
        f": rain. Its last status: two left. It is a child of {about['parent']}."
        f" It was forked from {about['forked_from']}, whose effects it does not undo."
    )
    assert "two left" not in explain_run(run(RunState.COMPLETED, **about), AROUND).explanation
