"""Runs, their durable calls and what surrounds them, as the command line reads them: values, without a server."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from dispatch_celery.cli.phrases import RunSurroundings
from dispatch_celery.cluster.model import Worker, WorkerState
from dispatch_celery.ids import RunId, WorkerId
from dispatch_celery.scope import Scope
from dispatch_celery.workflows.model import PromiseRecord, Run, RunState

__all__ = ["ALONE", "AROUND", "CHARGED", "ID", "LIVE", "NOW", "WAITING", "WORKER", "ago", "call", "run", "waits_for"]

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
ID = RunId.mint()
WORKER = WorkerId.mint()


def ago(**length: float) -> datetime:
    """Return a moment before now."""
    return NOW - timedelta(**length)


def run(state: RunState, **fields: Any) -> Run:
    """Return a run in a state."""
    common: dict[str, Any] = {
        "queue": "q",
        "priority": 0,
        "arguments": {},
        "scope": Scope(),
        "created_at": ago(hours=1),
        "version": 2,
    }
    return Run(id=ID, name="checkout", state=state, **{**common, **fields})


def call(identity: str, kind: str = "step", status: str = "value", **fields: Any) -> PromiseRecord:
    """Return a durable call."""
    common: dict[str, Any] = {"begun_at": None, "resolved_at": None, "due_at": None, "attempts": 0, "worker": ""}
    return PromiseRecord(identity=identity, kind=kind, status=status, **{**common, **fields})


CHARGED = call("charge#1", resolved_at=ago(seconds=50))
LIVE = Worker(
    id=WORKER,
    name="w1@host",
    hostname="host",
    pid=10,
    pool="prefork",
    concurrency=2,
    queues=("q",),
    release="0.1.0",
    state=WorkerState.ACTIVE,
    registered_at=ago(hours=2),
    seen_at=ago(seconds=1),
    lease_until=NOW + timedelta(seconds=7),
    holding=0,
    leads=True,
)
AROUND = RunSurroundings(
    now=NOW, workers=(LIVE,), known_at=ago(seconds=30), published_at=ago(seconds=5), promises=(CHARGED,)
)
ALONE = replace(AROUND, workers=())
WAITING = run(RunState.WAITING, waiting_since=ago(minutes=3))


def waits_for(*awaited: PromiseRecord, around: RunSurroundings = AROUND) -> RunSurroundings:
    """Return surroundings in which a run has charged, and these calls follow."""
    return replace(around, promises=(CHARGED, *awaited))
