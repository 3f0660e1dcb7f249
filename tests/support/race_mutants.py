"""Planted bugs that show where two processes are at one run at once. The races must notice every one of them."""

from __future__ import annotations

from tests.support.mutants import Mutant

__all__ = ["RACE_MUTANTS"]

RACE_MUTANTS = (
    Mutant("a nudge is not noted before a rest", ("runs/suspend",), "if seen[4] or #open", "if #open"),
    Mutant(
        "a nudge finds nobody who is held",
        ("runs/nudge",),
        "redis.call('HSET', K.record, 'nudged', 1)\n  return {'NOTED'}",
        "return {'GONE'}",
    ),
    Mutant(
        "an event takes the place of a timeout",
        ("runs/record",),
        "and word ~= 'awaiting' then",
        "and word ~= 'awaiting' and word ~= 'timeout' then",
    ),
    Mutant(
        "a timeout takes the place of an event",
        ("runs/fire",),
        "or status == 'awaiting' then",
        "or status == 'awaiting' or status == 'value' then",
        also=(("runs/record", "redis.call('ZREM', K.due, A.identity) == 1", "false"),),
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
