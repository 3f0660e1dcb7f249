"""Workers, leases and terms, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from dispatch_celery.ids import WorkerId

__all__ = ["Pulse", "Worker", "WorkerState"]


class WorkerState(StrEnum):
    """Where a worker is. One that is gone has no record."""

    ACTIVE = "active"
    """It claims jobs."""
    DRAINING = "draining"
    """It was told to stop: it claims nothing, and its jobs have their time to end."""
    LOST = "lost"
    """Its lease ran out; what it held is being recovered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """One incarnation of a worker, as it registered itself."""

    id: WorkerId
    name: str
    hostname: str
    pid: int
    pool: str
    concurrency: int
    queues: tuple[str, ...]
    release: str
    state: WorkerState
    registered_at: datetime
    seen_at: datetime | None
    lease_until: datetime | None
    holding: int
    leads: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulse:
    """What a renewal tells: the lease stands, who leads, when something will be due. Times in ms since 1970."""

    now: int
    leader: str
    term: str
    leader_until: int
    running: int
    due: Mapping[str, int | None]
    condemned: int
    lanes: int
    unknown: int
    permits: int = 0
    held: Mapping[str, str] = field(default_factory=dict)
