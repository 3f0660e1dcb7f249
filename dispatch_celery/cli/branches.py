"""Puts a run's durable calls in the order people read: members below their group, undos by themselves. Pure.

A group (gather, map, race) is on record once it is decided; before that its row is made from its members. Where there
are many of them they are counted, and only the first that failed have rows of their own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from dispatch_celery.cli.phrases import count_of, group_of, is_undo, kind_of, share_of
from dispatch_celery.workflows.model import ENDED, PromiseRecord, RunState
from dispatch_celery.workflows.saga import OPEN

__all__ = ["Line", "arranged", "counted", "undos_heading"]

_MANY: Final = 20
_FAILURES: Final = 3
_ORDER: Final = ("value", "error", "timeout", "open")


@dataclass(frozen=True, slots=True)
class Line:
    """One call, and how it is called at its place; of a group, its members, and whether they are counted only."""

    promise: PromiseRecord
    label: str
    depth: int = 0
    members: tuple[PromiseRecord, ...] = ()
    is_counted: bool = False

    @property
    def share(self) -> str:
        """How many of all members have ended, of a map that is not over."""
        return share_of(self.members) if self.promise.resolved_at is None else ""

    @property
    def total(self) -> int:
        """How many members it has, or is known to have."""
        return next((member.total for member in self.members if member.total is not None), len(self.members))


def arranged(promises: Sequence[PromiseRecord]) -> tuple[list[Line], list[Line]]:
    """Return the lines of what a run has done and waits for, and those of what is or was to be undone."""
    calls = [promise for promise in promises if not is_undo(promise)]
    alone = {promise.identity: promise for promise in calls if not group_of(promise.identity)}
    groups: dict[str, list[PromiseRecord]] = {}
    for promise in calls:
        group = group_of(promise.identity)
        groups.setdefault(group or promise.identity, []).extend([promise] if group else [])
    lines: list[Line] = []
    for name, members in groups.items():
        lines += _group(alone.get(name) or _unrecorded(name), members)
    return lines, list(_undos(calls, promises))


def _undos(calls: Sequence[PromiseRecord], promises: Sequence[PromiseRecord]) -> Iterator[Line]:
    """Yield how things are undone. A job is cancelled with its run and not undone: its own row is enough."""
    jobs = {f"undo:{promise.identity}" for promise in calls if promise.kind == "job"}
    groups: dict[str, list[PromiseRecord]] = {}
    for promise in promises:
        if is_undo(promise) and promise.identity not in jobs:
            groups.setdefault(promise.identity.partition("/")[0], []).append(promise)
    for name, members in groups.items():
        told = members
        if len(members) > _MANY:
            yield Line(_unrecorded(name, "undo", ""), name, members=tuple(members), is_counted=True)
            told = [member for member in members if member.failure is not None][:_FAILURES]
        yield from (Line(member, member.identity) for member in told)


def _group(promise: PromiseRecord, members: Sequence[PromiseRecord]) -> Iterator[Line]:
    is_counted = len(members) > _MANY
    yield Line(promise, promise.identity, members=tuple(members), is_counted=is_counted)
    if is_counted:
        members = [member for member in members if member.status == "error"][:_FAILURES]
    for member in members:
        yield Line(member, member.identity.rpartition("/")[2], depth=1)


def _unrecorded(name: str, kind: str = "", status: str = "open") -> PromiseRecord:
    """Return the row of a group that has none of its own: it is not decided yet, or stands for several undos."""
    return PromiseRecord(
        identity=name,
        kind=kind or kind_of(name),
        status=status,
        begun_at=None,
        resolved_at=None,
        due_at=None,
        attempts=0,
        worker="",
    )


def counted(members: Sequence[PromiseRecord]) -> str:
    """Return how many members of a group there are in each status."""
    found = Counter(member.status for member in members)
    order = sorted(found, key=lambda status: (_ORDER.index(status) if status in _ORDER else len(_ORDER), status))
    noun = "undo" if is_undo(members[0]) else "call"
    return f"{count_of(len(members), noun)}: {', '.join(f'{found[status]:,} {status}' for status in order)}"


def undos_heading(state: RunState, lines: Sequence[Line]) -> str:
    """Return what stands above the undos of a run: what became of them, or is to."""
    undos = [promise for line in lines for promise in line.members or (line.promise,)]
    left = any(undo.status in OPEN for undo in undos)
    is_done, is_skipped = (any(undo.status == status for undo in undos) for status in ("undone", "skipped"))
    over = " or ".join(["undone"] * is_done + ["skipped"] * is_skipped)
    if not left:
        return over
    if state in ENDED and state != RunState.COMPLETED:
        return f"{over}, or left as it is" if over else "not undone"
    comes = "can still be undone" if state == RunState.COMPLETED else "to be undone"
    return f"{over}, or {comes}" if over else comes
