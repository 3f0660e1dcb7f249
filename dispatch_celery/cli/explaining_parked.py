"""Says why a run is parked, and every way on from there. Pure."""

from __future__ import annotations

import re
import shlex
from typing import Final

from dispatch_celery.cli.explaining_waits import call_of, next_undo
from dispatch_celery.cli.phrases import (
    Explanation,
    RunSurroundings,
    count_of,
    declared,
    is_undo,
    named,
    other_version,
    with_failure,
)
from dispatch_celery.cli.plain import one_line
from dispatch_celery.workflows.model import STUCK, Run

__all__ = ["explain_parked"]

_LONGEST_LINE: Final = 2_000
_DIFFERS: Final = re.compile(r" where \w+ (.+) is recorded\.$")
"""How the first line of a changed run's detail ends: with the first recorded call that the code does not ask for."""


def explain_parked(run: Run, around: RunSurroundings) -> Explanation:
    """Explain a run that waits for a person."""
    since = f" since {around.ago(around.parked_at)}" if around.parked_at else ""
    command, then = around.command, f"`{around.command} runs resume {run.id}` replays it"
    who = "Nobody holds it, and only a person lets it go on"
    why, advice = one_line(run.reason), f"Mend the cause, then {then}; `{command} runs cancel {run.id}` ends it."
    if run.reason == "unknown":
        why, who = f"no live worker has known {declared(run)} for too long", "Nobody holds it"
        advice = (
            f"Deploy a worker that declares {declared(run)}: the run goes on by itself. {other_version(run, command)}"
            f" `{command} runs cancel {run.id}` ends it."
        )
    elif run.reason == "its code has changed":
        advice = _changed(run, around)
    elif run.reason == STUCK:
        why, advice = _stuck(run, around)
    elif run.reason == "it kills its processes":
        advice = (
            f"Look for memory, segmentation faults and sys.exit in what it calls next; when that is mended, {then},"
            f" `{command} runs rewind {run.id} --to IDENTITY` also makes an earlier call happen again,"
            f" and `{command} runs cancel {run.id}` ends it."
        )
    return Explanation(
        explanation=f"{named(run)} is parked{since}: {why}. {who}.",
        advice=advice,
        detail="\n".join(_cut(line) for line in run.detail.splitlines()),
        since=around.parked_at,
    )


def _changed(run: Run, around: RunSurroundings) -> str:
    """Return the three ways on from code that does not fit, and the end."""
    command, differs = around.command, _DIFFERS.search(run.detail.partition("\n")[0])
    place = shlex.quote(differs[1]) if differs else "IDENTITY"
    which = "" if differs else ", the first call of its timeline that differs"
    return (
        "Put the old code back, or guard the change with wf.patched, and deploy that; then"
        f" `{command} runs resume {run.id}` replays the run.\n"
        f"Or `{command} runs rewind {run.id} --to {place}` lets it go on with the new code{which}: that call and what"
        " followed happens again.\n"
        f"Or {other_version(run, command)}\n"
        f"`{command} runs check-code --run {run.id}` tells whether the code that is here fits;"
        f" `{command} runs cancel {run.id}` ends the run."
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


def _cut(line: str) -> str:
    return line if len(line) <= _LONGEST_LINE else f"{line[:_LONGEST_LINE]}..."
