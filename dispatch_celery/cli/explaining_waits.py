"""Says what a waiting run waits for, and the phrases that other states of a run share with it. Pure."""

from __future__ import annotations

from dataclasses import replace

from dispatch_celery.cli.explaining_members import (
    advice_on,
    call_of,
    calls_of,
    crowd_of,
    stands,
)
from dispatch_celery.cli.phrases import Explanation, RunSurroundings, is_under_way, is_undo, named, with_failure
from dispatch_celery.cli.plain import one_line
from dispatch_celery.cli.readiness import explain_timed
from dispatch_celery.workflows.members import MEMBER_KINDS
from dispatch_celery.workflows.model import PromiseRecord, Run, RunPhase, RunState
from dispatch_celery.workflows.saga import OPEN

__all__ = ["call_of", "explain_waiting", "is_undoing", "let_go_on", "limit_of", "next_undo", "recorded"]


def explain_waiting(run: Run, around: RunSurroundings) -> Explanation:
    """Explain a run that nobody holds: what it waits for, and until when."""
    opening = f"{named(run)} is waiting"
    if around.start_at is not None:
        return _timed(run, around, f"{opening}, since it was created {around.ago(run.created_at)}", "its start")
    if around.pause_until is not None:
        return _timed(
            run, around, f"{opening} because {_why_paused(run, around)}; nobody holds it, and it waits", "its next turn"
        )
    since = run.waiting_since or run.created_at
    opening += f" since {around.ago(since)}; nobody holds it"
    awaited = around.open_promises
    if len(awaited) != 1:
        return replace(_waiting_for_many(run, around, opening, awaited), since=since)
    return replace(_waiting_for_one(run, around, opening, awaited[0]), since=since)


def _why_paused(run: Run, around: RunSurroundings) -> str:
    if is_undoing(run):
        return _why_undoing_pauses(run, around)
    return f"its process died (crashes: {run.crashes})" if run.crashes else "a worker gave it back"


def _why_undoing_pauses(run: Run, around: RunSurroundings) -> str:
    undo = next_undo(around)
    if undo is not None and undo.status == "retrying":
        return f"attempt {undo.attempts} of {call_of(undo)} ended{with_failure(undo.failure)}"
    sent = [promise for promise in around.promises if promise.kind in MEMBER_KINDS and is_under_way(promise)]
    if sent:
        return f"what it has sent to the fleet is to end before it undoes the rest: {calls_of(sent, around)}"
    member = around.members.get(undo.identity.removeprefix("undo:")) if undo is not None else None
    if member is not None:
        return f"its child {member.id}, which is {member.state or 'gone'}, is to undo first what it did"
    return f"its process died (crashes: {run.crashes})" if run.crashes else "a worker gave it back"


def next_undo(around: RunSurroundings) -> PromiseRecord | None:
    """Return what is undone next; the one that was given up, where there is one."""
    undos = [promise for promise in around.promises if is_undo(promise) and promise.status in OPEN]
    return next((undo for undo in undos if undo.status == "stuck"), undos[0] if undos else None)


def _waiting_for_one(run: Run, around: RunSurroundings, opening: str, awaited: PromiseRecord) -> Explanation:
    opening += f", and it waits for {call_of(awaited)}{stands(awaited, around)}{_of_group(awaited, around)}"
    if awaited.status == "retrying":
        why = one_line(around.last_errors.get(awaited.identity, ""))
        opening += f", whose attempt {awaited.attempts} ended{f' with {why}' if why else ''}"
        return _timed(run, around, opening, f"attempt {awaited.attempts + 1}", awaited)
    if awaited.due_at is None:
        says = f"{opening}, for as long as that takes{limit_of(around)}."
        return Explanation(explanation=says, advice=_advice(run, around, (awaited,)), next_at=around.deadline)
    return _timed(run, around, opening, "its end" if awaited.status == "sleeping" else "its timeout", awaited)


def _of_group(awaited: PromiseRecord, around: RunSurroundings) -> str:
    crowd = crowd_of((awaited,), around)
    return f", {crowd.partition(' (')[0]}" if crowd else ""


def _waiting_for_many(
    run: Run, around: RunSurroundings, opening: str, awaited: tuple[PromiseRecord, ...]
) -> Explanation:
    if not awaited:
        return Explanation(
            explanation=f"{opening}; what it waited for is there, and it is about to be ready.",
            advice=f"Ask again; if it stays so, look for errors of the leading worker in its log, and see"
            f" `{around.command} doctor`.",
        )
    due = min((promise.due_at for promise in awaited if promise.due_at is not None), default=None)
    moves = f"; the first of them is due {around.ago(due)}" if due else limit_of(around)
    what = crowd_of(awaited, around) or calls_of(awaited, around)
    return Explanation(
        explanation=f"{opening}, and it waits for {what}{moves}.",
        advice=_advice(run, around, awaited),
        next_at=due or around.deadline,
    )


def _advice(run: Run, around: RunSurroundings, awaited: tuple[PromiseRecord, ...]) -> str:
    """Return how what a run waits for is looked at or made to happen, and how the wait is ended."""
    special = advice_on(run, around, awaited)
    return f"{special} `{around.command} runs cancel {run.id}` ends the run." if special else let_go_on(run, around)


def _timed(
    run: Run, around: RunSurroundings, opening: str, what: str, awaited: PromiseRecord | None = None
) -> Explanation:
    """Explain a wait for a timer, and for the timeout of the whole run where that comes first."""
    due = awaited.due_at if awaited is not None else around.start_at or around.pause_until
    advice = let_go_on(run, around) if awaited is None else _advice(run, around, (awaited,))
    if due is not None and around.deadline is not None and around.now < around.deadline < due:
        says = f"{opening} until {around.ago(due)}; before that, its timeout cancels it {around.ago(around.deadline)}."
        return Explanation(explanation=says, advice=advice, since=run.created_at, next_at=around.deadline)
    return explain_timed(run, around, opening, what=what, due=due, advice=advice)


def limit_of(around: RunSurroundings) -> str:
    """Return when a run's own timeout ends it, as the rest of a sentence."""
    return f"; its timeout cancels it {around.ago(around.deadline)}" if around.deadline else ""


def let_go_on(run: Run, around: RunSurroundings) -> str:
    """Return the advice to do nothing."""
    if is_undoing(run):
        shows = f"`{around.command} runs timeline {run.id}` shows what is undone."
        undo = next_undo(around)
        again = undo is not None and undo.status == "retrying"
        return f"Mend what it says before its attempts are used up; {shows}" if again else f"Nothing to do; {shows}"
    ends = "asks it to stop" if run.state == RunState.RUNNING else "ends it"
    return f"Nothing to do; `{around.command} runs cancel {run.id}` {ends}."


def is_undoing(run: Run) -> bool:
    """Return whether a run has turned back."""
    return run.phase == RunPhase.UNDOING


def recorded(around: RunSurroundings) -> int:
    """Return how many calls of a run have an outcome."""
    return sum(promise.resolved_at is not None and not is_undo(promise) for promise in around.promises)
