"""Undoing what a run has done: intents noted before their effects, carried out in reverse, each until it succeeds.

An intent is on record before its effect can happen, so that a crash in between is undone as well; an undo must
therefore bear that nothing has happened, and is given None for a result that nobody knows. Undos run last effect
first, each under its own retry policy, and what is done is recorded, so that a crash goes on where it was. The first
one that is given up stops the rest: only a person can say whether the others may go before it.
"""

from __future__ import annotations

import inspect
from asyncio import CancelledError
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from pydantic_core import from_json, to_json

from dispatch_celery.errors import ConfigurationError, Fenced, Suspended
from dispatch_celery.jobs.options import StoredRetry
from dispatch_celery.jobs.outcome import Failed, Retrying, classify_error, failure_of
from dispatch_celery.workflows.holder import Holder, Paused, Stuck, Unwound
from dispatch_celery.workflows.journal import Entry, Journal
from dispatch_celery.workflows.members import MEMBER_KINDS, Fleet, called_off
from dispatch_celery.workflows.step_definition import StepCall, StepDefinition
from dispatch_celery.workflows.steps import Runner, context_of
from dispatch_celery.workflows.undo import Undo, find_undo

__all__ = ["OPEN", "Saga"]

OPEN: Final = frozenset({"open", "retrying", "stuck"})
"""An undo's states before it is ``undone`` or, by a person's word, ``skipped``."""

_IN_PLACE: Final = 1_000
_TOLD: Final = 20
"""How many open undos a parked run's detail names; its timeline has all."""
_LOOK_AGAIN: Final = 2_000
"""Milliseconds after which a run looks at its members again; the end of one wakes it earlier."""


class Saga:
    """The undos of one run, as its holder sees them."""

    def __init__(
        self,
        holder: Holder,
        runner: Runner,
        journal: Journal,
        fleet: Fleet,
        *,
        is_shutdown: Callable[[BaseException], bool],
    ) -> None:
        self._holder = holder
        self._runner = runner
        self._journal = journal
        self._fleet = fleet
        self._is_shutdown = is_shutdown
        self._intents = {entry.identity: entry for entry in holder.claim.undos}

    def knows(self, identity: str) -> bool:
        """Whether the undo of a durable call is on record, and still to be done."""
        return identity in self._intents and self._intents[identity].status in OPEN

    def intend(self, identity: str, undo: Undo, payload: bytes, *, takes_result: bool, promise: bytes = b"") -> None:
        """Put on record how a durable call is undone, before it has any effect.

        Raises:
            Fenced: somebody else decides about this run now.
        """
        head = {"k": "undo", "f": undo.name, "r": undo.retry, "s": int(takes_result)}
        if undo.timeout_ms is not None:
            head["t"] = undo.timeout_ms
        last = max((entry.seq for entry in self._intents.values()), default=0)
        self._intents[identity] = self._holder.intend(identity, head, payload, after=last, promise=promise)

    def adopt(self, identity: str, head: Mapping[str, Any]) -> None:
        """Take in a member that was sent to the fleet; its intent is on record with it."""
        last = max((entry.seq for entry in self._intents.values()), default=0)
        self._intents[identity] = Entry(identity, "open", last + 1, 0, head, b"")

    @property
    def open(self) -> list[Entry]:
        """What is to be undone, the last effect first."""
        return sorted((entry for entry in self._intents.values() if entry.status in OPEN), key=lambda entry: -entry.seq)

    def unwind(self) -> None:
        """Undo what is open, the last effect first.

        Raises:
            Paused: an undo is to be tried again later.
            Stuck: an undo was given up; its message lists what is open.
            Unwound: the worker stops.
            Fenced: somebody else decides about this run now.
        """
        self._call_off()
        for intent in self.open:
            if intent.head["k"] in MEMBER_KINDS:
                self._take_back(intent)
            else:
                self._undo(intent)

    def take_back(self, identities: Collection[str]) -> None:
        """Undo what some steps did, the last effect first, and go on forward.

        Raises:
            Paused, Stuck, Unwound, Fenced: as ``unwind``.
        """
        for intent in self.open:
            if intent.identity in identities:
                self._undo(intent)

    def _call_off(self) -> None:
        """Cancel the jobs and child runs under way, and wait until they have ended: then nothing is in flight."""
        members = [intent for intent in self.open if intent.head["k"] in MEMBER_KINDS]
        over = [self._asked_of(self._fleet.call_off, intent) for intent in members]
        if not all(over):
            raise Paused(_LOOK_AGAIN)

    def _take_back(self, intent: Entry) -> None:
        """Let a child that has completed undo what it did; one that has not is over already."""
        if not self._asked_of(self._fleet.take_back, intent):
            raise Paused(_LOOK_AGAIN)
        self._intents[intent.identity] = self._holder.undo(intent, "undone", intent.head)

    def _asked_of(self, verb: Callable[..., bool], intent: Entry) -> bool:
        member, reason = intent.head["m"], called_off(self._holder.claim.ref.id, self._holder.claim.ref.name)
        return self._holder.insist(lambda: verb(member, reason, by=self._holder.leave))

    def _undo(self, intent: Entry) -> None:
        call = self._call(intent)
        attempt = int(intent.head.get("a", 0)) if intent.status == "retrying" else 0
        policy = StoredRetry(intent.head["r"])
        while True:
            attempt += 1
            if not self._holder.trusted:
                raise Unwound("released")
            head = {**intent.head, "a": attempt, "w": self._holder.claim.holder}
            try:
                made = call()
                self._runner.run(made, context_of(made, self._holder, f"undo:{intent.identity}", attempt))
            except (Fenced, Suspended, Unwound):
                raise
            except (Exception, CancelledError, SystemExit, KeyboardInterrupt) as error:
                if self._is_shutdown(error):
                    raise
                if self._holder.cancelled and not self._holder.claim.undoing:
                    self._holder.claim.cancel = self._holder.claim.cancel or "cancelled by request"
                    raise Unwound("cancelled") from None
                self._tried(intent, head, error, policy, attempt)
                continue
            self._intents[intent.identity] = self._holder.undo(intent, "undone", head)
            return

    def _tried(
        self, intent: Entry, head: Mapping[str, Any], error: BaseException, policy: StoredRetry, attempt: int
    ) -> None:
        """Return to try again now; otherwise record what follows, and raise it."""
        failure = failure_of(error)
        outcome = classify_error(error, failure, attempt, policy)
        if isinstance(outcome, Retrying) and outcome.delay <= _IN_PLACE:
            self._holder.sleep(outcome.delay / 1000)
            return
        why = f"{failure.type}: {failure.message}"[:500]
        if isinstance(outcome, Retrying):
            self._holder.undo(intent, "retrying", {**head, "e": why})
            raise Paused(outcome.delay)
        assert isinstance(outcome, Failed)  # noqa: S101 - the only other outcome of an error
        self._holder.undo(intent, "stuck", {**head, "e": why})
        raise self._stuck(intent, why)

    def _stuck(self, intent: Entry, why: str) -> Stuck:
        still = ", ".join(f"{entry.identity} ({entry.head.get('f') or entry.head['m']})" for entry in self.open[:_TOLD])
        more = len(self.open) - _TOLD
        return Stuck(
            f"the undo {intent.head['f']} of {intent.identity} was given up: {why}; still to be undone: {still}"
            + (f" and {more:,} more" if more > 0 else "")
        )

    def _call(self, intent: Entry) -> Callable[[], StepCall[Any]]:
        """Return what makes the call of an undo; its arguments are read anew for each attempt."""
        fn = find_undo(intent.head["f"])
        if fn is None:
            raise self._stuck(intent, "this worker has imported no function of that name")
        timeout_ms = intent.head.get("t")
        try:
            definition: StepDefinition[..., Any, Any] = StepDefinition(
                fn, name="undo", timeout=None if timeout_ms is None else timeout_ms / 1000
            )
        except ConfigurationError as error:  # its parameters have changed since
            raise self._stuck(intent, str(error)) from None

        def made() -> StepCall[Any]:
            arguments = from_json(intent.payload)
            if intent.head["s"]:
                first = next(iter(inspect.signature(fn).parameters))
                arguments = {first: self._result(intent.identity), **arguments}
            return StepCall("undo", definition, definition.typed.arguments.decode(to_json(arguments)))

        return made

    def _result(self, identity: str) -> Any:
        """Return what a step returned, as JSON holds it; None where it failed, or nobody knows."""
        entry = self._journal.get(identity)
        return from_json(entry.payload) if entry is not None and entry.status == "value" else None
