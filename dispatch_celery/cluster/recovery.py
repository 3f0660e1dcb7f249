"""Recovers what nobody executes any more: work of dead workers, of dead pool processes, and forgotten holdings.

One rule for all: a job or run is moved only under the token it is held by. So a recovery that comes late, twice, or
beside another one changes nothing, and a worker that was only slow finds itself fenced. Where it goes is the business
of its kind (``jobs.keeping``, ``workflows.keeping``).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from dispatch_celery.cluster.store import ClusterStore
from dispatch_celery.work.model import WakeUp
from dispatch_celery.work.ports import Keeping, Observer, Publisher
from dispatch_celery.work.records import WorkRecords
from dispatch_celery.work.store import WorkStore
from dispatch_celery.work.upkeep import publish_marked

__all__ = ["DeadWorkers", "Recovery"]

logger = logging.getLogger(__name__)


class Recovery:
    """Moves abandoned work on."""

    def __init__(
        self,
        *,
        store: WorkStore,
        records: WorkRecords,
        cluster: ClusterStore,
        publisher: Publisher,
        kinds: Mapping[str, Keeping],
        observer: Observer,
    ) -> None:
        self._store = store
        self._records = records
        self._cluster = cluster
        self._publisher = publisher
        self._kinds = kinds
        self._observer = observer

    def recover(self, holder: str, ids: Iterable[str], *, counter: str, why: str) -> int:
        """Recover some of what ``holder`` holds; return how many were moved.

        ``counter`` is ``crashes``, ``lost_workers``, or empty where nothing is to be counted.
        """
        held = list(ids)
        woken: list[WakeUp] = []
        moved = 0
        for work_id, stored in zip(held, self._records.stored(held), strict=True):
            if stored is None or stored.holder != holder:
                self._store.unhold(work_id, holder, self._cluster.held(holder).get(work_id, ""))
                continue
            recovered = self._kinds[stored.ref.kind].recover(stored, counter=counter, why=why)
            moved += recovered.moved
            if recovered.moved and not recovered.ended:
                self._observer("recovered", stored.ref, holder=holder, why=why)
            if recovered.wakeup is not None:
                woken.append(recovered.wakeup)
        publish_marked(self._store, self._publisher, woken)
        return moved

    def processes(self, holder: str) -> set[int]:
        """Return the processes that hold something for a worker, by what the state server says."""
        return {int(holding.split(maxsplit=1)[0]) for holding in self._cluster.held(holder).values()}

    def release_process(self, holder: str, pid: int, *, why: str) -> int:
        """Recover what one dead process of a living worker held. Touches nothing of its siblings."""
        mine = [job_id for job_id, holding in self._cluster.held(holder).items() if holding.split()[0] == str(pid)]
        return self.recover(holder, mine, counter="crashes", why=why)

    def release_forgotten(self, holder: str, ids: Iterable[str]) -> int:
        """Release what is held by ``holder`` and executed by nobody: a claim whose reply never arrived."""
        return self.recover(holder, ids, counter="", why="claimed, but executed by nobody")


class DeadWorkers:
    """Ends incarnations whose lease has run out, and recovers what they held, in bounded batches."""

    name = "dead workers"

    _EVERY: Final = 1_000
    _IDLE: Final = 10_000
    """While nothing runs, nobody waits for a recovery; a pulse that tells of work calls this duty earlier."""

    def __init__(self, cluster: ClusterStore, recovery: Recovery, term: Callable[[], str], observer: Observer) -> None:
        self._cluster = cluster
        self._recovery = recovery
        self._term = term
        self._observer = observer
        self._told: set[str] = set()

    def run_once(self) -> int:
        """Recover one batch of each condemned incarnation."""
        unfinished = False
        running, condemned, left = self._cluster.condemn(term=self._term())
        for holder in condemned:
            held = self._cluster.held(holder)
            if holder not in self._told:
                logger.warning("worker %s is lost; recovering the %d jobs it held", holder, len(held))
            alone = len(held) == 1
            by_kind: dict[str, list[str]] = {"crashes": [], "lost_workers": []}
            main_pid = self._cluster.pid_of(holder)
            for job_id, holding in held.items():
                own = alone and holding.split()[0] == str(main_pid)
                by_kind["crashes" if own else "lost_workers"].append(job_id)
            for counter, ids in by_kind.items():
                self._recovery.recover(holder, ids, counter=counter, why=f"worker {holder} was lost")
            gone = self._cluster.forget(holder)
            unfinished = unfinished or not gone
            if holder not in self._told:
                self._told.add(holder)
                self._observer("worker_lost", None, worker=holder)
            if gone:
                self._told.discard(holder)
        if unfinished:
            return 0
        if not running:
            return self._IDLE
        # A lease that was cut ends before the next round would come: this one has used up the call for it.
        return self._EVERY if left is None else min(self._EVERY, left + 1)
