"""Says what a run waits for, since when, who holds it, when it moves next, and what to do.

Pure, as ``explaining`` is for jobs: one function per state. What a run does between two recorded calls nobody but its
worker knows, so of a running one the last recorded call is told.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from dispatch_celery.cli.explaining_ends import explain_cancelled, explain_completed, explain_failed, reason_given
from dispatch_celery.cli.explaining_parked import explain_parked
from dispatch_celery.cli.explaining_waits import (
    call_of,
    explain_waiting,
    is_undoing,
    let_go_on,
    limit_of,
    next_undo,
    recorded,
)
from dispatch_celery.cli.phrases import (
    Explanation,
    RunSurroundings,
    count_of,
    is_undo,
    named,
    start_worker,
    step_of,
)
from dispatch_celery.cli.plain import one_line
from dispatch_celery.cli.readiness import explain_pending, holder_of
from dispatch_celery.workflows.model import ENDED, Run, RunState

__all__ = ["explain_run"]

_NEAR: Final = 0.8
"""The part of the durable calls a run may record, from which on that is told."""


def explain_run(run: Run, around: RunSurroundings) -> Explanation:
    """Explain a run in the state it was read in."""
    found = _STATES[run.state](run, around)
    more = [sentence for sentence in (_compensating(run, around), *_about(run, around)) if sentence]
    return replace(found, explanation=" ".join([found.explanation, *more])) if more else found


def _compensating(run: Run, around: RunSurroundings) -> str:
    """Return how far a run is that undoes what it has done."""
    if not is_undoing(run) or run.state in (*ENDED, RunState.PARKED):
        return ""
    undos = [promise for promise in around.promises if is_undo(promise)]
    done, undo = sum(promise.resolved_at is not None for promise in undos), next_undo(around)
    following = f", next is {call_of(undo)}" if undo is not None else ""
    return f"It is compensating: {done} of {len(undos)} undos are over{following}."


def _about(run: Run, around: RunSurroundings) -> tuple[str, ...]:
    """Return what else is to be known of a run, one sentence each: what it says, where it comes from, its limit."""
    if run.state == RunState.COMPLETED:
        return ()
    calls = sum(not is_undo(promise) for promise in around.promises)
    near = run.state not in ENDED and around.max_promises and calls >= _NEAR * around.max_promises
    return (
        f"Its {'last ' if run.state in ENDED else ''}status: {one_line(run.status)}." if run.status else "",
        f"It is a child of {run.parent}." if run.parent else "",
        f"It was forked from {run.forked_from}, whose effects it does not undo." if run.forked_from else "",
        f"It has recorded {calls:,} of {around.max_promises:,} durable calls, and fails after them; a run that goes on"
        " for ever begins anew with wf.continue_as_new."
        if near
        else "",
    )


def _pending(run: Run, around: RunSurroundings) -> Explanation:
    return _with_cancel(run, around, explain_pending(run, around))


def _running(run: Run, around: RunSurroundings) -> Explanation:
    who, is_lost = holder_of(run, around)
    held = around.held_since or run.started_at
    opening = f"{named(run)} is running: {who} holds it since {around.ago(held)}"
    if is_lost:
        return Explanation(
            explanation=f"{opening}, but that worker is lost; the leading worker makes the run ready again, and what"
            " is recorded of it is not done again.",
            advice="Nothing to do: it is recovered within seconds." if around.live else start_worker(run, around),
            since=held,
            worker=run.worker,
        )
    found = Explanation(
        explanation=f"{opening}, and is at {_place(run, around)}{limit_of(around) or '; it has no timeout'}.",
        advice=let_go_on(run, around),
        since=held,
        next_at=around.deadline,
        worker=run.worker,
    )
    if run.crashes:
        deaths = "a process" if run.crashes == 1 else f"{run.crashes} processes"
        found = replace(found, explanation=f"{found.explanation} It has ended {deaths} since its last recorded call.")
    return _with_cancel(run, around, found)


def _place(run: Run, around: RunSurroundings) -> str:
    """Return where a running run is, as far as that is recorded."""
    if run.progress is not None:
        return step_of(run.progress)
    again = next((promise for promise in around.open_promises if promise.status == "retrying"), None)
    if again is not None:
        return f"attempt {again.attempts + 1} of {call_of(again)}"
    last = next((promise for promise in reversed(around.promises) if promise.resolved_at is not None), None)
    if last is None:
        return "its first call, which is recorded when it ends"
    return (
        f"the call after {call_of(last)}, the last of {count_of(recorded(around), 'recorded call')},"
        f" which ended {around.ago(last.resolved_at)}"
    )


def _with_cancel(run: Run, around: RunSurroundings, found: Explanation) -> Explanation:
    """Add that a run is to be cancelled, which only its next holder does."""
    if not run.cancel_requested:
        return found
    advice = found.advice
    if run.state == RunState.RUNNING:
        advice = "Nothing to do: its worker interrupts it, and ends its process if it does not obey."
    return replace(
        found,
        explanation=f"{found.explanation} Its cancellation was requested: {reason_given(run)}.",
        advice=advice,
        next_at=around.now,
    )


_STATES: Final[Mapping[RunState, Callable[[Run, RunSurroundings], Explanation]]] = {
    RunState.PENDING: _pending,
    RunState.RUNNING: _running,
    RunState.WAITING: explain_waiting,
    RunState.PARKED: explain_parked,
    RunState.COMPLETED: explain_completed,
    RunState.FAILED: explain_failed,
    RunState.CANCELLED: explain_cancelled,
}
