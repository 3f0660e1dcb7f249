"""What a holder works with: the claim it was given, what it waits for, and whom it sends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dispatch_celery.work.model import WorkRef
from dispatch_celery.workflows.journal import Entry

__all__ = ["Awaited", "Family", "Member", "RunClaim"]


@dataclass(frozen=True, slots=True)
class Awaited:
    """One promise a run waits for: ``delay`` ms until it is due, None for never."""

    identity: str
    status: str
    delay: int | None
    rest: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One job or child run about to be written, and the promise by which its run waits for it."""

    identity: str
    rest: bytes
    ref: WorkRef
    spec: Mapping[str, Any]
    payload: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Members of one kind, name, lane and scope, with the same options."""

    members: Sequence[Member]
    due: int | None = None
    """When they become ready, in ms since 1970; None: at once."""
    expires: int | None = None
    timeout: int | None = None
    detached: bool = False

    @property
    def state(self) -> str:
        """In which state they begin."""
        later = "waiting" if self.members[0].ref.kind else "scheduled"
        return "pending" if self.due is None else later


@dataclass(slots=True, kw_only=True)
class RunClaim:
    """What a worker was given: the right to go on with this run, and all that is recorded of it."""

    ref: WorkRef
    holder: str
    token: str
    claimed_at: int
    payload: bytes
    spec: bytes
    revision: int
    generation: int
    crashes: int
    lost_workers: int
    cancel: str
    created_at: int
    undoing: str = ""
    """How it will have ended when its effects are undone: ``failed`` or ``cancelled``; empty while it goes forward."""
    consumed: frozenset[str] = frozenset()
    """The events that the run's earlier generations consumed."""
    undos: list[Entry] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
