"""Several durable calls at once: gather, map, race, first_ok. Each is a promise of its own.

Members have a branch of their own below it, where their places are given out before anything runs. What decides (which
one failed first, which one won) is read from the order of outcomes that the server wrote, and recorded, so that a
replay decides alike. Jobs and child runs go to the fleet; steps run here, at the same time (``underway``). Who is still
under way when it is decided has lost: a job or child run is called off, a step finishes and is undone if it can be.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from pydantic_core import from_json, to_json

from dispatch_celery.errors import WorkflowMisuse
from dispatch_celery.jobs.definition import BoundJob, Call, JobDefinition
from dispatch_celery.workflows.definition import BoundWorkflow, RunCall, WorkflowDefinition
from dispatch_celery.workflows.engine import Engine
from dispatch_celery.workflows.journal import Branch, Entry, rest_of
from dispatch_celery.workflows.members import MEMBER_KINDS, Outcome, outcome_of
from dispatch_celery.workflows.sending import AnyCall
from dispatch_celery.workflows.slice import Asked, Wait
from dispatch_celery.workflows.step_definition import StepCall
from dispatch_celery.workflows.steps import step_call
from dispatch_celery.workflows.store import Awaited
from dispatch_celery.workflows.underway import UnderWay

__all__ = ["Crowd"]

_NOBODY: Final = -1
"""What is recorded where all have ended and nobody had to decide."""
_WON: Final = frozenset({"race", "first_ok"})
"""Crowds of which one member is chosen: without members, none can be."""


class Crowd:
    """One gather, map or race of a run."""

    def __init__(
        self,
        engine: Engine,
        kind: str,
        calls: Sequence[Any],
        steps: UnderWay | None = None,
        *,
        width: int | None = None,
        collect: bool = False,
    ) -> None:
        self._engine = engine
        self._kind = kind
        self._steps = UnderWay(engine) if steps is None else steps
        self._calls = [self._checked(kind, call) for call in calls]
        # Refused before it has a place: who catches that has made no call, and a replay finds none.
        if not calls and kind in _WON:
            raise WorkflowMisuse(f"wf.{kind} has no members: nobody can win")
        self._width = width or max(1, len(calls))
        self._fast = not collect
        described = [engine.described(call) for call in self._calls]
        self.asked = engine.ask(kind, kind, b"%d" % len(calls))
        branch = Branch(f"{self.asked.identity}/", in_order=False)
        self._members = [engine.ask(*one, branch) for one in described]
        self._sent = 0
        self._has_looked = False

    @classmethod
    def of_map(
        cls,
        engine: Engine,
        fn: Any,
        items: Iterable[Any],
        steps: UnderWay | None = None,
        *,
        max_parallel: int,
        on_error: str,
    ) -> Crowd:
        """Return the calls of one job, workflow, step or function, one for each item."""
        if isinstance(max_parallel, bool) or not isinstance(max_parallel, int) or max_parallel < 1:
            raise WorkflowMisuse(f"max_parallel must be an integer of at least 1, not {max_parallel!r}")
        if on_error not in ("fail", "collect"):
            raise WorkflowMisuse(f"on_error must be 'fail' or 'collect', not {on_error!r}")
        fleet = isinstance(fn, JobDefinition | BoundJob | WorkflowDefinition | BoundWorkflow)
        calls = [fn.bind(item) if fleet else step_call(fn, (item,), {}) for item in items]
        return cls(engine, "map", calls, steps, width=max_parallel, collect=on_error == "collect")

    @staticmethod
    def _checked(kind: str, call: Any) -> AnyCall:
        if not isinstance(call, Call | RunCall | StepCall):
            raise WorkflowMisuse(f"wf.{kind} takes calls not made yet, as step.bind(...), not {call!r}")
        return call

    # -- the verbs

    def decide(self) -> Crowd:
        """Go on until it is decided, or let the run rest."""
        with self._steps:
            while (wait := self.advance()) is not None:
                if not self._steps.turn():
                    self._engine.suspend([wait])
        return self

    def advance(self) -> Wait | None:
        """Do what can be done now; return what is to be waited for, None once it is decided."""
        while self.asked.entry is None:
            place = self._place()
            wait = self._send() if place is None else self._settle(place)
            if wait is not None:
                return wait
        return None

    def leave(self) -> None:
        """Begin nothing more: nobody waits for it any longer."""
        for member in self._members:
            self._steps.drop(member.identity)

    def all(self) -> list[Any]:
        """Return every member's value, in order; its ``Outcome`` where they are collected.

        Raises:
            Exception: the first failure, which decided.
        """
        decided = self._decided()
        if decided >= 0:
            raise self._outcome(decided).error or RuntimeError("a failure without an error")
        outcomes = [self._outcome(n) for n in range(len(self._calls))]
        return [outcome.result() for outcome in outcomes] if self._fast else outcomes

    def first(self) -> tuple[int, Any]:
        """Return place and value of the winner.

        Raises:
            Exception: the winner's error; of a search for a success, that of the last one to fail.
        """
        decided = self._decided()
        return decided, self._outcome(decided).result()

    # -- who decides

    @property
    def _seeks_one(self) -> bool:
        return self._kind in _WON

    def _decided(self) -> int:
        return int(from_json(self._engine.entry(self.asked).payload))

    def _place(self) -> int | None:
        """Return the place of who decides, ``_NOBODY`` where all have ended; None as long as it is open."""
        ends = self._ends()
        all_ended = len(ends) == len(self._members)
        if not self._seeks_one:
            failed = [(entry.seq, n) for n, entry in ends if self._fast and entry.status == "error"]
            return min(failed)[1] if failed else _NOBODY if all_ended else None
        good = [(entry.seq, n) for n, entry in ends if self._kind == "race" or entry.status == "value"]
        if good:
            return min(good)[1]
        return max((entry.seq, n) for n, entry in ends)[1] if all_ended else None

    def _settle(self, place: int) -> Wait | None:
        """Let who has lost end, and record what decided; return that steps are to end before."""
        self.leave()
        losing = self._losing_steps(place)
        if self._steps.has({member.identity for member in self._members}) or (losing and self._steps.is_busy):
            return Wait()
        self._engine.may_act()
        if self._open() and self._has_steps and not self._has_looked:
            # A job may have ended before the step did that seems to be the first.
            self._has_looked = True
            self._engine.look_again()
            return None
        for member in self._open():
            self._engine.call_off(self._engine.entry(member))
        if losing:
            self._engine.take_back(losing)
        self._engine.settle(self.asked, to_json(place))
        return None

    def _losing_steps(self, place: int) -> set[str]:
        """Return the steps that had not ended when it was decided, and can be undone."""
        if place == _NOBODY:
            return set()
        decider = self._engine.entry(self._members[place]).seq
        late = {
            member.identity
            for member, call in zip(self._members, self._calls, strict=True)
            if isinstance(call, StepCall)
            and (member.entry is None or not member.entry.is_resolved or member.entry.seq > decider)
        }
        return {identity for identity in late if self._engine.saga.knows(identity)}

    # -- who is under way

    @property
    def _has_steps(self) -> bool:
        return any(isinstance(call, StepCall) for call in self._calls)

    def _send(self) -> Wait | None:
        """Have as many begin as there is room for; return what is to be waited for, None where that is nothing."""
        few = 1 if all(isinstance(call, StepCall) for call in self._calls) else max(1, self._width // 2)
        room = self._width - len(self._unresolved(self._sent))
        if self._sent < len(self._calls) and (self._sent == 0 or room >= few):
            self._sent = min(self._sent + room, len(self._calls))
            self._begin(self._sent)
        if self._steps.has({member.identity for member in self._members}):
            return Wait()
        awaited = [
            *(Awaited(one.identity, "open", None, rest_of(self._engine.entry(one).head)) for one in self._open()),
            *(self._steps.resting[one.identity] for one in self._members if one.identity in self._steps.resting),
        ]
        enough = 0 if self._sent == len(self._calls) else max(self._width - few, 0)
        if self._seeks_one:
            enough = len(awaited) - 1
        if len(awaited) <= enough:
            return None
        return Wait(awaited, len(awaited) - enough, fast=self._fast and not self._seeks_one)

    def _begin(self, upto: int) -> None:
        """Send what is for the fleet, then begin the steps here."""
        members = list(zip(self._members[:upto], self._calls[:upto], strict=True))
        self._engine.spawn(
            [(one, call) for one, call in members if not isinstance(call, StepCall) and one.entry is None]
        )
        for one, call in members:
            if isinstance(call, StepCall) and not (one.entry is not None and one.entry.is_resolved):
                self._steps.add(one, call)

    def _open(self) -> list[Asked]:
        """Return the jobs and child runs that have been sent and have not ended."""
        return [
            member
            for member in self._members
            if member.entry is not None and member.entry.head["k"] in MEMBER_KINDS and not member.entry.is_resolved
        ]

    def _unresolved(self, upto: int) -> list[Asked]:
        return [one for one in self._members[:upto] if one.entry is None or not one.entry.is_resolved]

    def _ends(self) -> list[tuple[int, Entry]]:
        found = [(n, member.entry) for n, member in enumerate(self._members)]
        return [(n, entry) for n, entry in found if entry is not None and entry.is_resolved]

    def _outcome(self, place: int) -> Outcome[Any]:
        return outcome_of(self._engine.entry(self._members[place]), self._calls[place].definition.typed.result)
