"""What a run is: its states, the moves between them, and its record.

``TRANSITIONS`` is the table; the Lua headers of ``lua/runs`` state theirs, and a test says that both agree.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from dispatch_celery.ids import RunId
from dispatch_celery.scope import Scope
from dispatch_celery.work.model import Failure, WorkRef

__all__ = ["ENDED", "STUCK", "TRANSITIONS", "PromiseRecord", "Run", "RunPhase", "RunRef", "RunState"]


class RunState(StrEnum):
    """Where a run is."""

    PENDING = "pending"
    """Ready: a worker may take it at any moment."""
    RUNNING = "running"
    """Held by a worker."""
    WAITING = "waiting"
    """Waits for something that has a name; no worker holds it."""
    PARKED = "parked"
    """Only a person can go on."""
    COMPLETED = "completed"
    """Ended with a result."""
    FAILED = "failed"
    """Ended with an error."""
    CANCELLED = "cancelled"
    """Ended because somebody asked for it, or because its time was up."""


STUCK: Final = "an undo was given up"
"""Why a run is parked whose undoing only a person can carry on."""


class RunPhase(StrEnum):
    """In which direction a run goes. It turns once, and never back."""

    FORWARD = "forward"
    UNDOING = "undoing"
    """It has failed, or is to end, and undoes what it has done."""


ENDED: Final = frozenset({RunState.COMPLETED, RunState.FAILED, RunState.CANCELLED})

TRANSITIONS: Final[Mapping[str, frozenset[str]]] = {
    "new": frozenset({"pending", "waiting"}),
    "pending": frozenset({"running", "parked", "cancelled"}),
    "running": frozenset({"waiting", "pending", "parked", "completed", "failed", "cancelled"}),
    "waiting": frozenset({"pending", "cancelled"}),
    "parked": frozenset({"pending", "cancelled"}),
    "completed": frozenset({"pending", "gone"}),
    "failed": frozenset({"pending", "gone"}),
    "cancelled": frozenset({"pending", "gone"}),
}
"""From each state to those that may follow. ``new`` is before the record, ``gone`` after its retention."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRef(WorkRef):
    """What never changes about a run."""

    id: RunId


@dataclass(frozen=True, slots=True, kw_only=True)
class PromiseRecord:
    """One line of a run's timeline: a durable call, and how it stands."""

    identity: str
    kind: str
    status: str
    """``value``, ``error`` or ``timeout``; while it is open ``sleeping``, ``awaiting`` or ``retrying``."""
    begun_at: datetime | None
    resolved_at: datetime | None
    due_at: datetime | None
    attempts: int
    worker: str
    value: Any = None
    failure: Failure | None = None
    total: int | None = None
    """Of a member of a map: how many members that has, where this call tells it."""


Promise = PromiseRecord
"""Its name before the awaitable of async workflows was called so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run's record as it was when it was read."""

    id: RunId
    name: str
    version: int
    queue: str
    priority: int
    state: RunState
    arguments: Mapping[str, Any]
    scope: Scope
    created_at: datetime
    started_at: datetime | None = None
    """When a worker first took it."""
    waiting_since: datetime | None = None
    finished_at: datetime | None = None
    crashes: int = 0
    worker: str = ""
    idempotency_key: str = ""
    cancel_requested: bool = False
    reason: str = ""
    detail: str = ""
    """Why it is parked, in full."""
    status: str = ""
    """What the workflow last said of itself."""
    failure: Failure | None = None
    result: Any = None
    token: int = 0
    phase: RunPhase = RunPhase.FORWARD
    generation: int = 0
    """How often it has begun anew, by ``wf.continue_as_new`` or ``dispatch.runs.rewind``."""
    parent: RunId | None = None
    """The run whose child it is."""
    forked_from: RunId | None = None
    """The run whose past it has taken over."""
    progress: Mapping[str, Any] | None = None
    """What the step that runs last said of itself: its identity (``step``), ``attempt``, ``done total message``.

    While a run waits in a map, how far that has come: its identity (``step``), ``done`` of ``total`` members."""

    @property
    def shown(self) -> str:
        """Its state as a person is told of it: ``compensating`` while it undoes and has not ended."""
        undoing = self.phase == RunPhase.UNDOING and self.state not in (*ENDED, RunState.PARKED)
        return "compensating" if undoing else str(self.state)
