"""Planted bugs: scripts with one line wrong each. The crash explorer must notice every one of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha1
from typing import Any

from dispatch_celery.store.client import Store
from dispatch_celery.store.scripts import Call, Script


@dataclass(frozen=True)
class Mutant:
    """One bug: in these scripts, ``before`` became ``after``."""

    name: str
    scripts: tuple[str, ...]
    before: str
    after: str
    also: tuple[tuple[str, str, str], ...] = ()

    @property
    def of_runs(self) -> bool:
        """Whether it is a bug in what is done to runs."""
        return any(mutant is self for mutant in RUN_MUTANTS)

    def edits(self, script: str) -> list[tuple[str, str]]:
        """Return what becomes what in one script."""
        own = [(self.before, self.after)] if script in self.scripts else []
        return own + [(before, after) for name, before, after in self.also if name == script]


_ENDS = ("jobs/complete", "jobs/retry", "jobs/release", "jobs/fail", "jobs/obey")

MUTANTS: tuple[Mutant, ...] = (
    Mutant("the fence compares no token", _ENDS, "now[1] == 'running' and now[2] == token", "now[1] == 'running'"),
    Mutant("an outcome sent again is fenced", _ENDS, "if now[3] == token .. ' ' .. outcome", "if false"),
    Mutant("a claim takes a job in any state", ("jobs/claim",), "if state ~= 'pending' then", "if state == 'x' then"),
    Mutant("a claim sent again is another claim", ("jobs/claim",), "== A.nonce then return", "== 'x' then return"),
    Mutant(
        "the token number stands still", ("jobs/claim",), "(tonumber(seen[3]) or 0) + 1", "(tonumber(seen[3]) or 0) + 0"
    ),
    Mutant("an expired job is started", ("jobs/claim",), "tonumber(seen[8]) <= now", "tonumber(seen[8]) < 0"),
    Mutant("a holding outlives its claim", _ENDS, "redis.call('HDEL', K.held, id)", ""),
    Mutant("a job stays in the index it leaves", (*_ENDS, "jobs/claim"), "redis.call('ZREM', K.from_name, id)", ""),
    Mutant("a failed job is no dead letter", ("jobs/fail",), "redis.call('ZADD', K.dead, now, A.id)", ""),
    Mutant("a dead letter is filed nowhere", ("jobs/fail",), "file_letter(A.id, redis", "string.len(A.id, redis"),
    Mutant("a retry has no timer", ("jobs/retry",), "redis.call('ZADD', K.timers, due, id)", ""),
    Mutant("a failed attempt is not counted", ("jobs/retry",), "redis.call('HINCRBY', K.record, A.counter, 1)", ""),
    Mutant("a recovered job is not ready", ("jobs/release",), "redis.call('ZADD', K.lane, now, id)", ""),
    Mutant(
        "a job enqueued again starts anew",
        ("jobs/enqueue",),
        "if state then return {'REPEATED', state} end",
        "",
        also=(("jobs/enqueue_many", "if not state then", "if true then"),),
    ),
    Mutant("an idempotency key is forgotten", ("jobs/enqueue",), "if first then", "if false then"),
    Mutant(
        "a timer fires early",
        ("jobs/promote",),
        "tonumber(due) > now",
        "tonumber(due) < 0",
        also=(("jobs/due", "'-inf', now", "'-inf', '+inf'"),),
    ),
    Mutant("a fired timer stays", ("jobs/promote",), "redis.call('ZREM', K.timers, A.id)\nlocal limit", "local limit"),
    Mutant("a cancelled job stays in its lane", ("jobs/cancel",), "redis.call('ZREM', K.lane, id)", ""),
    Mutant(
        "a cancelled job is retried", ("jobs/retry", "jobs/release"), "if cancel then return {'CANCELLING'} end", ""
    ),
    Mutant("every worker is condemned", ("cluster/condemn",), "'-inf', now, 'LIMIT'", "'-inf', '+inf', 'LIMIT'"),
    Mutant(
        "a crash is not counted",
        ("jobs/release",),
        "if A.counter ~= '' then redis.call('HINCRBY'",
        "if false then redis.call('HINCRBY'",
    ),
)


_HOLDS = ("runs/record", "runs/suspend", "runs/finish")

RUN_MUTANTS: tuple[Mutant, ...] = (
    Mutant("a run's fence compares no token", _HOLDS, "now[1] == 'running' and now[2] == token", "now[1] == 'running'"),
    Mutant("a run's fence compares no revision", _HOLDS, "if stored == tonumber(revision) then", "if true then"),
    Mutant("a run's write sent again is fenced", _HOLDS, "and now[4] == op then", "and false then"),
    Mutant("a run's end sent again is fenced", _HOLDS, "elseif now[5] == token .. ' ' .. op then", "elseif false then"),
    Mutant("a run is claimed in any state", ("runs/claim",), "if state ~= 'pending' then", "if state == 'x' then"),
    Mutant("a run's claim sent again is another", ("runs/claim",), "== A.nonce then return", "== 'x' then return"),
    Mutant(
        "a step's outcome is not kept",
        ("runs/record",),
        "redis.call('HSET', K.promises",
        "redis.call('HGET', K.promises",
    ),
    Mutant("a sleep has no due time", ("runs/suspend",), "redis.call('ZADD', K.due, due, identity)", "local _ = due"),
    Mutant("a sleep has no timer", ("runs/suspend",), "arm(A.id)\njournal", "journal"),
    Mutant("a sleeping run stays held", ("runs/suspend",), "redis.call('HDEL', K.held, A.id)", ""),
    Mutant("a sleep wakes nobody", ("runs/fire",), "elseif strike(what, false) then", "elseif false then"),
    Mutant("a sleep is never over", ("runs/fire",), "if status == 'sleeping' then", "if false then"),
    Mutant("a due promise stays due", ("runs/fire",), "redis.call('ZREM', K.due, what)", ""),
    Mutant("a recovered run is not ready", ("runs/release",), "redis.call('ZADD', K.lane, now, id)", ""),
    Mutant("a pause has no timer", ("runs/release",), "  arm(A.id)\n", ""),
    Mutant(
        "a crash of a run is not counted", ("runs/release",), "if A.counter ~= '' then redis", "if false then redis"
    ),
    Mutant("a run started again starts anew", ("runs/start",), "if state then return {'REPEATED', state} end", ""),
    Mutant("an ended run is kept for ever", ("runs/finish",), "redis.call('ZADD', K.expiry, now + retain, id)", ""),
    Mutant("a cancelled run stays in its lane", ("runs/cancel",), "redis.call('ZREM', K.lane, id)", ""),
    Mutant("a cancelled run keeps its timer", ("runs/cancel",), "redis.call('ZREM', K.timers, A.id)", ""),
    Mutant(
        "a cancel is not seen by who suspends",
        ("runs/suspend",),
        "and not seen[3] and not again then",
        "and false then",
    ),
    Mutant("a cancel is not seen by who completes", ("runs/finish",), "if seen[2] and", "if false and"),
    Mutant("a parked run stays held", ("runs/park",), "redis.call('HDEL', K.held, A.id)", ""),
    Mutant("an intent is not listed", ("runs/intend",), "redis.call('ZADD', K.open, seq, A.identity)", ""),
    Mutant("an intent is not kept", ("runs/intend",), "redis.call('HSET', K.undos", "redis.call('HGET', K.undos"),
    Mutant("an undo that is done stays open", ("runs/undo",), "entry(A.status, place", "entry('open', place"),
    Mutant("an undo loses its place", ("runs/undo",), "entry(A.status, place, now", "entry(A.status, 0, now"),
    Mutant(
        "a failed run ends with effects left",
        ("runs/finish",),
        "and redis.call('ZCARD', K.open) > 0 then",
        "and false then",
    ),
    Mutant("a run forgets that it undoes", ("runs/finish",), "'undoing', outcome, 'undoing_since'", "'undoing_since'"),
    Mutant(
        "a waiting run is cancelled with effects left",
        ("runs/cancel",),
        "if A.discard ~= '1' and",
        "if false and",
    ),
    Mutant("a run that turns keeps its timer", ("runs/turn",), "redis.call('ZREM', K.timers, A.id)", ""),
    Mutant("a run that turns is not ready", ("runs/turn",), "redis.call('ZADD', K.lane, now, id)", ""),
    Mutant("a run turns twice", ("runs/turn",), "if seen[3] then return {'UNDOING', seen[3]} end", ""),
    Mutant(
        "a member is sent without a promise",
        ("runs/spawn",),
        "redis.call('HSET', K.promises",
        "redis.call('HGET', K.promises",
    ),
    Mutant("a member that is sent is not ready", ("runs/spawn",), "redis.call('ZADD', K.lane, now, id)", ""),
    Mutant("a member is not among what is undone", ("runs/spawn",), "redis.call('ZADD', K.open, seq, identity)", ""),
    Mutant("a member's end resolves nothing", ("jobs/complete",), "== 'open' then", "== 'x' then"),
    Mutant("a failed member tells nobody", ("jobs/fail",), "  K = P", "  if true then return '' end\n  K = P"),
    Mutant("a cancelled member tells nobody", ("jobs/cancel",), "  K = P", "  if true then return '' end\n  K = P"),
    Mutant(
        "a run of before a restore calls off",
        ("jobs/cancel", "jobs/flag"),
        "if A.by == '' then return nil end",
        "if true then return nil end",
    ),
    Mutant("a child's end resolves nothing", ("runs/finish",), "== 'open' then", "== 'x' then"),
    Mutant("a completed child cannot be undone", ("runs/finish",), "if not undoable then", "if true then"),
    Mutant("an ended member stays to be undone", ("jobs/complete",), "redis.call('ZREM', K.open, A.parent_at)", ""),
    Mutant("who waits for all wakes at the first", ("jobs/complete",), "<= tonumber(seen[2] or 0)", "<= 999"),
    Mutant("a nudge wakes nobody", ("runs/nudge",), "if state ~= 'waiting' then", "if true then"),
    Mutant(
        "a new generation has the journal of the one before",
        ("runs/continue",),
        "redis.call('RENAME', K.promises, K.aside)",
        "redis.call('COPY', K.promises, K.aside)",
    ),
    Mutant("a new generation keeps what was due", ("runs/continue",), "redis.call('DEL', K.due)", ""),
    Mutant(
        "a new generation has no time of its run",
        ("runs/continue",),
        "if deadline then redis.call('ZADD', K.due, deadline, 'deadline') end",
        "",
    ),
    Mutant("a new generation keeps the timer of the one before", ("runs/continue",), "arm(A.id)\n", ""),
    Mutant(
        "a new generation hears again what was heard",
        ("runs/continue",),
        "for at = REST, #ARGV do redis.call('ZADD', K.consumed, now, ARGV[at]) end",
        "",
    ),
    Mutant("a run that begins anew stays held", ("runs/continue",), "redis.call('HDEL', K.held, A.id)", ""),
    Mutant("a run that begins anew keeps its number", ("runs/continue",), "'generation', 1)", "'generation', 0)"),
    Mutant(
        "a new generation sent again is fenced",
        ("runs/continue",),
        "elseif now[5] == token .. ' ' .. op then",
        "elseif false then",
    ),
    Mutant("what is taken back stays on record", ("runs/rewind",), "  redis.call('HDEL', K.promises, ARGV[at])\n", ""),
    Mutant("what is taken back stays to be undone", ("runs/rewind",), "  redis.call('ZREM', K.open, ARGV[at])\n", ""),
    Mutant("a run that is taken back is to be deleted", ("runs/rewind",), "redis.call('ZREM', KEYS[MORE], A.id)", ""),
    Mutant("a run that is taken back undoes", ("runs/rewind",), "'undoing', 'undoing_since'", "'undoing_since'"),
    Mutant("a run that is taken back is cancelled again", ("runs/rewind",), "'cancel', 'undoing'", "'undoing'"),
    Mutant("a run is taken back twice", ("runs/rewind",), "'rewound', A.op)", "'x', A.op)"),
    Mutant("a run that is taken back keeps its number", ("runs/rewind",), "'generation', 1)", "'generation', 0)"),
    Mutant(
        "a member resolves the promise of another",
        ("jobs/complete",),
        "and head and string.find(head, A.id, 1, true) then",
        "and head then",
    ),
    Mutant("a run that is migrated keeps its code", ("runs/migrate",), "'spec', A.spec)", "'x', A.spec)"),
    Mutant(
        "a fork has taken over nothing",
        ("runs/start",),
        "do redis.call('HSET', K.promises, ARGV[at], ARGV[at + 1]) end",
        "do redis.call('HGET', K.promises, ARGV[at]) end",
    ),
    Mutant("an event has no place", ("events/publish",), "redis.call('ZADD', K.topic, place, A.id)", ""),
)


def mutated(script: Script, mutant: Mutant) -> Script:
    """Return a script with the bug in it; fail if the line it breaks is not there any more."""
    text = script.text
    for before, after in mutant.edits(script.name):
        assert before in text, f"{mutant.name}: {script.name} has no {before!r}"
        text = text.replace(before, after)
    return replace(script, text=text, sha=sha1(text.encode(), usedforsecurity=False).hexdigest())


class MutantStore:
    """The port with a bug behind it."""

    def __init__(self, inner: Store, mutant: Mutant) -> None:
        self._inner = inner
        self._mutant = mutant
        self._known: dict[str, Script] = {}

    def execute(self, calls: Sequence[Call]) -> list[Any]:
        """Send calls, the mutant's scripts in their broken form."""
        return self._inner.execute([self._broken(call) for call in calls])

    def _broken(self, call: Call) -> Call:
        if call.script is None or not self._mutant.edits(call.script.name):
            return call
        name = call.script.name
        if name not in self._known:
            self._known[name] = mutated(call.script, self._mutant)
        return Call(self._known[name], call.words, call.key_count)
