"""Runs on top of the world of jobs: short ways to any state, and what must hold of every run at every instant.

A test module makes the fixture ``world`` of it: ``yield from run_world(store, namespace)``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any

from dispatch_celery.ids import RunId, WorkerId
from dispatch_celery.store.client import Store
from dispatch_celery.store.replies import ask, text
from dispatch_celery.store.scripts import Call
from dispatch_celery.work.model import WorkRef
from dispatch_celery.work.scripts import Answer
from dispatch_celery.workflows.held import Awaited, RunClaim
from dispatch_celery.workflows.journal import Entry, rest_of
from dispatch_celery.workflows.model import RunRef, RunState
from dispatch_celery.workflows.store import NewRun
from tests.lua.run_facts import run_problems
from tests.lua.world import ERROR, START, World

__all__ = ["ENDS", "RunWorld", "asleep", "awaits", "held_by", "rest", "run_world"]

FIELDS: Mapping[str, Sequence[str]] = {
    "completed": ("result", '{"big":9007199254740993,"l":[]}'),
    "failed": ("error", ERROR),
    "cancelled": ("reason", "asked"),
}
ENDS = tuple(FIELDS)
"""The three ways to finish."""


def rest(kind: str = "step", place: int = 0, payload: bytes = b"") -> bytes:
    """Return what only Python reads of an entry."""
    return rest_of({"k": kind, "d": "0" * 12, "o": place}, payload)


def asleep(milliseconds: int, identity: str = "sleep#1") -> Awaited:
    """Return a sleep to wait for."""
    return Awaited(identity, "sleeping", milliseconds, rest("sleep"))


def awaits(status: str, delay: int | None, identity: str) -> Awaited:
    """Return a promise to wait for."""
    return Awaited(identity, status, delay, rest("event"))


def held_by(claim: RunClaim) -> dict[str, str]:
    """Return by what a claim's holder and its keepers name it."""
    return {"holder": claim.holder, "token": claim.token}


class RunWorld(World):
    """One namespace with runs in it."""

    def __init__(self, port: Store, namespace: str, **settings: Any) -> None:
        super().__init__(port, namespace, **settings)
        self.discarded: set[str] = set()

    # -- looking

    def problems(self) -> list[str]:
        """Return every invariant that does not hold, of jobs and of runs."""
        return super().problems() + run_problems(self.dump(), self.discarded)

    def shown(self, ref: WorkRef) -> dict[str, str]:
        """Return a run's record; empty if there is none."""
        return {name: text(value) for name, value in self.records.raw(ref.id).items()}

    def promises(self, ref: WorkRef) -> dict[str, Entry]:
        """Return a run's journal."""
        return self._entries(self.keys.promises(ref.id))

    def due_of(self, ref: WorkRef) -> dict[str, float]:
        """Return what of a run is due, and when."""
        return self.dump().ordered.get(f"run:{ref.id}:due", {})

    def undos(self, ref: WorkRef) -> dict[str, Entry]:
        """Return how what a run has done is undone."""
        return self._entries(self.keys.undos(ref.id))

    def _entries(self, key: str) -> dict[str, Entry]:
        flat = self.ask("HGETALL", key)
        return {text(name): Entry.parse(text(name), data) for name, data in zip(flat[::2], flat[1::2], strict=True)}

    def open_undos(self, ref: WorkRef) -> list[str]:
        """Return what is to be undone, the last effect first."""
        return [text(identity) for identity in self.ask("ZREVRANGE", self.keys.open_undos(ref.id), 0, -1)]

    def waits_of(self, ref: WorkRef) -> set[str]:
        """Return what a run waits for."""
        return self.dump().sets.get(f"run:{ref.id}:waits", set())

    # -- doing

    def new_run(self, *, key: str = "", scope: str = "", payload: bytes = b"{}", **options: Any) -> NewRun:
        """Return a run that is not written yet."""
        spec = {"schema": 1, **({"scope": scope} if scope else {}), **({"idempotency_key": key} if key else {})}
        ref = RunRef(
            id=RunId.mint(time_ms=START),
            name=options.pop("name", "order"),
            queue=options.pop("queue", "q"),
            priority=options.pop("priority", 0),
            scope=scope,
            idempotency_key=key,
            version=1,
        )
        digest = sha256(payload).hexdigest()[:32] if key else ""
        return NewRun(ref=ref, spec=spec, payload=payload, digest=digest, **options)

    def start(self, **options: Any) -> RunRef:
        """Write a new run."""
        run = self.new_run(**options)
        assert self.runs.start(run)[0] == "CREATED"
        return run.ref

    def take(self, ref: WorkRef, holder: WorkerId | None = None, *, nonce: str = "nonce", pid: int = 7) -> RunClaim:
        """Claim a ready run, by a new worker if none is named."""
        verdict, claim = self.runs.claim(ref, holder=holder or self.register(), nonce=nonce, pid=pid)
        assert isinstance(claim, RunClaim), verdict
        return claim

    def taken(self, *, nonce: str = "nonce", **options: Any) -> RunClaim:
        """Return a new run, held by a new worker."""
        return self.take(self.start(**options), nonce=nonce)

    def note(self, claim: RunClaim, identity: str, payload: bytes = b"1", status: str = "value") -> None:
        """Record a promise, and let the holder know of its own write."""
        assert self.runs.record(claim, identity, status, rest(payload=payload))[0] == "DONE"
        claim.revision += 1

    def intend(self, claim: RunClaim, *identities: str) -> None:
        """Note how effects are undone, and let the holder know of its own writes."""
        for identity in identities:
            assert self.runs.intend(claim, identity, rest("undo", payload=b"{}"))[0] == "DONE"
            claim.revision += 1

    def undo(self, claim: RunClaim, identity: str, status: str = "undone") -> None:
        """Record how an undo went, and let the holder know of its own write."""
        assert self.runs.undo(claim, identity, status, rest("undo", payload=b"{}"))[0] == "DONE"
        claim.revision += 1

    def undoing(self, *identities: str, outcome: str = "failed", **options: Any) -> RunClaim:
        """Return a run that undoes, by the one that has done it."""
        claim = self.taken(**options)
        self.intend(claim, *identities)
        assert self.finish(claim, outcome).verdict == "UNDOING"
        claim.revision, claim.undoing = claim.revision + 1, outcome
        return claim

    def suspended(self, awaited: Sequence[Awaited], *, undos: Sequence[str] = (), **options: Any) -> RunClaim:
        """Return a new run that waits, and the claim it was suspended under."""
        claim = self.taken(**options)
        self.intend(claim, *undos)
        assert self.runs.suspend(claim, awaited) == ("DONE", [])
        return claim

    def asked(self, **options: Any) -> RunClaim:
        """Return a running run with the cancel flag."""
        claim = self.taken(**options)
        self.flag(claim)
        return claim

    def flag(self, claim: RunClaim, reason: str = "enough") -> None:
        """Ask a run's holder to cancel it."""
        assert self.jobs.flag(claim.ref, claim.holder, reason).verdict == "ASKED"

    def finish(self, claim: RunClaim, outcome: str = "completed") -> Answer:
        """End a held run."""
        return self.runs.finish(claim, RunState(outcome), list(FIELDS[outcome]))

    def park(self, claim: RunClaim) -> Answer:
        """Set a held run aside."""
        return self.runs.park(claim.ref, **held_by(claim), reason="its code has changed", detail="both")

    def release(self, claim: RunClaim, *, counter: str = "", pause: int = 0) -> Answer:
        """Take a run from its holder."""
        return self.runs.release(claim.ref, **held_by(claim), counter=counter, pause=pause)

    def fire(self, ref: WorkRef, *, term: str = "") -> tuple[str, str]:
        """Resolve what of a run is due."""
        (stored,) = self.records.stored([ref.id])
        holder = "" if stored is None else stored.holder
        (answer,) = self.runs.fire([ref], holders=[holder], term=term)
        return answer.verdict, answer.detail

    def discard(self, ref: WorkRef, state: str) -> Answer:
        """Cancel a run on a person's word that its effects stay as they are."""
        answer = self.runs.cancel(ref, state, "asked", discard=True)
        self.discarded |= {ref.id} if answer.verdict == "DONE" else set()
        return answer

    def run_at(self, state: str, *, undos: Sequence[str] = (), **options: Any) -> WorkRef:
        """Return a new run in a state, with something to undo if it is said what."""
        if state == RunState.PENDING and not undos:
            return self.start(**options)
        if state == RunState.WAITING:
            return self.suspended([asleep(5_000)], undos=undos, **options).ref
        claim = self.taken(**options)
        self.intend(claim, *undos)
        if state == RunState.PENDING:
            assert self.release(claim).verdict == "DONE"
        elif state == RunState.PARKED:
            assert self.park(claim).verdict == "DONE"
        elif state in ENDS:
            assert self.finish(claim, state).verdict == "DONE"
        return claim.ref


def run_world(port: Store, namespace: str, **settings: Any) -> Iterator[RunWorld]:
    """Yield a world in a namespace of its own; then its invariants must hold, and it is deleted."""
    world = RunWorld(port, namespace, **settings)
    yield world
    problems = world.problems()
    keys = ask(port, Call.command("KEYS", f"{world.keys.tag}*"))
    if keys:
        ask(port, Call.command("DEL", *keys))
    assert problems == [], problems
