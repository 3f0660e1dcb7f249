"""What the process that holds a run may write: one typed method per script.

A holder's write carries the claim's token, the revision it knows, and an operation id of its own. The answer is
``DONE``, ``REPEATED`` (this very write was recorded before, its reply lost), or ``FENCED``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from dispatch_celery.store.replies import ask, ask_all, text, words
from dispatch_celery.store.scripts import Call, Word
from dispatch_celery.work.model import WorkRef
from dispatch_celery.work.records import encode_spec
from dispatch_celery.work.scripts import Answer
from dispatch_celery.work.store import WorkStore
from dispatch_celery.workflows.held import Awaited, Family, RunClaim
from dispatch_celery.workflows.journal import Entry
from dispatch_celery.workflows.model import RunState

__all__ = ["HeldRuns"]

_PART: Final = 4 * 1_048_576
"""Bytes of a journal that come with one reply."""


class HeldRuns(WorkStore):
    """The scripts of a run's holder."""

    def claim(self, ref: WorkRef, *, holder: str, nonce: str, pid: int) -> tuple[str, RunClaim | tuple[str, ...]]:
        """Take a ready run. Returns ``CLAIMED`` and the claim, or another verdict and its details."""
        keys = self._keys
        call = Call.of(
            "runs/claim",
            {
                **self._move_keys(ref, RunState.PENDING, RunState.RUNNING),
                "workers": keys.workers,
                "held": keys.held(holder),
                "promises": keys.promises(ref.id),
                "undos": keys.undos(ref.id),
                "consumed": keys.consumed(ref.id),
            },
            {**self._common(ref), "name": ref.name, "holder": holder, "nonce": nonce, "pid": pid, "size": _PART},
        )
        reply = ask(self.port, call)
        verdict = text(reply[0])
        if verdict != "CLAIMED":
            return verdict, tuple(words(reply[1:]))
        token, claimed_at, payload, spec, revision, generation, crashes, lost, cancel, created_at = reply[1:11]
        return verdict, RunClaim(
            ref=ref,
            holder=holder,
            token=text(token),
            claimed_at=int(claimed_at),
            payload=payload,
            spec=spec,
            revision=int(revision),
            generation=int(generation),
            crashes=int(crashes),
            lost_workers=int(lost),
            cancel=text(cancel),
            created_at=int(created_at),
            undoing=text(reply[11]),
            entries=[*_entries(reply[12]), *self._further(ref, text(reply[14]))],
            undos=_entries(reply[13]),
            consumed=frozenset(words(reply[15])),
        )

    def _part(self, ref: WorkRef, cursor: str) -> tuple[str, list[Entry]]:
        keys = {"promises": self._keys.promises(ref.id)}
        after, entries = ask(self.port, Call.of("runs/page", keys, {"cursor": cursor, "size": _PART}))
        return text(after), _entries(entries)

    def _further(self, ref: WorkRef, cursor: str) -> list[Entry]:
        """Return what did not come with the claim; what is written meanwhile is seen when the run is to rest."""
        found: list[Entry] = []
        while cursor != "0":
            cursor, entries = self._part(ref, cursor)
            found += entries
        return found

    # -- the holder

    def record(
        self, claim: RunClaim, identity: str, status: str, rest: bytes, progress: str = ""
    ) -> tuple[str, list[Any]]:
        """Record the outcome of a promise, or of one try of it (``retrying``); and how far the run has come by it."""
        keys = {
            "record": self._keys.record(claim.ref.id),
            "promises": self._keys.promises(claim.ref.id),
            "due": self._keys.due(claim.ref.id),
            "timers": self._keys.timers,
            "journal": self._keys.journal,
        }
        arguments = {
            **self._held(claim, f"record {identity} {claim.revision}"),
            "identity": identity,
            "status": status,
            "rest": rest,
            "progress": progress,
        }
        reply = ask(self.port, Call.of("runs/record", keys, arguments))
        return text(reply[0]), reply[1:]

    def spawn(self, claim: RunClaim, family: Family, riders: Sequence[Call] = ()) -> list[str]:
        """Write members of one family with the promises they are waited for by, in one trip with their messages."""
        first, keys = family.members[0].ref, self._keys
        kind = first.kind
        state = family.state
        fixed = {
            **self._undo_keys(claim.ref),
            "promises": keys.promises(claim.ref.id),
            "to_state": keys.state(state, kind),
            "to_name": keys.name(state, first.name, kind),
            "scope": keys.scope(first.scope, kind),
            "lane": keys.lane(first.lane),
            "lanes": keys.lanes,
            "marks": keys.marks,
            "timers": keys.timers,
        }
        arguments: dict[str, Word] = {
            **self._common(first),
            **self._held(claim, f"spawn {family.members[0].identity} {claim.revision}"),
            "kind": "run" if kind else "job",
            "state": state,
            "name": first.name,
            "due": "" if family.due is None else family.due,
            "expires": "" if family.expires is None else family.expires,
            "timeout": "" if family.timeout is None else family.timeout,
            "detached": int(family.detached),
        }
        rest: list[Word] = []
        for one in family.members:
            rest += (one.identity, one.rest, one.ref.id, encode_spec(one.spec), one.payload, one.ref.version)
        records = [keys.record(one.ref.id) for one in family.members]
        dues = [keys.due(one.ref.id) for one in family.members] if kind else []
        call = Call.of("runs/spawn", fixed, arguments, more_keys=[*records, *dues], rest=rest)
        return words(ask_all(self.port, [call, *riders])[0])

    def intend(self, claim: RunClaim, identity: str, rest: bytes, *, promise: bytes = b"") -> list[str]:
        """Note how an effect is to be undone; ``promise`` resolves the durable call that asked for it."""
        keys = {**self._undo_keys(claim.ref), "promises": self._keys.promises(claim.ref.id)}
        arguments = {
            **self._held(claim, f"intend {identity} {claim.revision}"),
            "identity": identity,
            "rest": rest,
            "promise": promise,
        }
        return words(ask(self.port, Call.of("runs/intend", keys, arguments)))

    def undo(self, claim: RunClaim, identity: str, status: str, rest: bytes) -> list[str]:
        """Record how an undo went: ``undone``, ``retrying`` or ``stuck``."""
        arguments = {
            **self._held(claim, f"undo {identity} {claim.revision}"),
            "identity": identity,
            "status": status,
            "rest": rest,
        }
        return words(ask(self.port, Call.of("runs/undo", self._undo_keys(claim.ref), arguments)))

    def suspend(
        self,
        claim: RunClaim,
        awaited: Sequence[Awaited],
        *,
        enough: int | None = None,
        fast: bool = False,
        progress: str = "",
    ) -> tuple[str, list[Any]]:
        """Register what a run waits for, and let go of it, unless that is there.

        It is woken when no more than ``enough`` of them are left (None: when the first has come) or, where it is
        ``fast``, when one has failed.
        """
        keys = {
            **self._move_keys(claim.ref, RunState.RUNNING, RunState.WAITING),
            "held": self._keys.held(claim.holder),
            "promises": self._keys.promises(claim.ref.id),
            "waits": self._keys.waits(claim.ref.id),
            "due": self._keys.due(claim.ref.id),
        }
        rest: list[Word] = []
        for one in awaited:
            rest += (one.identity, one.status, "" if one.delay is None else one.delay, one.rest)
        reply = ask(
            self.port,
            Call.of(
                "runs/suspend",
                keys,
                {
                    **self._held(claim, f"suspend {claim.revision}"),
                    "enough": max(len(awaited) - 1, 0) if enough is None else enough,
                    "fast": int(fast),
                    "progress": progress,
                },
                rest=rest,
            ),
        )
        return text(reply[0]), reply[1:]

    def journal(self, ref: WorkRef) -> list[Entry]:
        """Return all that is recorded of a run by now."""
        cursor, entries = self._part(ref, "0")
        return [*entries, *self._further(ref, cursor)]

    def continue_as_new(
        self, claim: RunClaim, payload: bytes, spec: Mapping[str, Any], events: Sequence[str]
    ) -> Answer:
        """Let a run begin anew with other arguments, its journal set aside, the events it has consumed kept."""
        keys = {
            **self._move_keys(claim.ref, RunState.RUNNING, RunState.PENDING),
            "held": self._keys.held(claim.holder),
            "promises": self._keys.promises(claim.ref.id),
            "aside": self._keys.aside(claim.ref.id),
            "consumed": self._keys.consumed(claim.ref.id),
            "due": self._keys.due(claim.ref.id),
            "open": self._keys.open_undos(claim.ref.id),
        }
        arguments = {
            **self._common(claim.ref),
            **self._held(claim, f"continue {claim.revision}"),
            "retain": self._settings.retain_events,
            "payload": payload,
            "spec": encode_spec(spec),
        }
        undos = [self._keys.undos(claim.ref.id)]
        return self._answer(Call.of("runs/continue", keys, arguments, more_keys=undos, rest=list(events)))

    def finish(self, claim: RunClaim, outcome: RunState, fields: Sequence[Word]) -> Answer:
        """Record how a held run ended."""
        settings = self._settings
        retain = {
            RunState.COMPLETED: settings.retain_completed,
            RunState.FAILED: settings.retain_failed,
            RunState.CANCELLED: settings.retain_cancelled,
        }[outcome]
        keys = {
            **self._move_keys(claim.ref, RunState.RUNNING, outcome),
            "held": self._keys.held(claim.holder),
            "waits": self._keys.waits(claim.ref.id),
            "due": self._keys.due(claim.ref.id),
            "open": self._keys.open_undos(claim.ref.id),
        }
        arguments = {
            **self._common(claim.ref),
            **self._held(claim, f"finish {outcome} {claim.revision}"),
            "outcome": outcome,
            "retain": retain,
        }
        parent = self._parent_keys(claim.ref)
        return self._answer(Call.of("runs/finish", keys, arguments, more_keys=parent, rest=fields))

    def park(self, ref: WorkRef, *, holder: str, token: str, reason: str, detail: str) -> Answer:
        """Set a held run aside until a person decides."""
        keys = {**self._move_keys(ref, RunState.RUNNING, RunState.PARKED), "held": self._keys.held(holder)}
        arguments = {**self._common(ref), "token": token, "op": "park", "reason": reason, "detail": detail}
        return self._answer(Call.of("runs/park", keys, arguments))

    def release(self, ref: WorkRef, *, holder: str, token: str, counter: str = "", pause: int = 0) -> Answer:
        """Take a run from a process that stops or is dead: ready again at once, or after ``pause`` ms."""
        keys = {
            **self._move_keys(ref, RunState.RUNNING, RunState.PENDING),
            "later_state": self._keys.state(RunState.WAITING, ref.kind),
            "later_name": self._keys.name(RunState.WAITING, ref.name, ref.kind),
            "held": self._keys.held(holder),
            "due": self._keys.due(ref.id),
        }
        arguments = {**self._common(ref), "token": token, "op": "release", "counter": counter, "pause": pause}
        return self._answer(Call.of("runs/release", keys, arguments))

    def _undo_keys(self, ref: WorkRef) -> dict[str, str]:
        return {
            "record": self._keys.record(ref.id),
            "undos": self._keys.undos(ref.id),
            "open": self._keys.open_undos(ref.id),
            "journal": self._keys.journal,
        }

    def _held(self, claim: RunClaim, op: str) -> dict[str, Word]:
        return {
            "now": self._time.word,
            "journal": self._settings.journal,
            "id": claim.ref.id,
            "token": claim.token,
            "revision": claim.revision,
            "op": op,
        }


def _entries(flat: Sequence[bytes]) -> list[Entry]:
    return [Entry.parse(text(name), data) for name, data in zip(flat[::2], flat[1::2], strict=True)]
