"""One typed method per script of ``lua/runs`` that is not its holder's: callers, operators, and the leader."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dispatch_celery.store.replies import ask_all, words
from dispatch_celery.store.scripts import Call, Word
from dispatch_celery.work.model import WorkRef
from dispatch_celery.work.records import encode_spec
from dispatch_celery.work.scripts import Answer
from dispatch_celery.workflows.held_store import HeldRuns
from dispatch_celery.workflows.journal import Entry
from dispatch_celery.workflows.model import RunRef, RunState

__all__ = ["NewRun", "RunStore"]

_FIRE: int = 500
_KIND = "run-"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRun:
    """A run about to be written."""

    ref: RunRef
    spec: Mapping[str, Any]
    payload: bytes
    delay: int | None = None
    run_at: int | None = None
    timeout: int | None = None
    digest: str = ""
    copied: Sequence[Entry] = ()
    """What it takes over of the run it is forked from."""


class RunStore(HeldRuns):
    """The scripts of one partition, typed."""

    def start(self, run: NewRun, riders: Sequence[Call] = ()) -> list[str]:
        """Write a run in one trip, with the riders behind it."""
        ref, keys = run.ref, self._keys
        spec = encode_spec(run.spec)
        copied: list[Word] = []
        for entry in run.copied:
            copied += (entry.identity, entry.dump())
        fields: list[Word] = ["name", ref.name, "version", ref.version, "spec", spec, "payload", run.payload]
        call = Call.of(
            "runs/start",
            {
                **self._move_keys(ref, "new", RunState.PENDING),
                "later_state": keys.state(RunState.WAITING, _KIND),
                "later_name": keys.name(RunState.WAITING, ref.name, _KIND),
                "due": keys.due(ref.id),
                "promises": keys.promises(ref.id),
            },
            {
                **self._common(ref),
                "copied": len(run.copied),
                "seq": max((entry.seq for entry in run.copied), default=""),
                "delay": "" if run.delay is None else run.delay,
                "run_at": "" if run.run_at is None else run.run_at,
                "timeout": "" if run.timeout is None else run.timeout,
                "digest": run.digest,
            },
            rest=[*copied, *fields],
        )
        return words(ask_all(self.port, [call, *riders])[0])

    def strand(self, ref: WorkRef, detail: str) -> Answer:
        """Park a ready run whose workflow no live worker knows."""
        keys = self._move_keys(ref, RunState.PENDING, RunState.PARKED)
        return self._answer(Call.of("runs/strand", keys, {**self._common(ref), "detail": detail}))

    def cancel(self, ref: WorkRef, expected: str, reason: str, *, discard: bool = False, by: str = "") -> Answer:
        """Cancel a run that nobody holds, if it is in the state the caller saw; OPEN where it is to ``turn`` first.

        ``by`` is who asks, where it is the run it belongs to.
        """
        keys = {
            **self._move_keys(ref, expected, RunState.CANCELLED),
            "waits": self._keys.waits(ref.id),
            "due": self._keys.due(ref.id),
            "open": self._keys.open_undos(ref.id),
        }
        arguments = {
            **self._common(ref),
            "expected": expected,
            "reason": reason,
            "discard": int(discard),
            "retain": self._settings.retain_cancelled,
            "by": by,
        }
        return self._answer(Call.of("runs/cancel", keys, arguments, more_keys=self._parent_keys(ref)))

    def turn(self, ref: WorkRef, expected: str, reason: str, *, by: str = "") -> Answer:
        """Let a run that nobody holds undo what it has done, and be cancelled then; ``by`` as for ``cancel``."""
        keys = {
            **self._move_keys(ref, expected, RunState.PENDING),
            "waits": self._keys.waits(ref.id),
            "due": self._keys.due(ref.id),
            "open": self._keys.open_undos(ref.id),
        }
        arguments = {**self._common(ref), "expected": expected, "reason": reason, "by": by}
        return self._answer(Call.of("runs/turn", keys, arguments, more_keys=self._parent_keys(ref)))

    def reverse(self, ref: WorkRef, reason: str, *, by: str = "") -> Answer:
        """Let a completed run undo what it did, and be cancelled then; ``by`` as for ``cancel``."""
        keys = {
            **self._move_keys(ref, RunState.COMPLETED, RunState.PENDING),
            "open": self._keys.open_undos(ref.id),
        }
        arguments = {**self._common(ref), "reason": reason, "by": by}
        return self._answer(Call.of("runs/reverse", keys, arguments, more_keys=self._parent_keys(ref)))

    def nudge(self, runs: Sequence[tuple[WorkRef, str]]) -> list[Answer]:
        """Tell runs, by the durable call they wait with, that something was published where they wait."""
        calls = [
            Call.of(
                "runs/nudge",
                {**self._move_keys(ref, RunState.WAITING, RunState.PENDING), "waits": self._keys.waits(ref.id)},
                {**self._common(ref), "identity": identity},
            )
            for ref, identity in runs
        ]
        return [Answer(*words(reply)) for reply in ask_all(self.port, calls)]

    def resume(self, ref: WorkRef) -> Answer:
        """Make a parked run ready again."""
        keys = self._move_keys(ref, RunState.PARKED, RunState.PENDING)
        return self._answer(Call.of("runs/resume", keys, self._common(ref)))

    def rewind(
        self,
        ref: WorkRef,
        expected: str,
        *,
        op: str,
        revision: int,
        generation: int,
        dropped: Sequence[str],
        consumed: Sequence[str],
        discard: bool,
    ) -> Answer:
        """Take a run that is parked or has ended back, once under this ``op``: what is ``dropped`` happens again."""
        keys = {
            **self._move_keys(ref, expected, RunState.PENDING),
            "promises": self._keys.promises(ref.id),
            "aside": self._keys.aside(ref.id),
            "undos": self._keys.undos(ref.id),
            "consumed": self._keys.consumed(ref.id),
            "due": self._keys.due(ref.id),
            "open": self._keys.open_undos(ref.id),
        }
        arguments = {
            **self._common(ref),
            "expected": expected,
            "op": op,
            "revision": revision,
            "generation": generation,
            "retain": self._settings.retain_events,
            "dropped": len(dropped),
            "discard": int(discard),
        }
        further = [keys[name] for name in ("expiry", "unknown", "idempotency")]
        call = Call.of("runs/rewind", keys, arguments, more_keys=further, rest=[*dropped, *consumed])
        return self._answer(call)

    def migrate(self, ref: WorkRef, expected: str, version: int, spec: Mapping[str, Any]) -> Answer:
        """Pin a run that nobody holds to another version; a parked one goes on."""
        keys = self._move_keys(ref, expected, RunState.PENDING)
        arguments = {**self._common(ref), "expected": expected, "version": version, "spec": encode_spec(spec)}
        return self._answer(Call.of("runs/migrate", keys, arguments))

    def skip(self, ref: WorkRef, identity: str) -> Answer:
        """Strike off one open undo of a parked run."""
        arguments = {"now": self._time.word, "journal": self._settings.journal, "id": ref.id, "identity": identity}
        return self._answer(Call.of("runs/skip", self._undo_keys(ref), arguments))

    def fire(self, refs: Sequence[WorkRef], *, holders: Sequence[str] = (), term: str = "") -> list[Answer]:
        """Resolve what of each run is due; ``holders`` are those the caller saw."""
        calls = [
            Call.of(
                "runs/fire",
                {
                    **self._move_keys(ref, RunState.WAITING, RunState.PENDING),
                    "promises": self._keys.promises(ref.id),
                    "waits": self._keys.waits(ref.id),
                    "due": self._keys.due(ref.id),
                    "held": self._keys.held(holder),
                    "worker": self._keys.worker(holder),
                },
                {**self._common(ref), "term": term, "limit": _FIRE, "holder": holder},
            )
            for ref, holder in zip(refs, holders or [""] * len(refs), strict=True)
        ]
        return [Answer(*words(reply)) for reply in ask_all(self.port, calls)]

    def rearm(self, ref: WorkRef, *, term: str = "") -> Answer:
        """Give a run that has something due the timer it has lost."""
        keys = {
            "record": self._keys.record(ref.id),
            "due": self._keys.due(ref.id),
            "timers": self._keys.timers,
            "leader": self._keys.leader,
        }
        return self._answer(Call.of("runs/rearm", keys, {"id": ref.id, "term": term}))

    def delete(self, ref: WorkRef, expected: str, *, term: str = "") -> Answer:
        """Delete an ended run's record and all that names it, once its retention has passed."""
        keys = {
            **self._move_keys(ref, expected, expected),
            "promises": self._keys.promises(ref.id),
            "aside": self._keys.aside(ref.id),
            "consumed": self._keys.consumed(ref.id),
            "waits": self._keys.waits(ref.id),
            "due": self._keys.due(ref.id),
            "undos": self._keys.undos(ref.id),
            "open": self._keys.open_undos(ref.id),
        }
        return self._answer(Call.of("runs/delete", keys, {**self._common(ref), "expected": expected, "term": term}))

    def clearing(self, run_id: str, wake: str) -> Call:
        """Return the command that says of a wake-up that it has been published."""
        return Call.command("ZREM", self._keys.marks, f"{run_id}:{wake}")
