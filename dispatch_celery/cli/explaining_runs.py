"""Says what a run waits for, since when, who holds it, when it moves next, and what to do.

Pure, as ``explaining`` is for jobs: one function per state. What a run does between two recorded calls nobody but its
worker knows, so of a running one the last recorded call is told.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from dispatch_celery.cli.explaining_waits import call_of, explain_waiting, is_undoing, let_go_on, limit_of, next_undo
from dispatch_celery.cli.moments import span
from dispatch_celery.cli.phrases import (
    Explanation,
    RunSurroundings,
    count_of,
    declared,
    hint_of,
    is_undo,
    kept_until,
    named,
    start_worker,
    step_of,
    with_failure,
)
from dispatch_celery.cli.plain import one_line
from dispatch_celery.cli.readiness import explain_pending, holder_of
from dispatch_celery.workflows.model import ENDED, STUCK, Run, RunState

__all__ = ["explain_run"]

_LONGEST_LINE: Final = 2_000
_TIME_IS_UP: Final = "timeout"


def explain_run(run: Run, around: RunSurroundings) -> Explanation:
    """Explain a run in the state it was read in."""
    found = _STATES[run.state](run, around)
    if not is_undoing(run) or run.state in (*ENDED, RunState.PARKED):
        return found
    undos = [promise for promise in around.promises if is_undo(promise)]
    done, undo = sum(promise.resolved_at is not None for promise in undos), next_undo(around)
    following = f", next is {call_of(undo)}" if undo is not None else ""
    says = f"{found.explanation} It is compensating: {done} of {len(undos)} undos are over{following}."
    return replace(found, explanation=says)


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
        f"the call after {call_of(last)}, the last of {count_of(_recorded(around), 'recorded call')},"
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
        explanation=f"{found.explanation} Its cancellation was requested: {_reason(run)}.",
        advice=advice,
        next_at=around.now,
    )


def _parked(run: Run, around: RunSurroundings) -> Explanation:
    since = f" since {around.ago(around.parked_at)}" if around.parked_at else ""
    command, then = around.command, f"`{around.command} runs resume {run.id}` replays it"
    who = "Nobody holds it, and only a person lets it go on"
    why, advice = one_line(run.reason), f"Mend the cause, then {then}; `{command} runs cancel {run.id}` ends it."
    if run.reason == "unknown":
        why, who = f"no live worker has known {declared(run)} for too long", "Nobody holds it"
        advice = (
            f"Deploy a worker that declares {declared(run)}: the run goes on by itself;"
            f" `{command} runs cancel {run.id}` ends it."
        )
    elif run.reason == "its code has changed":
        advice = (
            f"Put the old code back, or guard the change with wf.patched, and deploy it; then {then},"
            f" and `{command} runs cancel {run.id}` ends it."
        )
    elif run.reason == STUCK:
        why, advice = _stuck(run, around)
    elif run.reason == "it kills its processes":
        advice = (
            f"Look for memory, segmentation faults and sys.exit in what it calls next; when that is mended, {then},"
            f" and `{command} runs cancel {run.id}` ends it."
        )
    return Explanation(
        explanation=f"{named(run)} is parked{since}: {why}. {who}.",
        advice=advice,
        detail="\n".join(_cut(line) for line in run.detail.splitlines()),
        since=around.parked_at,
    )


def _stuck(run: Run, around: RunSurroundings) -> tuple[str, str]:
    """Return which undo was given up and why, and the three ways on."""
    command, undo = around.command, next_undo(around)
    why, identity = one_line(run.reason), "IDENTITY"
    if undo is not None:
        identity = shlex.quote(undo.identity.removeprefix("undo:"))
        left = sum(is_undo(promise) and promise.resolved_at is None for promise in around.promises) - 1
        tries = f" after {count_of(undo.attempts, 'attempt')}" if undo.attempts else ""
        more = f"; {count_of(left, 'other')} wait{'s' if left == 1 else ''} behind it" if left else ""
        why = f"{why}: {call_of(undo)}{tries}{with_failure(undo.failure)}{more}"
    return why, (
        f"Mend what it says, then `{command} runs retry-undo {run.id}` tries that undo again, with new attempts;"
        f" or do it by hand, and `{command} runs skip-undo {run.id} {identity}` goes on with the next;"
        f" or `{command} runs cancel {run.id} --discard-undo` leaves the effects as they are, and ends the run."
    )


def _completed(run: Run, around: RunSurroundings) -> Explanation:
    took = f" in {span(run.finished_at - run.started_at)}" if run.finished_at and run.started_at else ""
    calls = count_of(_recorded(around), "recorded call")
    return Explanation(
        explanation=f"{named(run)} completed {around.ago(run.finished_at)}{took}, with {calls}."
        f" Its result is {hint_of(run.result)}{kept_until(around)}.",
        advice=f"Nothing to do; `{around.command} runs get {run.id} --result` shows the result.",
        since=run.finished_at,
        next_at=around.kept_until,
        worker=run.worker,
    )


def _failed(run: Run, around: RunSurroundings) -> Explanation:
    says = f"{named(run)} failed {around.ago(run.finished_at)}{with_failure(run.failure)}"
    return Explanation(
        explanation=f"{says}{kept_until(around)}.",
        advice=f"See `{around.command} runs get {run.id}` for the traceback and"
        f" `{around.command} runs timeline {run.id}` for what it had done; mend the cause, and start another run.",
        since=run.finished_at,
        next_at=around.kept_until,
        worker=run.worker,
    )


def _cancelled(run: Run, around: RunSurroundings) -> Explanation:
    return Explanation(
        explanation=f"{named(run)} was cancelled {around.ago(run.finished_at)}: {_reason(run)}{kept_until(around)}.",
        advice=f"Nothing to do; `{around.command} runs timeline {run.id}` shows what it had done.",
        since=run.finished_at,
        next_at=around.kept_until,
    )


def _cut(line: str) -> str:
    return line if len(line) <= _LONGEST_LINE else f"{line[:_LONGEST_LINE]}..."


def _reason(run: Run) -> str:
    return "the time it was given is up" if run.reason == _TIME_IS_UP else one_line(run.reason)


def _recorded(around: RunSurroundings) -> int:
    return sum(promise.resolved_at is not None for promise in around.promises)


_STATES: Final[Mapping[RunState, Callable[[Run, RunSurroundings], Explanation]]] = {
    RunState.PENDING: _pending,
    RunState.RUNNING: _running,
    RunState.WAITING: explain_waiting,
    RunState.PARKED: _parked,
    RunState.COMPLETED: _completed,
    RunState.FAILED: _failed,
    RunState.CANCELLED: _cancelled,
}
