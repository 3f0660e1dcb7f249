"""The verbs of workers: list, get, leader."""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import Mapping
from dataclasses import dataclass

from dispatch_celery.cluster.model import Worker
from dispatch_celery.cluster.store import ClusterStore
from dispatch_celery.errors import WorkerNotFound
from dispatch_celery.ids import WorkerId
from dispatch_celery.jobs.model import JobState
from dispatch_celery.store.paging import Page

__all__ = ["Stats", "WorkerService"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """The whole at a glance. ``ready`` counts pending jobs by queue."""

    jobs: Mapping[JobState, int]
    ready: Mapping[str, int]
    dead_letters: int
    workers: tuple[Worker, ...]


class WorkerService:
    """Who works, and who leads."""

    def __init__(self, store: ClusterStore) -> None:
        self._store = store

    def list(self) -> Page[Worker]:
        """Return every registered worker, and the lost ones whose jobs are being recovered."""
        return Page(tuple(self._store.workers()))

    def get(self, id: WorkerId | str) -> Worker:  # noqa: A002 - the word of the whole API
        """Return one incarnation of a worker.

        Raises:
            WorkerNotFound: it has signed off, or was forgotten.
        """
        wanted = WorkerId.parse(id)
        found: builtins.list[Worker] = [worker for worker in self._store.workers() if worker.id == wanted]
        if not found:
            raise WorkerNotFound(
                f"there is no worker {id}: it has signed off, or was forgotten after its jobs were recovered"
            )
        return found[0]

    def leader(self) -> Worker | None:
        """Return the worker that leads; None while nobody does."""
        return next((worker for worker in self._store.workers() if worker.leads), None)

    # -- the same on an event loop, written by .ci/make_twins.py

    async def alist(self) -> Page[Worker]:
        """Do as ``list``, without holding the event loop."""
        return await asyncio.to_thread(self.list)

    async def aget(self, id: WorkerId | str) -> Worker:  # noqa: A002 - the word of the whole API
        """Do as ``get``, without holding the event loop."""
        return await asyncio.to_thread(self.get, id)

    async def aleader(self) -> Worker | None:
        """Do as ``leader``, without holding the event loop."""
        return await asyncio.to_thread(self.leader)
