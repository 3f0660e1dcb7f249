"""Every script of runs: how to come to where it is called, and what it answers the first and the second time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dispatch_celery.store.replies import ask, text
from dispatch_celery.store.scripts import Call
from dispatch_celery.workflows.held import Family
from tests.lua.families import awaited, member, send_jobs
from tests.lua.resending import Act, Case
from tests.lua.run_world import ENDS, RunWorld, asleep, awaits, rest
from tests.lua.saga_writes import WRITES, write, writer

__all__ = ["CASES"]

UNHELD = ("pending", "waiting", "parked")
Prepare = Callable[[RunWorld], Act]


def _start(**options: Any) -> Prepare:
    def prepare(world: RunWorld) -> Act:
        run = world.new_run(**options)
        return lambda: world.runs.start(run)[0]

    return prepare


def _claim(world: RunWorld) -> Act:
    ref, worker = world.start(), world.register()
    return lambda: world.runs.claim(ref, holder=worker, nonce="n", pid=1)[0]


def _record(status: str) -> Prepare:
    def prepare(world: RunWorld) -> Act:
        claim = world.taken()
        return lambda: world.runs.record(claim, "a#1", status, rest())[0]

    return prepare


def _take_event(world: RunWorld) -> Act:
    claim = world.suspended([awaits("awaiting", 9_000, "e#1")], nonce="a")
    world.runs.nudge([(claim.ref, "e#1")])
    again = world.take(claim.ref, nonce="b")
    return lambda: world.runs.record(again, "e#1", "value", rest("event"))[0]


def _spawn(kind: str) -> Prepare:
    def prepare(world: RunWorld) -> Act:
        claim = world.taken()
        family = Family(members=[member(claim, f"m#{n}", kind) for n in range(3)])
        return lambda: world.runs.spawn(claim, family)[0]

    return prepare


def _write(verb: str) -> Prepare:
    def prepare(world: RunWorld) -> Act:
        claim = writer(world, verb)
        return lambda: write(world, verb, claim)

    return prepare


def _suspend(*, ready: bool) -> Prepare:
    def prepare(world: RunWorld) -> Act:
        claim = world.taken()
        if ready:
            world.note(claim, "m#1")
        return lambda: world.runs.suspend(claim, [*awaited("m#1"), awaits("retrying", 900, "b#1")])[0]

    return prepare


def _finish(outcome: str, *undos: str) -> Prepare:
    def prepare(world: RunWorld) -> Act:
        claim = world.taken(key="k", timeout=9_000)
        world.intend(claim, *undos)
        return lambda: world.finish(claim, outcome).verdict

    return prepare


def _let_go(verb: str) -> Prepare:
    def prepare(world: RunWorld) -> Act:
        claim = world.taken()
        if verb == "park":
            return lambda: world.park(claim).verdict
        return lambda: world.release(claim, counter="crashes", pause=500 if verb == "pause" else 0).verdict

    return prepare


def _nudge(world: RunWorld) -> Act:
    claim = world.taken()
    return lambda: world.runs.nudge([(claim.ref, "e#1")])[0].verdict


def _fire(world: RunWorld) -> Act:
    claim = world.suspended([asleep(100), awaits("awaiting", 100, "e#1")], timeout=9_000)
    world.passes(100)
    return lambda: world.runs.fire([claim.ref])[0].verdict


def _expire(world: RunWorld) -> Act:
    claim = world.taken(timeout=100)
    world.passes(100)
    return lambda: world.runs.fire([claim.ref], holders=[claim.holder])[0].verdict


def _rearm(world: RunWorld) -> Act:
    claim = world.suspended([asleep(900)])
    world.ask("ZREM", world.keys.timers, claim.ref.id)
    return lambda: world.runs.rearm(claim.ref).verdict


def _strand(world: RunWorld) -> Act:
    ref = world.start()
    return lambda: world.runs.strand(ref, "nobody knows it").verdict


def _resume(world: RunWorld) -> Act:
    ref = world.run_at("parked")
    return lambda: world.runs.resume(ref).verdict


def _cancel(state: str) -> Prepare:
    def prepare(world: RunWorld) -> Act:
        ref = world.run_at(state, key="k", timeout=9_000)
        return lambda: world.runs.cancel(ref, state, "x").verdict

    return prepare


def _turn(state: str) -> Prepare:
    def prepare(world: RunWorld) -> Act:
        claim = world.taken(timeout=9_000)
        world.intend(claim, "a#1")
        send_jobs(world, claim, "m#1")
        if state == "waiting":
            world.runs.suspend(claim, awaited("m#1"))
        elif state == "parked":
            world.park(claim)
        else:
            world.release(claim)
        return lambda: world.runs.turn(claim.ref, state, "x").verdict

    return prepare


def _reverse(world: RunWorld) -> Act:
    ref = world.run_at("completed", undos=["a#1"], key="k")
    return lambda: world.runs.reverse(ref, "x").verdict


def _skip(world: RunWorld) -> Act:
    ref = world.run_at("parked", undos=["a#1", "b#1"])
    return lambda: world.runs.skip(ref, "a#1").verdict


def _continue(world: RunWorld) -> Act:
    claim = world.taken(timeout=9_000)
    world.note(claim, "a#1")
    return lambda: world.runs.continue_as_new(claim, b'{"n":2}', {"schema": 1}, ["evt_1"]).verdict


def _migrate(state: str) -> Prepare:
    def prepare(world: RunWorld) -> Act:
        ref = world.run_at(state)
        return lambda: world.runs.migrate(ref, state, 2, {"schema": 1, "version": 2}).verdict

    return prepare


def _rewind(state: str) -> Prepare:
    def prepare(world: RunWorld) -> Act:
        claim = world.taken(timeout=9_000)
        world.note(claim, "a#1")
        world.note(claim, "b#1")
        if state == "parked":
            world.park(claim)
        else:
            world.finish(claim, state)
        seen: dict[str, Any] = {"revision": 2, "generation": 0, "dropped": ["b#1"], "consumed": ["evt_1"], "op": "x"}
        return lambda: world.runs.rewind(claim.ref, state, **seen, discard=False).verdict

    return prepare


def _page(world: RunWorld) -> Act:
    claim = world.taken()
    world.note(claim, "a#1")
    keys = {"promises": world.keys.promises(claim.ref.id)}
    return lambda: text(ask(world.port, Call.of("runs/page", keys, {"cursor": "0", "size": 1}))[1][0])


def _delete(world: RunWorld) -> Act:
    ref = world.run_at("completed", key="k", scope="a/b")
    world.passes(world.settings.retain_completed)
    return lambda: world.runs.delete(ref, "completed").verdict


def _flag(world: RunWorld) -> Act:
    claim = world.taken()
    return lambda: world.jobs.flag(claim.ref, claim.holder, "x").verdict


CASES: list[Case[RunWorld]] = [
    Case("runs/start", _start(), "CREATED", "REPEATED"),
    Case("runs/start", _start(key="k", scope="a/b", timeout=900), "CREATED", "REPEATED", "keyed"),
    Case("runs/start", _start(delay=5_000), "CREATED", "REPEATED", "for later"),
    Case("runs/claim", _claim, "CLAIMED", "CLAIMED"),
    *(Case("runs/record", _record(status), "DONE", "REPEATED", status) for status in ("value", "error", "retrying")),
    Case("runs/record", _take_event, "DONE", "REPEATED", "an event"),
    *(Case("runs/spawn", _spawn(kind), "DONE", "REPEATED", kind) for kind in ("job", "child")),
    *(
        Case("runs/intend" if verb == "intend" else "runs/undo", _write(verb), "DONE", "REPEATED", verb)
        for verb in WRITES
    ),
    Case("runs/suspend", _suspend(ready=False), "DONE", "REPEATED"),
    Case("runs/suspend", _suspend(ready=True), "READY", "READY", "where it finds something"),
    *(Case("runs/finish", _finish(end), "DONE", "REPEATED", end) for end in ENDS),
    *(Case("runs/finish", _finish(end, "a#1"), "UNDOING", "UNDOING", f"{end} and undoes") for end in ENDS[1:]),
    *(
        Case(f"runs/{'park' if verb == 'park' else 'release'}", _let_go(verb), "DONE", "REPEATED", verb)
        for verb in ("park", "release", "pause")
    ),
    Case("runs/nudge", _nudge, "NOTED", "NOTED"),
    Case("runs/fire", _fire, "READY", "NOTHING"),
    Case("runs/fire", _expire, "EXPIRED", "NOTHING", "a deadline"),
    Case("runs/rearm", _rearm, "ARMED", "LEFTOVER"),
    Case("runs/strand", _strand, "DONE", "STATE"),
    Case("runs/resume", _resume, "READY", "STATE"),
    *(Case("runs/cancel", _cancel(state), "DONE", "STATE", state) for state in UNHELD),
    *(
        Case("runs/turn", _turn(state), "READY", "UNDOING" if state == "pending" else "STATE", state)
        for state in UNHELD
    ),
    Case("runs/reverse", _reverse, "READY", "STATE"),
    Case("runs/continue", _continue, "DONE", "REPEATED"),
    *(Case("runs/migrate", _migrate(state), "DONE", "DONE", state) for state in UNHELD[:2]),
    Case("runs/migrate", _migrate("parked"), "READY", "DONE", "parked"),
    *(Case("runs/rewind", _rewind(state), "READY", "REPEATED", state) for state in ("parked", *ENDS)),
    Case("runs/page", _page, "a#1", "a#1"),
    Case("runs/skip", _skip, "DONE", "MISSING"),
    Case("runs/delete", _delete, "DONE", "STATE"),
    Case("jobs/flag", _flag, "ASKED", "ASKED", "of a run"),
]
