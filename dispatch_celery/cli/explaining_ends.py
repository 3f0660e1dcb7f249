"""Says how a run ended, and what can still be done with it. Pure."""

from __future__ import annotations

import shlex
from typing import Final

from dispatch_celery.cli.explaining_waits import recorded
from dispatch_celery.cli.moments import span
from dispatch_celery.cli.phrases import (
    Explanation,
    RunSurroundings,
    count_of,
    hint_of,
    is_undo,
    kept_until,
    named,
    with_failure,
)
from dispatch_celery.cli.plain import one_line
from dispatch_celery.errors import JournalTooLarge
from dispatch_celery.workflows.model import Run

__all__ = ["explain_cancelled", "explain_completed", "explain_failed", "reason_given"]

_TIME_IS_UP: Final = "timeout"
_UNDONE: Final = frozenset({"undone", "skipped"})


def explain_completed(run: Run, around: RunSurroundings) -> Explanation:
    """Explain a run that has a result."""
    took = f" in {span(run.finished_at - run.started_at)}" if run.finished_at and run.started_at else ""
    calls = count_of(recorded(around), "recorded call")
    undoable = any(is_undo(promise) and promise.resolved_at is None for promise in around.promises)
    undoes = f"; `{around.command} runs compensate {run.id}` undoes what it did" if undoable else ""
    return Explanation(
        explanation=f"{named(run)} completed {around.ago(run.finished_at)}{took}, with {calls}."
        f" Its result is {hint_of(run.result)}{kept_until(around)}.",
        advice=f"Nothing to do; `{around.command} runs get {run.id} --result` shows the result{undoes}.",
        since=run.finished_at,
        next_at=around.kept_until,
        worker=run.worker,
    )


def explain_failed(run: Run, around: RunSurroundings) -> Explanation:
    """Explain a run that ended with an error: where that is told in full, and how it can go on."""
    command, says = around.command, f"{named(run)} failed {around.ago(run.finished_at)}{with_failure(run.failure)}"
    place, which = _where(around)
    advice = (
        f"See `{command} runs get {run.id}` for the traceback and `{command} runs timeline {run.id}` for what it had"
        " done; mend the cause.\n"
        f"Then start another run; or `{command} runs rewind {run.id} --to {place}` lets this one go on, and"
        f" `{command} runs fork {run.id} --at {place}` another one{which}."
    )
    if run.failure is not None and run.failure.type.rpartition(".")[2] == JournalTooLarge.__name__:
        advice = (
            "Let its code begin anew with wf.continue_as_new, give parts of its work to child runs, or return less from"
            " steps, and start another run.\n"
            "Or raise dispatch_max_promises or dispatch_max_journal of the workers, and"
            f" `{command} runs rewind {run.id} --to {place}` lets this one go on{which}."
        )
    return Explanation(
        explanation=f"{says}{kept_until(around)}.",
        advice=advice,
        since=run.finished_at,
        next_at=around.kept_until,
        worker=run.worker,
    )


def explain_cancelled(run: Run, around: RunSurroundings) -> Explanation:
    """Explain a run that was to end."""
    return Explanation(
        explanation=f"{named(run)} was cancelled {around.ago(run.finished_at)}: {reason_given(run)}"
        f"{kept_until(around)}.",
        advice=f"Nothing to do; `{around.command} runs timeline {run.id}` shows what it had done.",
        since=run.finished_at,
        next_at=around.kept_until,
    )


def reason_given(run: Run) -> str:
    """Return why a run was cancelled."""
    return "the time it was given is up" if run.reason == _TIME_IS_UP else one_line(run.reason)


def _where(around: RunSurroundings) -> tuple[str, str]:
    """Return the call with which a failed run can go on, and what is to be said of it.

    That is the first one whose effect was undone, for what follows stands on it; else the last one that failed, or the
    last one at all.
    """
    undos = [promise for promise in around.promises if is_undo(promise)]
    calls = [promise for promise in around.promises if not is_undo(promise)]
    undone = {undo.identity.removeprefix("undo:") for undo in undos if undo.status in _UNDONE}
    taken_back = next((call.identity for call in calls if call.identity in undone), "")
    if taken_back:
        return shlex.quote(taken_back), ", from the first call on whose effect was undone"
    failed = [call.identity for call in calls if call.status == "error"]
    if failed:
        return shlex.quote(failed[-1]), ", from the call on that failed last"
    return (shlex.quote(calls[-1].identity), ", from its last call on") if calls else ("IDENTITY", "")
