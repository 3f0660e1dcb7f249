"""Giving a run another past: another version, an earlier point, or a run of its own that begins where this one was."""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from dispatch_celery.codec import Codec
from dispatch_celery.errors import (
    ConfigurationError,
    PromiseNotFound,
    StateConflict,
    WorkflowNotFound,
)
from dispatch_celery.ids import RunId, mint_nonce
from dispatch_celery.jobs.options import JobOptions
from dispatch_celery.scope import restored
from dispatch_celery.store.replies import text
from dispatch_celery.work.body import refuse_in_body
from dispatch_celery.work.model import WakeUp
from dispatch_celery.work.records import decode_spec
from dispatch_celery.workflows.cutting import kept_before
from dispatch_celery.workflows.definition import RunCall, WorkflowDefinition
from dispatch_celery.workflows.ends import not_found
from dispatch_celery.workflows.handle import RunHandle
from dispatch_celery.workflows.journal import ANY, MEMBER_KINDS, Entry, consumed_by
from dispatch_celery.workflows.members import called_off
from dispatch_celery.workflows.model import ENDED, RunState
from dispatch_celery.workflows.starting import RunStarting

__all__ = ["RunRewriting"]

_EDITABLE: Final = frozenset({"step", "job", "child", "event", "now"})
_UNDONE: Final = frozenset({"undone", "skipped"})
_LOOKS: Final = 20


class RunRewriting(RunStarting):
    """The verbs that change what has happened."""

    def migrate(self, run_id: RunId | str, version: int) -> RunState:
        """Pin a run to another version of its workflow: a parked one goes on with it, others when they are woken.

        ``check_code(run_id=..., version=...)`` tells before whether that version fits what the run has recorded.

        Raises:
            WorkflowNotFound: this app does not declare that version.
            StateConflict: the run has ended, or a worker holds it.
        """
        refuse_in_body("dispatch.runs.migrate()")
        stored = self._found(RunId.parse(run_id))
        self._declared(stored.ref.name, version)
        if stored.state not in (RunState.PENDING, RunState.WAITING, RunState.PARKED):
            raise StateConflict(f"{run_id} is {stored.state}: only a run that nobody holds, and that goes on, can move")
        spec = {**stored.spec, "version": version}
        answer = self._store.migrate(stored.ref, stored.state, version, spec)
        if answer.verdict == "STATE":
            raise StateConflict(f"{run_id} is {answer.detail} by now: nothing was changed; try again")
        if answer.verdict == "READY":
            self._publish(WakeUp(ref=replace(stored.ref, version=version), wake=answer.detail, spec=spec))
            return RunState.PENDING
        return RunState(answer.detail)

    def rewind(
        self,
        run_id: RunId | str,
        to: str | None = None,
        *,
        discard_undo: bool = False,
        idempotency_key: str | None = None,
    ) -> RunState:
        """Take a run that is parked or has ended back to before a durable call, or to its start, and let it go on.

        It keeps its id, and what it recorded before ``to``, an identity of its timeline such as ``charge#1``. That call
        and what followed happens again, as a new generation with idempotency keys of its own. Events that were consumed
        stay consumed; what is set aside is found with ``timeline(..., previous=True)``. A run that had ended has no
        timeout any more.

        Asked for again under the ``idempotency_key`` of the run's last rewind, it has been done: the answer is the
        run's state. So a caller that got no answer tries again without taking the run back twice.

        Raises:
            PromiseNotFound: nothing of that identity is recorded.
            StateConflict: it goes on still; or what is taken back has effects that are not undone, or a job or child
                under way (``discard_undo`` leaves them as they are); or what would stay was undone.
        """
        refuse_in_body("dispatch.runs.rewind()")
        run_id = RunId.parse(run_id)
        op = JobOptions(idempotency_key=idempotency_key).idempotency_key or mint_nonce()
        stored = self._found(run_id)
        raw = self._stored.raw(run_id)
        state = RunState(stored.state)
        if text(raw.get("rewound")) == op:
            return state
        _refuse_to_rewind(run_id, state, raw)
        entries, undos = self._records.entries(run_id)
        kept = [] if to is None else kept_before(entries, to)
        _refuse_undone(kept, undos, called_off(run_id, stored.ref.name), f"rewind {run_id}")
        names = {entry.identity for entry in kept}
        answer = self._store.rewind(
            stored.ref,
            state,
            op=op,
            revision=int(raw.get("revision", 0)),
            generation=int(raw.get("generation", 0)),
            dropped=sorted({entry.identity for entry in (*entries, *undos)} - names),
            consumed=sorted(consumed_by(entry for entry in entries if entry.identity not in names)),
            discard=discard_undo,
        )
        if answer.verdict == "OPEN":
            raise StateConflict(
                f"{run_id}: {answer.detail} would happen again, and is not undone, or under way still: compensate the"
                " run first, or rewind it with discard_undo=True, which leaves what was done as it is"
            )
        if answer.verdict == "REPEATED":
            return RunState(answer.detail)
        if answer.verdict != "READY":
            raise StateConflict(f"{run_id} has changed meanwhile ({answer.detail or answer.verdict}): try again")
        self._publish(WakeUp(ref=stored.ref, wake=answer.detail, spec=stored.spec))
        return RunState.PENDING

    def fork(
        self,
        run_id: RunId | str,
        at: str | None = None,
        *,
        arguments: Mapping[str, Any] | None = None,
        results: Mapping[str, Any] | None = None,
        version: int | None = None,
        idempotency_key: str | None = None,
    ) -> RunHandle[Any]:
        """Start a run that has what another one recorded before a durable call, and goes on from there by itself.

        ``at`` is an identity of that run's timeline; without it, all that has an outcome is taken over. ``arguments``
        take the place of the run's own, by name, and ``results`` that of recorded outcomes, by identity; so what was
        recorded is not compared with the arguments it has now. What was under way is sent anew, and the fork undoes
        nothing of what it has taken over. The first run is left as it is. An ``idempotency_key`` is that of a start.

        Raises:
            PromiseNotFound: nothing of that identity is recorded, or not before ``at``.
            StateConflict: what would be taken over was undone; or the run begins anew too fast to be read.
            WorkflowNotFound: this app does not declare that version.
            PayloadError: an argument does not fit, or a result cannot be written as JSON or is too large.
        """
        refuse_in_body("dispatch.runs.fork()")
        run_id = RunId.parse(run_id)
        raw, entries, undos = self._recorded(run_id)
        if not raw:
            raise not_found(run_id)
        run = self._records.of(run_id, raw)
        before = [entry for entry in (entries if at is None else kept_before(entries, at)) if entry.is_resolved]
        edits = dict(results or {})
        meant = [entry for entry in before if entry.identity not in edits]
        _refuse_undone(meant, undos, called_off(run_id, run.name), f"fork {run_id}")
        definition = self._declared(run.name, run.version if version is None else version)
        payload, summary = raw["payload"], str(decode_spec(run_id, raw["spec"]).get("summary", ""))
        if arguments is not None:
            bound = definition.typed.bind((), {**run.arguments, **arguments})
            payload, summary = definition.typed.arguments.encode_plain(bound), definition.summary(bound)
        copied = [self._edited(_taken_over(run_id, entry), edits) for entry in before]
        if edits:
            raise PromiseNotFound(f"{run_id}: no outcome of {', '.join(sorted(edits))} is taken over: edit what is")
        with restored(run.scope):
            options = JobOptions(idempotency_key=idempotency_key)
            new = self.new_run(RunCall(definition, payload, summary, options), extra={"forked_from": run_id})
        ref = replace(new.ref, queue=run.queue, priority=run.priority)
        return RunHandle(self.write(replace(new, ref=ref, copied=copied)), self, definition.typed.result)

    def _declared(self, name: str, version: int) -> WorkflowDefinition[..., Any]:
        definition = self._registry.get(name, version)
        if definition is None:
            known = ", ".join(str(one.version) for one in self._registry if one.name == name) or "none"
            raise WorkflowNotFound(f"this app declares no version {version!r} of {name}; it has: {known}")
        return definition

    def _recorded(self, run_id: RunId) -> tuple[dict[str, bytes], builtins.list[Entry], builtins.list[Entry]]:
        """Return a run's record with what its present generation has recorded: durable calls, and their undos.

        Raises:
            StateConflict: it began anew each time that this was read.
        """
        for _ in range(_LOOKS):
            raw = self._stored.raw(run_id)
            entries, undos = self._records.entries(run_id)
            if self._stored.raw(run_id).get("generation") == raw.get("generation"):
                return raw, entries, undos
        raise StateConflict(f"{run_id} begins anew too fast to be read: try again")

    def _edited(self, entry: Entry, edits: dict[str, Any]) -> Entry:
        """Return a promise with the outcome it is given instead of its own, which is taken out of ``edits``."""
        if entry.identity not in edits:
            return entry
        if entry.head["k"] not in _EDITABLE:
            raise ConfigurationError(
                f"{entry.identity} is a {entry.head['k']}: what can be edited is {', '.join(sorted(_EDITABLE))}"
            )
        edited = Codec(Any, subject=f"the result for {entry.identity}", limit=self.max_payload)
        payload = edited.encode(edits.pop(entry.identity))
        head = {name: value for name, value in entry.head.items() if name != "bad"}
        return replace(entry, status="value", head=head, payload=payload)

    # -- the same on an event loop, written by .ci/make_twins.py

    async def amigrate(self, run_id: RunId | str, version: int) -> RunState:
        """Do as ``migrate``, without holding the event loop."""
        return await asyncio.to_thread(self.migrate, run_id, version)

    async def arewind(
        self,
        run_id: RunId | str,
        to: str | None = None,
        *,
        discard_undo: bool = False,
        idempotency_key: str | None = None,
    ) -> RunState:
        """Do as ``rewind``, without holding the event loop."""
        return await asyncio.to_thread(
            self.rewind, run_id, to, discard_undo=discard_undo, idempotency_key=idempotency_key
        )

    async def afork(
        self,
        run_id: RunId | str,
        at: str | None = None,
        *,
        arguments: Mapping[str, Any] | None = None,
        results: Mapping[str, Any] | None = None,
        version: int | None = None,
        idempotency_key: str | None = None,
    ) -> RunHandle[Any]:
        """Do as ``fork``, without holding the event loop."""
        return await asyncio.to_thread(
            self.fork,
            run_id,
            at,
            arguments=arguments,
            results=results,
            version=version,
            idempotency_key=idempotency_key,
        )


def _refuse_to_rewind(run_id: RunId, state: RunState, raw: Mapping[str, bytes]) -> None:
    """Refuse a run that goes on, or will by itself."""
    if state not in ENDED and state != RunState.PARKED:
        first = "wait until it has undone what it did" if "undoing" in raw else "cancel it first"
        raise StateConflict(f"{run_id} is {state}: a run is rewound when it is parked or has ended; {first}")
    if raw.get("reason") == b"unknown":
        raise StateConflict(f"{run_id} waits for a worker that knows its workflow: it goes on by itself then")


def _taken_over(run_id: RunId, entry: Entry) -> Entry:
    """Return a promise as a fork has it: it says whose it was, and is not compared with today's arguments."""
    origin = entry.head.get("g", 0)
    head = {**entry.head, "d": ANY, "g": origin if isinstance(origin, str) else f"{run_id}\0{origin}"}
    return replace(entry, head=head)


def _refuse_undone(kept: Sequence[Entry], undos: Sequence[Entry], why: str, what: str) -> None:
    """Refuse to go on from effects that are undone, but for those that the code undid itself.

    It does so by ``compensate``, and with the steps that have lost a race, before that is decided. ``why`` is what
    members are cancelled for when their run is undone: from those it is not gone on, either.
    """
    meant = max((entry.at for entry in kept if entry.head["k"] == "compensate"), default=0)
    names = {entry.identity: entry.at for entry in kept}
    undone = [
        undo
        for undo in undos
        if undo.identity in names
        and undo.status in _UNDONE
        and undo.at > max(meant, names.get(undo.identity.rpartition("/")[0], 0))
    ]
    if undone:
        first = min(undone, key=lambda undo: undo.seq).identity
        raise StateConflict(
            f"cannot {what} there: the effect of {first} was undone; go back to {first!r}, so that it happens again"
        )
    for entry in kept:
        is_member = entry.status == "error" and entry.head["k"] in MEMBER_KINDS
        if is_member and entry.at > meant and entry.payload.endswith(b"\n" + why.encode()):
            raise StateConflict(
                f"cannot {what} there: {entry.identity} was cancelled when what the run had done was undone; go back to"
                f" {entry.identity!r}, so that it is sent anew"
            )
