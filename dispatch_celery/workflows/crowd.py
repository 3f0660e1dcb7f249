"""Several durable calls at once: gather, map, race, first_ok. Each is a promise of its own.

Members have a branch of their own below it, where their places are given out before anything runs. What decides (which
one failed first, which one won) is read from the order of outcomes that the server wrote, and recorded, so that a
replay decides alike. Steps among the members run here, one after the other, once the jobs and child runs are on
their way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from pydantic_core import from_json, to_json

from dispatch_celery.errors import OutcomeError, WorkflowMisuse
from dispatch_celery.jobs.definition import Call
from dispatch_celery.workflows.definition import RunCall
from dispatch_celery.workflows.engine import Engine
from dispatch_celery.workflows.journal import Branch, Entry
from dispatch_celery.workflows.members import MEMBER_KINDS, Outcome, outcome_of
from dispatch_celery.workflows.sending import AnyCall
from dispatch_celery.workflows.slice import Asked
from dispatch_celery.workflows.step_definition import StepCall

__all__ = ["Crowd"]

_WON: Final = frozenset({"race", "first_ok"})
"""Crowds of which one member is chosen: without members, none can be."""


class Crowd:
    """One gather, map or race of a run."""

    def __init__(self, engine: Engine, kind: str, calls: Sequence[Any]) -> None:
        self._engine = engine
        self._calls = [self._checked(kind, call) for call in calls]
        # Refused before it has a place: who catches that has made no call, and a replay finds none.
        if not calls and kind in _WON:
            raise WorkflowMisuse(f"wf.{kind} has no members: nobody can win")
        described = [engine.described(call) for call in self._calls]
        self._asked = engine.ask(kind, kind, b"%d" % len(calls))
        branch = Branch(f"{self._asked.identity}/", in_order=False)
        self._members = [engine.ask(*one, branch) for one in described]

    @staticmethod
    def _checked(kind: str, call: Any) -> AnyCall:
        if not isinstance(call, Call | RunCall | StepCall):
            raise WorkflowMisuse(f"wf.{kind} takes calls not made yet, as step.bind(...), not {call!r}")
        return call

    # -- the verbs

    def all(self, *, width: int | None = None, collect: bool = False) -> list[Outcome[Any]]:
        """Return how every member ended, in order; unless they are collected, raise the first failure."""
        decided = self._decided()
        if decided is None:
            first = self._finish(width or len(self._calls), fast=not collect)
            decided = self._decide(None if collect else first)
        if decided is not None and decided >= 0:
            raise self._outcome(decided).error or RuntimeError("a failure without an error")
        return [self._outcome(n) for n in range(len(self._calls))]

    def first(self, *, ok: bool) -> tuple[int, Any]:
        """Return place and value of the first that ended, or of the first that succeeded; call off the others.

        Raises:
            Exception: the winner's error; of a search for a success, that of the last one to fail.
        """
        decided = self._decided()
        if decided is None:
            self._send(len(self._calls), first_only=True)
            winner = self._winner(ok=ok)
            while winner is None:
                self._engine.wait([member.identity for member in self._open()])
                winner = self._winner(ok=ok)
            decided = self._decide(winner)
        assert decided is not None  # noqa: S101 - somebody has won
        return decided, self._outcome(decided).result()

    # -- within

    def _decided(self) -> int | None:
        """Return what is recorded: the place that decided, or -1 where nothing had to be decided."""
        entry = self._asked.entry
        return None if entry is None else int(from_json(entry.payload))

    def _decide(self, place: int | None) -> int:
        """Call off who is still under way, and record what decided."""
        for member in self._open():
            if member.entry is not None:
                self._engine.call_off(member.entry)
        kept = -1 if place is None else place
        self._engine.settle(self._asked, to_json(kept))
        return kept

    def _finish(self, width: int, *, fast: bool) -> int | None:
        """Run every member, ``width`` at a time; return the place of the first that failed, if that ends it."""
        sent = 0
        while True:
            under_way = len(self._open(sent))
            room = width - under_way
            if sent < len(self._calls) and (sent == 0 or room >= max(1, width // 2)):
                sent = min(sent + room, len(self._calls))
                self._send(sent, fast=fast)
            failed = self._first_failure() if fast else None
            if failed is not None:
                return failed
            still = self._open(sent)
            if not still and sent == len(self._calls):
                return None
            if still:
                enough = 0 if sent == len(self._calls) else max(width - max(1, width // 2), 0)
                if len(still) > enough:
                    self._engine.wait([member.identity for member in still], enough=enough, fast=fast)

    def _send(self, upto: int, *, fast: bool = False, first_only: bool = False) -> None:
        """Send what is for the fleet, then run the steps here."""
        chosen = range(upto)
        if first_only and any(member.entry is not None and member.entry.is_resolved for member in self._members):
            return
        self._engine.spawn(
            [
                (member, call)
                for member, call in zip(self._members[:upto], self._calls[:upto], strict=True)
                if not isinstance(call, StepCall) and member.entry is None
            ]
        )
        for n in chosen:
            call, member = self._calls[n], self._members[n]
            if isinstance(call, StepCall) and (member.entry is None or not member.entry.is_resolved):
                try:
                    self._engine.perform(member, call)
                except OutcomeError:
                    if fast:
                        return
                if first_only:
                    return

    def _open(self, upto: int | None = None) -> list[Asked]:
        return [
            member
            for member in self._members[:upto]
            if member.entry is not None and member.entry.head["k"] in MEMBER_KINDS and not member.entry.is_resolved
        ]

    def _first_failure(self) -> int | None:
        failed = [(entry.seq, n) for n, entry in self._ends() if entry.status == "error"]
        return min(failed)[1] if failed else None

    def _ends(self) -> list[tuple[int, Entry]]:
        found = [(n, member.entry) for n, member in enumerate(self._members)]
        return [(n, entry) for n, entry in found if entry is not None and entry.is_resolved]

    def _winner(self, *, ok: bool) -> int | None:
        ends = self._ends()
        good = [(entry.seq, n) for n, entry in ends if not ok or entry.status == "value"]
        if good:
            return min(good)[1]
        return max((entry.seq, n) for n, entry in ends)[1] if len(ends) == len(self._members) else None

    def _outcome(self, place: int) -> Outcome[Any]:
        member, call = self._members[place], self._calls[place]
        assert member.entry is not None  # noqa: S101 - what was decided by it is on record
        return outcome_of(member.entry, call.definition.typed.result)
