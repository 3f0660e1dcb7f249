"""Planted bugs that show where two processes are at one run at once. The races must notice every one of them."""

from __future__ import annotations

from tests.support.mutants import Mutant

__all__ = ["RACE_MUTANTS"]

RACE_MUTANTS = (
    Mutant(
        "a nudge is not noted before a rest", ("runs/suspend",), "if again or seen[4] or #open", "if again or #open"
    ),
    Mutant(
        "a nudge finds nobody who is held",
        ("runs/nudge",),
        "redis.call('HSET', K.record, 'nudged', 1)\n  return {'NOTED'}",
        "return {'GONE'}",
    ),
    Mutant(
        "a wait is over before its run has looked once more",
        ("runs/fire",),
        "if status == 'sleeping' then",
        "if status == 'sleeping' or status == 'awaiting' then",
        also=(
            (
                "runs/fire",
                "entry('value', seq, now, rest)",
                "entry(status == 'sleeping' and 'value' or 'timeout', seq, now, rest)",
            ),
        ),
    ),
    Mutant(
        "a wait that is over keeps its due time",
        ("runs/record",),
        "redis.call('ZREM', K.due, A.identity) == 1",
        "false",
    ),
    Mutant(
        "a run that was asked to cancel rests",
        ("runs/suspend",),
        "if seen[2] and not seen[3] and not again",
        "if false",
    ),
    Mutant(
        "a run that was asked to cancel completes",
        ("runs/finish",),
        "if seen[2] and outcome == 'completed'",
        "if false",
    ),
    Mutant("a cancel does not look where the run is", ("runs/cancel",), "if seen[1] ~= A.expected or (", "if ("),
    Mutant("a publisher leaves no note", ("events/publish",), "if waiters > 0 then", "if false then"),
    Mutant(
        "a wake-up does not strike off what was awaited", ("runs/nudge", "runs/fire"), "redis.call('DEL', K.waits)", ""
    ),
)
