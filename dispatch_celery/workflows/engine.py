"""One run in the process that holds it: replays its journal, resolves what it can, and says what it waits for.

A durable call takes its identity in program order, is answered from the journal where an outcome is recorded, and is
carried out where none is. A call that must wait unwinds the function with ``Suspended``. Every write is the holder's:
under its token, one revision after the other, repeated until it is answered or refused.
"""

from __future__ import annotations

import time
from asyncio import CancelledError
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic_core import from_json, to_json

from dispatch_celery.clock import monotonic_ms
from dispatch_celery.codec import Codec
from dispatch_celery.errors import (
    Fenced,
    NonDeterminism,
    StoreUnavailable,
    Suspended,
    WorkflowMisuse,
)
from dispatch_celery.jobs.outcome import Cancel, Failed, Retrying, classify_error, failure_of
from dispatch_celery.jobs.ports import Seat
from dispatch_celery.retry import Retry
from dispatch_celery.store.client import unavailable_pause
from dispatch_celery.store.replies import text
from dispatch_celery.workflows.failure import encode_error, rebuilt
from dispatch_celery.workflows.journal import Branch, Entry, Journal, digest_of, rest_of
from dispatch_celery.workflows.steps import Runner, StepCall
from dispatch_celery.workflows.store import Awaited, RunClaim, RunStore

__all__ = ["Engine", "Unwound"]

_IN_PLACE: Final = 1_000
"""Milliseconds up to which a step waits for its next attempt in the worker; longer, and the run waits without one."""


class Unwound(BaseException):
    """Unwinds a run's function for good: it was cancelled, or its worker stops."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


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
        claim: RunClaim,
        *,
        store: RunStore,
        seat: Seat,
        runner: Runner,
        step_retry: Retry,
        sleep: Callable[[float], None] = time.sleep,
        announce: Callable[..., None] = lambda *_, **__: None,
    ) -> None:
        self.claim = claim
        self.journal = Journal(claim.entries)
        self.root = Branch()
        self._store = store
        self._seat = seat
        self._runner = runner
        self._step_retry = step_retry
        self._sleep = sleep
        self._announce = announce
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
            except (Exception, CancelledError) as error:  # noqa: BLE001 - whatever a step raises is its outcome
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
        verdict, details = self._insist(lambda: self._store.suspend(self.claim, self._awaited))
        if verdict == "READY":
            self.claim.revision += 1
            for name, data in zip(details[::2], details[1::2], strict=True):
                self.journal.keep(Entry.parse(text(name), data))
            return False
        if verdict == "CANCELLING":
            self.claim.cancel = text(details[0])
            raise Unwound("cancelled")
        if verdict == "FENCED":
            raise Fenced(f"{self.claim.ref.id} is not held under {self.claim.token} any more")
        return True

    # -- within

    def _performed(self, call: StepCall, asked: _Asked, attempt: int) -> Any:
        self._step = asked.identity
        try:
            return self._runner.run(call, self._context(asked, attempt, call))
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
        if self._seat.cancelled():
            self.claim.cancel = "cancelled by request"
            self._leave(Unwound("cancelled"))
        if not self._seat.trusted():
            self._leave(Unwound("released"))

    def _obey(self, error: BaseException) -> None:
        """Unwind for good when a step was interrupted by a cancel, or asks for one itself."""
        if self._seat.cancelled():
            self.claim.cancel = self.claim.cancel or "cancelled by request"
            self._leave(Unwound("cancelled"))
        if isinstance(error, Cancel):
            self.claim.cancel = str(error) or "cancelled by a step"
            self._leave(Unwound("cancelled"))

    def _leave(self, signal: BaseException) -> None:
        self._left = True
        raise signal

    def _context(self, asked: _Asked, attempt: int, call: StepCall) -> Mapping[str, Any]:
        return {
            "id": asked.identity,
            "run_id": self.claim.ref.id,
            "attempt": attempt,
            "token": int(self.claim.token.partition(".")[0]),
            "idempotency_key": f"{self.claim.ref.id}:{self.claim.generation}:{asked.identity}",
            "timeout_ms": call.definition.timeout_ms,
        }

    def _between(self, asked: _Asked, head: Mapping[str, Any], delay: int, error: BaseException) -> None:
        """Wait for a step's next attempt: here, or without a worker."""
        if delay <= _IN_PLACE:
            self._sleep(delay / 1000)
            return
        why = {**head, "e": f"{type(error).__name__}: {failure_of(error).message}"[:500]}
        self._suspend([Awaited(asked.identity, "retrying", delay, rest_of(why))])

    def _outcome(self, entry: Entry, codec: Codec) -> Any:
        if entry.status == "value":
            return codec.decode(entry.payload)
        raise rebuilt(entry.identity, entry.payload)

    def _record(self, identity: str, status: str, head: Mapping[str, Any], payload: bytes) -> Entry:
        reply = self._insist(lambda: self._store.record(self.claim, identity, status, rest_of(head, payload)))
        if reply[0] not in ("DONE", "REPEATED"):
            self._left = True
            raise Fenced(f"{self.claim.ref.id} is not held under {self.claim.token} any more")
        self.claim.revision += 1
        entry = Entry(identity, status, 0, 0, head, payload)
        self.journal.keep(entry)
        return entry

    def _suspend(self, awaited: list[Awaited]) -> None:
        """Unwind the function; what it waits for is registered when it has left (``rest``)."""
        self._may_act()
        self._awaited = awaited
        self._leave(Suspended())

    def _insist(self, send: Callable[[], Any]) -> Any:
        """Send a write until it is answered: what was done must not be done again because nobody wrote it down."""
        failures = 0
        while True:
            try:
                return send()
            except StoreUnavailable:
                failures += 1
                self._sleep(unavailable_pause(failures))
