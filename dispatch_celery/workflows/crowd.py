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
from dispatch_celery.workflows.held import Awaited
from dispatch_celery.workflows.journal import Branch, Entry, rest_of
from dispatch_celery.workflows.members import MEMBER_KINDS, Outcome, outcome_of
from dispatch_celery.workflows.sending import AnyCall
from dispatch_celery.workflows.slice import Asked
from dispatch_celery.workflows.step_definition import StepCall
from dispatch_celery.workflows.steps import step_call
from dispatch_celery.workflows.underway import UnderWay
from dispatch_celery.workflows.waiting import Figure, Wait

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
        self._steps_here = {
            member.identity: n
            for n, (member, call) in enumerate(zip(self._members, self._calls, strict=True))
            if isinstance(call, StepCall)
        }
        if kind == "map":
            self._tell_total()
        self._sent = 0
        self._under_way: dict[int, Asked] = {}
        self._ended: dict[int, Entry] = {}
        self._firsts: dict[str, tuple[int, int]] = {}
        self._last = (-1, -1)
        self._is_new = True
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
            self._take_in()
            place = self._place()
            wait = self._send() if place is None else self._settle(place)
            if wait is not None:
                return wait
        return None

    def leave(self) -> None:
        """Begin nothing more: nobody waits for it any longer."""
        if self._engine.figure is not None and self._engine.figure.identity == self.asked.identity:
            self._engine.figure = None
        for identity in self._steps_here:
            self._steps.drop(identity)

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
        all_ended = len(self._ended) == len(self._members)
        if not self._seeks_one:
            failed = self._firsts.get("error") if self._fast else None
            return failed[1] if failed else _NOBODY if all_ended else None
        won = self._firsts.get("any" if self._kind == "race" else "value")
        return won[1] if won else self._last[1] if all_ended else None

    def _settle(self, place: int) -> Wait | None:
        """Let who has lost end, and record what decided; return that steps are to end before."""
        self.leave()
        losing = self._losing_steps(place)
        if self._steps.has(self._steps_here) or (losing and self._steps.is_busy):
            return Wait()
        self._engine.may_act()
        members = [member for member in self._members if _is_open(member)]
        if members and self._steps_here and not self._has_looked:
            # A job may have ended before the step did that seems to be the first.
            self._has_looked = self._is_new = True
            self._engine.look_again()
            return None
        for member in members:
            self._engine.call_off(self._engine.entry(member))
        if losing:
            self._engine.take_back(losing)
        self._engine.settle(self.asked, to_json(place))
        return None

    def _losing_steps(self, place: int) -> set[str]:
        """Return the steps that had not ended when it was decided, and can be undone."""
        if place == _NOBODY:
            return set()
        decider = self._ended[place].seq
        late = {
            identity for identity, n in self._steps_here.items() if n not in self._ended or self._ended[n].seq > decider
        }
        return {identity for identity in late if self._engine.saga.knows(identity)}

    # -- who is under way

    def _take_in(self) -> None:
        """Look who has ended."""
        looked, self._is_new = range(len(self._members)) if self._is_new else list(self._under_way), False
        for n in looked:
            entry = self._members[n].entry
            if entry is not None and entry.is_resolved and n not in self._ended:
                self._ended[n] = entry
                self._under_way.pop(n, None)
                end = (entry.seq, n)
                for what in ("any", "value" if entry.status == "value" else "error"):
                    self._firsts[what] = min(end, self._firsts.get(what, end))
                self._last = max(end, self._last)
        if self._kind == "map":
            self._engine.figure = Figure(self.asked.identity, len(self._ended), len(self._members))

    def _send(self) -> Wait | None:
        """Have as many begin as there is room for; return what is to be waited for, None where that is nothing."""
        few = 1 if len(self._steps_here) == len(self._calls) else max(1, self._width // 2)
        room = self._width - len(self._under_way)
        if self._sent < len(self._calls) and (self._sent == 0 or room >= few):
            self._begin(range(self._sent, min(self._sent + room, len(self._calls))))
        if self._steps.has(self._steps_here):
            return Wait()
        awaited = [
            *(Awaited(one.identity, "open", None, rest_of(self._engine.entry(one).head)) for one in self._open()),
            *(self._steps.resting[one.identity] for one in self._under_way.values() if self._rests(one)),
        ]
        enough = 0 if self._sent == len(self._calls) else max(self._width - few, 0)
        if self._seeks_one:
            enough = len(awaited) - 1
        if len(awaited) <= enough:
            return None
        return Wait(awaited, len(awaited) - enough, fast=self._fast and not self._seeks_one)

    def _begin(self, places: range) -> None:
        """Send what is for the fleet, then begin the steps here."""
        self._sent = places.stop
        left = {n: self._members[n] for n in places if n not in self._ended}
        self._under_way |= left
        calls = [(one, self._calls[n]) for n, one in left.items()]
        self._engine.spawn([(one, call) for one, call in calls if not isinstance(call, StepCall) and one.entry is None])
        for one, call in calls:
            if isinstance(call, StepCall):
                self._steps.add(one, call)

    def _open(self) -> list[Asked]:
        """Return the jobs and child runs that have been sent and have not ended."""
        return [one for one in self._under_way.values() if _is_open(one)]

    def _rests(self, step: Asked) -> bool:
        return step.identity in self._steps.resting

    def _tell_total(self) -> None:
        """Have the first promise that is recorded say how many there are: the map itself is recorded at its end."""
        for n, member in enumerate(self._members):
            if n == 0 or self._steps_here:
                member.head["of"] = len(self._members)

    def _outcome(self, place: int) -> Outcome[Any]:
        return outcome_of(self._engine.entry(self._members[place]), self._calls[place].definition.typed.result)


def _is_open(member: Asked) -> bool:
    """Whether a job or child run has been sent and has not ended."""
    entry = member.entry
    return entry is not None and entry.head["k"] in MEMBER_KINDS and not entry.is_resolved
