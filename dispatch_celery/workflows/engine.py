"""One run in the process that holds it: replays its journal, resolves what it can, and says what it waits for.

A durable call takes its identity in program order, is answered from the journal where an outcome is recorded, and is
carried out where none is. A call that must wait unwinds the function with ``Suspended``. Every write is the holder's:
under its token, one revision after the other, repeated until it is answered or refused.
"""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic_core import from_json, to_json

from dispatch_celery.clock import monotonic_ms
from dispatch_celery.codec import Codec
from dispatch_celery.errors import Fenced, NonDeterminism, Suspended, WorkflowMisuse
from dispatch_celery.jobs.outcome import Cancel, Failed, Retrying, classify_error, failure_of
from dispatch_celery.retry import Retry
from dispatch_celery.workflows.failure import encode_error, rebuilt
from dispatch_celery.workflows.holder import Holder, Unwound
from dispatch_celery.workflows.journal import Branch, Entry, Journal, digest_of, rest_of
from dispatch_celery.workflows.saga import Saga
from dispatch_celery.workflows.steps import Runner, StepCall, context_of
from dispatch_celery.workflows.store import Awaited
from dispatch_celery.workflows.undo import Undo

__all__ = ["Engine"]

_IN_PLACE: Final = 1_000
"""Milliseconds up to which a step waits for its next attempt in the worker; longer, and the run waits without one."""


@dataclass(slots=True)
class _Asked:
    """One durable call of the code, and what is recorded of it."""

    identity: str
    head: dict[str, Any]
    entry: Entry | None


class Engine:
    """One slice of a run: from its claim to its next rest."""

    def __init__(
        self,
        holder: Holder,
        *,
        runner: Runner,
        step_retry: Retry,
        announce: Callable[..., None] = lambda *_, **__: None,
        is_shutdown: Callable[[BaseException], bool] = lambda _: False,
    ) -> None:
        self.holder = holder
        self.claim = holder.claim
        self.journal = Journal(holder.claim.entries)
        self.saga = Saga(holder, runner, self.journal, is_shutdown=is_shutdown)
        self.root = Branch()
        self._runner = runner
        self._step_retry = step_retry
        self._announce = announce
        self._is_shutdown = is_shutdown
        self._left = False
        self._mismatch: NonDeterminism | None = None
        self._awaited: list[Awaited] = []
        self._step = ""

    # -- durable calls

    def step(self, call: StepCall) -> Any:
        """Run a step once and for all: return what it returned, or raise what it raised, now as on every replay.

        Raises:
            StepFailed: of the step's own error class as well.
            PayloadError: its arguments do not fit, or its result cannot be stored.
        """
        arguments = call.encode()
        asked = self._ask(call.name, "step", arguments)
        entry = asked.entry
        if entry is not None and entry.is_resolved:
            return self._outcome(entry, call.definition.typed.result)
        self._intend(call, asked, arguments)
        attempt = int(entry.head.get("a", 0)) if entry is not None else 0
        policy = call.definition.retry or self._step_retry
        while True:
            attempt += 1
            self._may_act()
            begun = monotonic_ms()
            head = {**asked.head, "a": attempt, "w": self.claim.holder}
            try:
                data = call.definition.typed.result.encode(self._performed(call, asked, attempt))
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

    def fact(self, kind: str, make: Callable[[], Any], *, name: str | None = None) -> Any:
        """Return a value that is made once and recorded: a time, a decision."""
        asked = self._ask(name or kind, kind, b"")
        if asked.entry is not None:
            return from_json(asked.entry.payload)
        self._may_act()
        return from_json(self._record(asked.identity, "value", asked.head, to_json(make())).payload)

    def derived(self, kind: str) -> str:
        """Return the identity of a call whose value follows from it, so that nothing needs to be recorded."""
        return self._ask(kind, kind, b"").identity

    def patched(self, change: str) -> bool:
        """Return whether this run takes the changed code: one that passed this place before the change does not."""
        name = f"patched-{change}"
        recorded = self.journal.at(self.root)
        if self.replaying and (recorded is None or recorded.identity != self.root.peek(name)):
            return False
        return bool(self.fact("patched", lambda: True, name=name))

    @property
    def replaying(self) -> bool:
        """Whether the code is still among what is recorded."""
        return self.journal.recorded_after(self.root)

    def sleep(self, milliseconds: int) -> None:
        """Let the run rest: its deadline is stored once, and no worker is held meanwhile."""
        asked = self._ask("sleep", "sleep", b"%d" % milliseconds)
        if asked.entry is not None and asked.entry.is_resolved:
            return
        self._suspend([Awaited(asked.identity, "sleeping", milliseconds, rest_of(asked.head))])

    def add_undo(self, undo: Undo, arguments: bytes) -> None:
        """Put on record how something outside of a step is undone, before it is done."""
        asked = self._ask("add_undo", "undo", arguments)
        if asked.entry is not None:
            return
        self._may_act()
        head = {**asked.head, "f": undo.name}
        self.saga.intend(asked.identity, undo, arguments, takes_result=False, promise=rest_of(head))
        self.journal.keep(Entry(asked.identity, "value", 0, 0, head, b""))

    def compensate(self) -> None:
        """Undo all that is to be undone so far, the last effect first, and go on."""
        asked = self._ask("compensate", "compensate", b"")
        if asked.entry is not None:
            return
        self._may_act()
        try:
            self.saga.unwind()
        except BaseException:
            self._left = True
            raise
        self._record(asked.identity, "value", asked.head, b"null")

    # -- the ends of a slice

    def check_end(self) -> None:
        """Look, when the function has returned or raised, whether it may.

        Raises:
            NonDeterminism: its journal holds something else, or more, than the code asked for.
            WorkflowMisuse: it has swallowed the suspension of its run.
        """
        if self._mismatch is not None:
            raise self._mismatch
        if self._left:
            raise WorkflowMisuse(
                "the workflow went on after it was suspended: an 'except:' or 'except BaseException:' in it swallows"
                " the control signal; catch Exception instead"
            )
        self.journal.check_end(self.root)

    def check_rest(self) -> None:
        """Look, when the function was suspended, whether it was for what it waits for.

        Raises:
            NonDeterminism: it had swallowed that its code has changed, and was stopped at its next call.
        """
        if self._mismatch is not None:
            raise self._mismatch

    def begin(self) -> None:
        """Be ready for the function to run from the top."""
        self.root, self._left, self._awaited = Branch(), False, []
        self.journal.begin()

    def rest(self) -> bool:
        """Register what the unwound function waits for; return False if some of it is there: it is to run again.

        Only now, for what unwinds on the way out (``finally``, ``with``) belongs to this claim.

        Raises:
            Unwound: the run was cancelled meanwhile.
            Fenced: somebody else decides about it by now.
        """
        there = self.holder.suspend(self._awaited)
        for entry in there or ():
            self.journal.keep(entry)
        return there is None

    # -- within

    def _intend(self, call: StepCall, asked: _Asked, arguments: bytes) -> None:
        """Put on record how the step is undone, before its effect can happen."""
        undo = call.definition.undone_by
        if undo is None or self.saga.knows(asked.identity):
            return
        self._may_act()
        names = call.definition.renamed
        if names:
            arguments = to_json({names.get(name, name): value for name, value in from_json(arguments).items()})
        self.saga.intend(asked.identity, undo, arguments, takes_result=True)

    def _performed(self, call: StepCall, asked: _Asked, attempt: int) -> Any:
        self._step = asked.identity
        try:
            return self._runner.run(call, context_of(call, self.claim, asked.identity, attempt))
        finally:
            self._step = ""

    def _ask(self, name: str, kind: str, arguments: bytes) -> _Asked:
        if self._step:
            raise WorkflowMisuse(
                f"a durable call ({kind} {name}) inside the step {self._step}: a step is recorded as a whole; make the"
                " call in the workflow's body"
            )
        if self._left:
            # Somebody caught what was to unwind him; what he does from here on must not become durable.
            raise Suspended
        digest = digest_of(arguments)
        try:
            identity, place, entry = self.journal.ask(self.root, name, kind, digest)
        except NonDeterminism as mismatch:
            # The workflow's own ``except Exception`` may catch it: nothing it does from here on must become durable.
            self._mismatch, self._left = mismatch, True
            raise
        return _Asked(identity, {"k": kind, "d": digest, "o": place}, entry)

    def _may_act(self) -> None:
        """Refuse to go beyond what is recorded when the run was cancelled or its worker may not act any more."""
        if self.claim.cancel:
            self._leave(Unwound("cancelled"))
        if self.holder.cancelled:
            self.claim.cancel = "cancelled by request"
            self._leave(Unwound("cancelled"))
        if not self.holder.trusted:
            self._leave(Unwound("released"))

    def _obey(self, error: BaseException) -> None:
        """Unwind for good when a step was interrupted by a cancel, or asks for one itself."""
        if self.holder.cancelled:
            self.claim.cancel = self.claim.cancel or "cancelled by request"
            self._leave(Unwound("cancelled"))
        if isinstance(error, Cancel):
            self.claim.cancel = str(error) or "cancelled by a step"
            self._leave(Unwound("cancelled"))

    def _leave(self, signal: BaseException) -> None:
        self._left = True
        raise signal

    def _between(self, asked: _Asked, head: Mapping[str, Any], delay: int, error: BaseException) -> None:
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

    def _record(self, identity: str, status: str, head: Mapping[str, Any], payload: bytes) -> Entry:
        try:
            entry = self.holder.record(identity, status, head, payload)
        except Fenced:
            self._left = True
            raise
        self.journal.keep(entry)
        return entry

    def _suspend(self, awaited: list[Awaited]) -> None:
        """Unwind the function; what it waits for is registered when it has left (``rest``)."""
        self._may_act()
        self._awaited = awaited
        self._leave(Suspended())
