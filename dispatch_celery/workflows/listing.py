"""Lists and counts of runs."""

from __future__ import annotations

from dispatch_celery.store.client import Store
from dispatch_celery.store.keys import Keys
from dispatch_celery.work.listing import WorkFilter, WorkListing
from dispatch_celery.workflows.model import Run, RunState
from dispatch_celery.workflows.records import RunRecords

__all__ = ["RunFilter", "RunListing"]


class RunFilter(WorkFilter[RunState, Run]):
    """Which runs to list; ``error`` is text looked for in the error, or in why a run is parked or was cancelled."""

    __slots__ = ()
    states = RunState
    kind = "run-"

    def told(self, record: Run) -> str:
        """Return what stopped a run."""
        parts = (super().told(record), record.reason, record.detail)
        return "\n".join(part for part in parts if part)


class RunListing(WorkListing[RunState, Run]):
    """Reads of many runs."""

    def __init__(self, store: Store, keys: Keys, records: RunRecords) -> None:
        super().__init__(store, keys, records.runs, RunState, "run-")
