"""One run in the process that holds it: replays its journal, resolves what it can, and says what it waits for.

A durable call takes its identity in program order, is answered from the journal where an outcome is recorded, and is
carried out where none is. A call that must wait unwinds the function with ``Suspended``. Every write is the holder's:
under its token, one revision after the other, repeated until it is answered or refused.
"""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Mapping
from typing import Any, Final, NoReturn

from pydantic_core import from_json, to_json

from dispatch_celery.clock import monotonic_ms
from dispatch_celery.codec import Codec
from dispatch_celery.errors import Fenced, Suspended, WorkflowMisuse
from dispatch_celery.events.model import Place
from dispatch_celery.ids import EventId
from dispatch_celery.jobs.outcome import Cancel, Failed, Retrying, classify_error, failure_of
from dispatch_celery.workflows.failure import encode_error, rebuilt
from dispatch_celery.workflows.holder import Anew, Unwound
from dispatch_celery.workflows.journal import Entry, digest_of, rest_of
from dispatch_celery.workflows.members import MEMBER_KINDS
from dispatch_celery.workflows.sending import Sending
from dispatch_celery.workflows.slice import Asked
from dispatch_celery.workflows.step_definition import StepCall
from dispatch_celery.workflows.steps import context_of
from dispatch_celery.workflows.store import Awaited
from dispatch_celery.workflows.undo import Undo

__all__ = ["Engine"]

_IN_PLACE: Final = 1_000
"""Milliseconds up to which a step waits for its next attempt in the worker; longer, and the run waits without one."""


class Engine(Sending):
    """The calls of a run that its own worker carries out."""

    def step(self, call: StepCall[Any]) -> Any:
        """Run a step once and for all: return what it returned, or raise what it raised, now as on every replay.

        Raises:
            StepFailed: of the step's own error class as well.
            PayloadError: its arguments do not fit, or its result cannot be stored.
        """
        return self.perform(self.ask_call(call), call)

    def perform(self, asked: Asked, call: StepCall[Any]) -> Any:
        """Run a step that has its identity, unless its outcome is recorded; see ``step``."""
        entry = asked.entry
        if entry is not None and entry.is_resolved:
            return self._outcome(entry, call.definition.typed.result)
        self._intend(call, asked)
        attempt = int(entry.head.get("a", 0)) if entry is not None else 0
        policy = call.definition.retry or self._step_retry
        while True:
            attempt += 1
            self.may_act()
            begun = monotonic_ms()
            head = {**asked.head, "a": attempt, "w": self.claim.holder}
            try:
                value = self._performed(call, asked, attempt)
                data = call.definition.typed.result.encode(value, limit=self.max_payload)
            except (Fenced, Suspended, Unwound):
                raise
            except (Exception, CancelledError, SystemExit, KeyboardInterrupt) as error:
                # Whatever a step raises is its outcome, but for what ends the worker.
                if self._is_shutdown(error):
                    raise
                self._obey(error)
                outcome = classify_error(error, failure_of(error), attempt, policy)
                if isinstance(outcome, Retrying):
                    self._between(asked, head, outcome.delay, error)
                    continue
                assert isinstance(outcome, Failed)  # noqa: S101 - the only other outcome of an error
                head["ms"] = monotonic_ms() - begun
                kept = self._record(asked.identity, "error", head, encode_error(error))
                self._announce("step_failed", step=call.name, error=error)
            else:
                head["ms"] = monotonic_ms() - begun
                kept = self._record(asked.identity, "value", head, data)
                self._announce("step_completed", step=call.name)
            return self._outcome(kept, call.definition.typed.result)

    def sleep(self, milliseconds: int) -> None:
        """Let the run rest: its deadline is stored once, and no worker is held meanwhile."""
        asked = self.ask("sleep", "sleep", b"%d" % milliseconds)
        if asked.entry is not None and asked.entry.is_resolved:
            return
        self._suspend([Awaited(asked.identity, "sleeping", milliseconds, rest_of(asked.head))])

    def add_undo(self, undo: Undo, arguments: bytes) -> None:
        """Put on record how something outside of a step is undone, before it is done."""
        asked = self.ask("add_undo", "undo", arguments)
        if asked.entry is not None:
            return
        self.may_act()
        head = {**asked.head, "f": undo.name}
        self.saga.intend(asked.identity, undo, arguments, takes_result=False, promise=rest_of(head))
        self.journal.keep(Entry(asked.identity, "value", 0, 0, head, b""))

    def compensate(self) -> None:
        """Undo all that is to be undone so far, the last effect first, and go on."""
        asked = self.ask("compensate", "compensate", b"")
        if asked.entry is None:
            self.compensate_for(asked)

    def compensate_for(self, asked: Asked) -> None:
        """Undo what is open, and record that this call has done it."""
        self.may_act()
        try:
            self.saga.unwind()
        except BaseException as signal:
            self._left = signal
            raise
        self._record(asked.identity, "value", asked.head, b"null")

    def publish(self, place: Place, data: bytes) -> EventId:
        """Publish an event, exactly once."""
        asked = self.ask("publish", "publish", f"{place.digest} {digest_of(data)}".encode())
        if asked.entry is not None:
            return EventId(from_json(asked.entry.payload))
        self.may_act()
        derived = EventId.adopt(f"{self.claim.ref.id}:{self.claim.generation}:{asked.identity}")
        self.holder.insist(lambda: self.topics.publish_at(place, data, event_id=derived))
        self._record(asked.identity, "value", asked.head, to_json(derived))
        return derived

    def continue_as_new(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> NoReturn:
        """End this generation: the run begins anew with other arguments, and forgets what it has recorded.

        Raises:
            WorkflowMisuse: something of it is under way, or could have to be undone; or it is called in a step.
            PayloadError: the arguments do not fit.
        """
        self.refuse_in_step("wf.continue_as_new()")
        assert self.definition is not None  # noqa: S101 - who runs its code knows its definition
        call = self.definition.bind(*args, **kwargs)
        still = ", ".join(entry.identity for entry in self.saga.open if not self._has_ended(entry.identity))
        if still:
            raise WorkflowMisuse(
                f"wf.continue_as_new() while {still} could have to be undone or is under way: a new generation would"
                " know nothing of it. Wait for its end, call wf.compensate(), or give it to a child run first"
            )
        self.check_end()
        self._leave(Anew(call.payload, call.summary))

    def _has_ended(self, identity: str) -> bool:
        """Return whether an intent belongs to a member that has ended: the server has struck it off, if it may."""
        entry = self.journal.get(identity)
        return entry is not None and entry.is_resolved and entry.head["k"] in MEMBER_KINDS

    def leave_topics(self) -> None:
        """Strike the run off wherever it waits still: it has ended."""
        for entry in self.journal.waiting:
            places = [Place.of_digest(digest) for digest in entry.head.get("p", {})]
            self.holder.insist(
                lambda places=places, entry=entry: self.topics.forget(places, f"{self.claim.ref.id} {entry.identity}")  # type: ignore[misc]  # bound now
            )

    def await_event(self, asked: Asked, timeout_ms: int | None) -> None:
        """Let the run rest until it is told of an event, or its time is up."""
        self._suspend([Awaited(asked.identity, "awaiting", timeout_ms, rest_of(asked.head))])

    def _intend(self, call: StepCall[Any], asked: Asked) -> None:
        """Put on record how the step is undone, before its effect can happen."""
        undo = call.definition.undone_by
        if undo is None or self.saga.knows(asked.identity):
            return
        self.may_act()
        names = call.definition.renamed
        given = from_json(call.whole().encode(self.max_payload))
        arguments = to_json({names.get(name, name): value for name, value in given.items()})
        self.saga.intend(asked.identity, undo, arguments, takes_result=True)

    def _performed(self, call: StepCall[Any], asked: Asked, attempt: int) -> Any:
        self._step = asked.identity
        try:
            return self._runner.run(call, context_of(call, self.holder, asked.identity, attempt))
        finally:
            self._step = ""

    def _obey(self, error: BaseException) -> None:
        """Unwind for good when a step was interrupted by a cancel, or asks for one itself."""
        if self.holder.cancelled:
            self.claim.cancel = self.claim.cancel or "cancelled by request"
            self._leave(Unwound("cancelled"))
        if isinstance(error, Cancel):
            self.claim.cancel = str(error) or "cancelled by a step"
            self._leave(Unwound("cancelled"))

    def _between(self, asked: Asked, head: Mapping[str, Any], delay: int, error: BaseException) -> None:
        """Wait for a step's next attempt: here, or without a worker."""
        if delay <= _IN_PLACE:
            self.holder.sleep(delay / 1000)
            return
        why = {**head, "e": f"{type(error).__name__}: {failure_of(error).message}"[:500]}
        self._suspend([Awaited(asked.identity, "retrying", delay, rest_of(why))])

    def _outcome(self, entry: Entry, codec: Codec) -> Any:
        if entry.status == "value":
            return codec.decode(entry.payload)
        raise rebuilt(entry.identity, entry.payload)
