"""How a run sends jobs and child runs to the fleet, waits for them, and calls them off."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from dispatch_celery.errors import Fenced
from dispatch_celery.ids import JobId, RunId
from dispatch_celery.work.model import Parent
from dispatch_celery.workflows.definition import RunCall
from dispatch_celery.workflows.held import Awaited
from dispatch_celery.workflows.holder import Unwound
from dispatch_celery.workflows.journal import Branch, Entry, rest_of
from dispatch_celery.workflows.members import FleetCall, SyncPromise, check_member, families
from dispatch_celery.workflows.slice import Asked, Slice
from dispatch_celery.workflows.step_definition import StepCall

__all__ = ["AnyCall", "Sending"]

AnyCall = FleetCall | StepCall[Any]


@lru_cache(maxsize=1_024)
def _told(name: str) -> str:
    """Return a name as part of an identity, in which some letters have a meaning."""
    return re.sub(r"[\s/#]", ".", name)


class Sending(Slice):
    """The calls of a run that others carry out."""

    def ask_call(self, call: AnyCall, branch: Branch | None = None) -> Asked:
        """Give a call its identity in a branch, and compare it with what is recorded there.

        Raises:
            NonDeterminism: something else is recorded.
            PayloadError, WorkflowMisuse: as ``described``.
        """
        return self.ask(*self.described(call), branch)

    def described(self, call: AnyCall) -> tuple[str, str, bytes]:
        """Return name, kind and arguments of a call; one that cannot be made is refused before it has a place.

        Raises:
            PayloadError: its arguments do not fit.
            WorkflowMisuse: its options contradict what a run guarantees.
        """
        if isinstance(call, StepCall):
            if call.definition.undone_by is not None:
                call.whole().encode(self.max_payload)  # its undo is given the defaults as well
            return call.name, "step", call.encode(self.max_payload)
        check_member(call)
        return _told(call.definition.name), "child" if isinstance(call, RunCall) else "job", call.payload

    def spawn(self, calls: Sequence[tuple[Asked, FleetCall]]) -> None:
        """Send jobs and child runs to the fleet, each in one step with the promise it is waited for by."""
        if not calls:
            return
        self.may_act()
        made, heads = [], {}
        for asked, call in calls:
            ref = self.claim.ref
            parent = Parent(id=RunId(ref.id), name=ref.name, lane=ref.lane, version=ref.version, at=asked.identity)
            seed, now = self._seed(asked), self._clock()
            member = self.holder.insist(
                lambda call=call, seed=seed, parent=parent, now=now: self._fleet.member(  # type: ignore[misc]  # bound now
                    call, seed=seed, parent=parent, now=now
                )
            )
            heads[asked.identity] = {**asked.head, "m": member.ref.id}
            made.append((asked.identity, rest_of(heads[asked.identity]), member))
        for family, members in families(made):
            riders = self._fleet.riders(members)
            try:
                self.holder.spawn(family, riders)
            except (Unwound, Fenced) as signal:
                self._left = signal
                raise
            for one in family.members:
                self.journal.keep(Entry(one.identity, "open", 0, 0, heads[one.identity], b""))
                if not family.detached:
                    self.saga.adopt(one.identity, heads[one.identity])
            self._fleet.published(members, rode=bool(riders))

    def promise(self, call: FleetCall) -> SyncPromise[Any]:
        """Send one job or child run, and do not wait for it yet."""
        asked = self.ask_call(call)
        if asked.entry is None:
            self.spawn([(asked, call)])
        assert asked.entry is not None  # noqa: S101 - it is on record now
        return SyncPromise(
            asked.identity, str(asked.entry.head["m"]), call.definition.typed.result, self._awaited_entry
        )

    def wait(self, identities: Sequence[str], *, enough: int | None = None, fast: bool = False) -> None:
        """Go on when no more than ``enough`` of these promises are open (None: when one is resolved); else rest.

        Where it is ``fast``, also when one of them has failed.
        """
        entries = [entry for identity in identities if (entry := self.journal.get(identity)) is not None]
        still = [entry for entry in entries if not entry.is_resolved]
        limit = max(len(entries) - 1, 0) if enough is None else enough
        if len(still) <= limit or (fast and any(entry.status == "error" for entry in entries)):
            return
        self._suspend(
            [Awaited(entry.identity, "open", None, rest_of(entry.head)) for entry in still], enough=limit, fast=fast
        )

    def call_off(self, entry: Entry) -> None:
        """Cancel a job or child run whose end does not matter any more; do not wait for it."""
        self.may_act()
        member, why = str(entry.head["m"]), f"{self.claim.ref.id} does not need it any more"
        try:
            self.holder.insist(lambda: self._fleet.call_off(member, why, by=self.holder.leave))
        except Fenced as fenced:
            self._left = fenced
            raise

    def cancel(self, identity: str) -> None:
        """Call off one promise, once."""
        self.cancel_for(self.ask("cancel", "cancel", identity.encode()), identity)

    def cancel_for(self, asked: Asked, identity: str) -> None:
        """Call off one promise, and record that this call has done it."""
        entry = self.journal.get(identity)
        if asked.entry is None:
            if entry is not None and not entry.is_resolved:
                self.call_off(entry)
            self.settle(asked, b"null")

    def member_id(self, asked: Asked, call: FleetCall) -> str:
        """Return the id that a job or child run of this call has, or will have."""
        if asked.entry is not None:
            return str(asked.entry.head["m"])
        kind = RunId if isinstance(call, RunCall) else JobId
        return kind.adopt(self._seed(asked))

    def _awaited_entry(self, identity: str) -> Entry:
        self.wait([identity], enough=0)
        entry = self.journal.get(identity)
        assert entry is not None  # noqa: S101 - who has its promise has asked for it
        return entry
