"""One run in the process that holds it: replays its journal, resolves what it can, and says what it waits for.

A durable call takes its identity in program order, is answered from the journal where an outcome is recorded, and is
carried out where none is. A call that must wait unwinds the function with ``Suspended``. Every write is the holder's:
under its token, one revision after the other, repeated until it is answered or refused.
"""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Callable, Collection, Mapping
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

from pydantic_core import from_json, to_json

from dispatch_celery.clock import monotonic_ms
from dispatch_celery.codec import Codec
from dispatch_celery.errors import WorkflowMisuse
from dispatch_celery.events.model import Place
from dispatch_celery.ids import EventId
from dispatch_celery.jobs.outcome import Cancel, Failed, Retrying, classify_error, failure_of
from dispatch_celery.workflows.failure import encode_error, rebuilt
from dispatch_celery.workflows.held import Awaited
from dispatch_celery.workflows.holder import Anew, Unwound
from dispatch_celery.workflows.journal import Entry, digest_of, rest_of
from dispatch_celery.workflows.members import MEMBER_KINDS
from dispatch_celery.workflows.sending import Sending
from dispatch_celery.workflows.slice import Asked
from dispatch_celery.workflows.step_definition import StepCall
from dispatch_celery.workflows.steps import StepContext, Team, context_of
from dispatch_celery.workflows.topics import waiter_of
from dispatch_celery.workflows.undo import Undo

__all__ = ["Engine", "Trial", "is_short"]

_IN_PLACE: Final = 1_000
"""Milliseconds up to which a step waits for its next attempt in the worker; longer, and the run waits without one."""

_OUTCOMES: Final = (Exception, CancelledError, SystemExit, KeyboardInterrupt)
"""Whatever of these a step raises is its outcome, but for what ends the worker."""


@dataclass(slots=True)
class Trial:
    """A step on its way through its attempts."""

    asked: Asked
    call: StepCall[Any]
    attempt: int
    """The one under way; before it begins, those that were."""
    begun: int = 0
    around: Context = field(default_factory=copy_context)
    """The context variables of who asked for it."""


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
        if asked.entry is None or not asked.entry.is_resolved:
            rest = self.carry_out(self.trial(asked, call))
            if rest is not None:
                self._suspend([rest])
        return self._outcome(self.entry(asked), call.definition.typed.result)

    # -- one attempt after the other

    def trial(self, asked: Asked, call: StepCall[Any]) -> Trial:
        """Return a step that is to be run, behind the attempts that are on record."""
        entry = asked.entry
        return Trial(asked, call, int(entry.head.get("a", 0)) if entry is not None else 0)

    def carry_out(self, trial: Trial) -> Awaited | None:
        """Run a step here until its outcome is recorded; return its rest where its next attempt is far away."""
        while True:
            context = self.begin_attempt(trial)
            self._step = context.id
            try:
                value = trial.around.run(self._runner.run, trial.call, context)
            except _OUTCOMES as error:
                rest = self.conclude(trial, error=error)
            else:
                rest = self.conclude(trial, value)
            finally:
                self._step = ""
            if rest is None or not is_short(rest):
                return rest
            self.holder.sleep((rest.delay or 0) / 1000)

    def begin_attempt(self, trial: Trial, is_cancelled: Callable[[], bool] | None = None) -> StepContext:
        """Put the next attempt's intent on record, and return what the attempt may know of itself."""
        self._intend(trial.call, trial.asked)
        self.may_act()
        trial.attempt += 1
        trial.begun = monotonic_ms()
        return context_of(trial.call, self.holder, trial.asked.identity, trial.attempt, is_cancelled)

    def conclude(
        self, trial: Trial, value: Any = None, *, error: BaseException | None = None, is_over: bool = True
    ) -> Awaited | None:
        """Record what came of an attempt; return what it rests for where it is to be tried again.

        Of one whose code still runs (``is_over``), that it is tried again is recorded too: its process may be ended.

        Raises:
            Unwound: it was interrupted by a cancel, or asks for one.
            BaseException: it ended with what ends the worker, or its claim.
        """
        data = b""
        if error is None:
            try:
                data = trial.call.definition.typed.result.encode(value, limit=self.max_payload)
            except _OUTCOMES as misfit:  # a result that cannot be stored is the step's failure
                error = misfit
        head = {**trial.asked.head, "a": trial.attempt, "w": self.claim.holder}
        if error is not None:
            rest = self._failed(trial, head, error)
            if rest is not None and not is_over:
                self._record(rest.identity, rest.status, {**head, "e": _why(error)}, b"")
            return rest
        self._record(trial.asked.identity, "value", {**head, "ms": monotonic_ms() - trial.begun}, data)
        self._announce("step_completed", step=trial.call.name)
        return None

    def team(self) -> Team:
        """Return what runs several steps at the same time."""
        return self._runner.team()

    def ends_worker(self, error: BaseException | None) -> bool:
        """Whether an error ends this process, and is nobody's outcome."""
        return error is not None and self._is_shutdown(error)

    def resting(self, asked: Asked) -> Awaited | None:
        """Return what a step still rests for before its next attempt; None where that may begin."""
        entry = asked.entry
        if entry is None or entry.status != "retrying" or entry.at <= self._clock():
            return None
        return Awaited(asked.identity, "retrying", entry.at - self._clock(), rest_of(entry.head))

    # -- what is done at once

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
        self._undone(self.saga.unwind)
        self._record(asked.identity, "value", asked.head, b"null")

    def take_back(self, identities: Collection[str]) -> None:
        """Undo what some steps have done, the last effect first."""
        self._undone(lambda: self.saga.take_back(identities))

    def _undone(self, unwind: Callable[[], None]) -> None:
        self.may_act()
        try:
            unwind()
        except BaseException as signal:
            self._left = signal
            raise

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
            waiter = waiter_of(self.claim.ref.id, entry.identity, self.claim.generation)
            self.holder.insist(lambda places=places, waiter=waiter: self.topics.forget(places, waiter))  # type: ignore[misc]  # bound now

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

    def _failed(self, trial: Trial, head: Mapping[str, Any], error: BaseException) -> Awaited | None:
        """Record an attempt's error where no other attempt follows; else return what that rests for."""
        if not isinstance(error, _OUTCOMES) or self._is_shutdown(error):
            raise error
        self._obey(error)
        policy = trial.call.definition.retry or self._step_retry
        outcome = classify_error(error, failure_of(error), trial.attempt, policy)
        identity = trial.asked.identity
        if isinstance(outcome, Retrying):
            return Awaited(identity, "retrying", outcome.delay, rest_of({**head, "e": _why(error)}))
        assert isinstance(outcome, Failed)  # noqa: S101 - the only other outcome of an error
        self._record(identity, "error", {**head, "ms": monotonic_ms() - trial.begun}, encode_error(error))
        self._announce("step_failed", step=trial.call.name, error=error)
        return None

    def _obey(self, error: BaseException) -> None:
        """Unwind for good when a step was interrupted by a cancel, or asks for one itself."""
        if self.holder.cancelled:
            self.claim.cancel = self.claim.cancel or "cancelled by request"
            self._leave(Unwound("cancelled"))
        if isinstance(error, Cancel):
            self.claim.cancel = str(error) or "cancelled by a step"
            self._leave(Unwound("cancelled"))

    def _outcome(self, entry: Entry, codec: Codec) -> Any:
        if entry.status == "value":
            return codec.decode(entry.payload)
        raise rebuilt(entry.identity, entry.payload)


def is_short(rest: Awaited) -> bool:
    """Whether a step waits for its next attempt in the worker."""
    return (rest.delay or 0) <= _IN_PLACE


def _why(error: BaseException) -> str:
    return f"{type(error).__name__}: {failure_of(error).message}"[:500]
