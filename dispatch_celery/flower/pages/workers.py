"""Workers: who is registered, who leads, what each holds, and whose lease has run out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from dispatch_celery.cluster.model import Worker
from dispatch_celery.flower.desk import Desk
from dispatch_celery.flower.pages.model import Page, Query

__all__ = ["WORKERS", "WorkerList"]


@dataclass(frozen=True, kw_only=True)
class WorkerList:
    """Every worker, the leader first."""

    workers: Sequence[Worker]
    now: datetime
    command: str

    @property
    def leader(self) -> Worker | None:
        """Who keeps house."""
        return next((worker for worker in self.workers if worker.leads), None)

    def has_lease(self, worker: Worker) -> bool:
        """Return whether a worker may still hold what it holds."""
        return worker.lease_until is not None and worker.lease_until > self.now


def _list(desk: Desk, _: Query) -> WorkerList:
    workers = sorted(desk.dispatch.workers.list(), key=lambda worker: (not worker.leads, worker.name, worker.id))
    command = desk.command.removesuffix(" dispatch")
    return WorkerList(workers=workers, now=desk.now(), command=f"{command} worker")


WORKERS: Final = Page(key="workers", title="Workers", template="workers.html", read=_list, menu="workers")
