"""Recovers what nobody executes any more: jobs of dead workers, of dead pool processes, and forgotten holdings.

One rule for all: a job is moved only under the token it is held by. So a recovery that comes late, twice, or
beside another one changes nothing, and a worker that was only slow finds itself fenced.

Crashes and lost workers are counted apart: a job whose own process died may be the cause (``max_crashes``),
one that merely shared a lost worker hardly is (``max_lost_workers``). The first recovery is at once; a crash
after a crash waits 1, 2, 4, ... seconds, so that poison does not take the fleet down with it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Final

from dispatch_celery.cluster.store import ClusterStore
from dispatch_celery.config import Settings
from dispatch_celery.jobs.model import Failure, WakeUp
from dispatch_celery.jobs.outcome import attempt_line
from dispatch_celery.jobs.ports import Observer, Publisher
from dispatch_celery.jobs.records import JobRecords, Stored, encode_failure
from dispatch_celery.jobs.store import Answer, JobStore
from dispatch_celery.jobs.upkeep import publish_marked

__all__ = ["DeadWorkers", "Recovery"]

logger = logging.getLogger(__name__)


class Recovery:
    """Moves abandoned jobs on."""

    def __init__(
        self,
        *,
        jobs: JobStore,
        records: JobRecords,
        cluster: ClusterStore,
        publisher: Publisher,
        settings: Settings,
        observer: Observer,
    ) -> None:
        self._jobs = jobs
        self._records = records
        self._cluster = cluster
        self._publisher = publisher
        self._settings = settings
        self._observer = observer

    def recover(self, holder: str, ids: Iterable[str], *, counter: str, why: str) -> int:
        """Recover some of what ``holder`` holds; return how many were moved.

        ``counter`` is ``crashes``, ``lost_workers``, or empty where nothing is to be counted.
        """
        held = list(ids)
        woken: list[WakeUp] = []
        moved = 0
        for job_id, stored in zip(held, self._records.stored(held), strict=True):
            if stored is None or stored.holder != holder:
                self._jobs.unhold(job_id, holder, self._cluster.held(holder).get(job_id, ""))
                continue
            answer = self._move(stored, counter, why)
            if answer.verdict == "CANCELLING":
                answer = self._cancelled(stored, why)
            if answer.recorded:
                moved += 1
                self._observer("recovered", stored.ref, holder=holder, why=why)
                if answer.verdict == "DONE" and self._goes_on_at_once(stored, counter):
                    woken.append(
                        WakeUp(ref=stored.ref, wake=answer.detail, spec=stored.spec, attempt=stored.attempts + 1)
                    )
        publish_marked(self._jobs, self._publisher, woken)
        return moved

    def _goes_on_at_once(self, stored: Stored, counter: str) -> bool:
        return not stored.cancel and not self._is_poison(stored, counter) and self._pause(stored, counter) == 0

    def _is_poison(self, stored: Stored, counter: str) -> bool:
        limits = {"crashes": self._settings.max_crashes, "lost_workers": self._settings.max_lost_workers}
        return counter in limits and int(getattr(stored, counter)) + 1 >= limits[counter]

    @staticmethod
    def _pause(stored: Stored, counter: str) -> int:
        if counter != "crashes" or stored.crashes == 0:
            return 0
        return int(min(1_000 * 2 ** (stored.crashes - 1), 60_000))

    def _move(self, stored: Stored, counter: str, why: str) -> Answer:
        if stored.cancel:
            return self._cancelled(stored, why)
        line = _line(stored, counter, why)
        if self._is_poison(stored, counter):
            count = int(getattr(stored, counter)) + 1
            message = f"{why}: {count} {counter.replace('_', ' ')} in all, so the job is not tried again"
            failure = Failure(type="dispatch_celery.errors.WorkerCrashed", message=message)
            answer = self._jobs.fail(
                stored.ref,
                holder=stored.holder,
                token=stored.token,
                error=encode_failure(failure),
                reason="crashed" if counter == "crashes" else "lost with its workers",
                counter=counter,
                attempt=line,
            )
            if answer.verdict == "DONE":
                self._observer("failed", stored.ref, error=None, failure=failure)
                self._observer("dead_lettered", stored.ref, error=None, failure=failure)
            return answer
        pause = self._pause(stored, counter)
        if pause:
            return self._jobs.retry(
                stored.ref,
                holder=stored.holder,
                token=stored.token,
                delay=pause,
                counter=counter,
                attempt=line,
            )
        return self._jobs.release(stored.ref, holder=stored.holder, token=stored.token, counter=counter, attempt=line)

    def _cancelled(self, stored: Stored, why: str) -> Answer:
        answer = self._jobs.obey(
            stored.ref,
            holder=stored.holder,
            token=stored.token,
            reason="cancelled by request",
            attempt=_line(stored, "", why),
        )
        if answer.verdict == "DONE":
            self._observer("cancelled", stored.ref)
        return answer

    def release_process(self, holder: str, pid: int, *, why: str) -> int:
        """Recover what one dead process of a living worker held. Touches nothing of its siblings."""
        mine = [job_id for job_id, holding in self._cluster.held(holder).items() if holding.split()[0] == str(pid)]
        return self.recover(holder, mine, counter="crashes", why=why)

    def release_forgotten(self, holder: str, ids: Iterable[str]) -> int:
        """Release what is held by ``holder`` and executed by nobody: a claim whose reply never arrived."""
        return self.recover(holder, ids, counter="", why="claimed, but executed by nobody")


def _line(stored: Stored, counter: str, why: str) -> str:
    outcome = {"crashes": "crashed", "lost_workers": "worker lost"}.get(counter, "released")
    return attempt_line(stored.attempts + 1, outcome, "", why)


class DeadWorkers:
    """Ends incarnations whose lease has run out, and recovers what they held, in bounded batches."""

    name = "dead workers"

    _EVERY: Final = 1_000

    def __init__(self, cluster: ClusterStore, recovery: Recovery, term: Callable[[], str], observer: Observer) -> None:
        self._cluster = cluster
        self._recovery = recovery
        self._term = term
        self._observer = observer
        self._told: set[str] = set()

    def run_once(self) -> int:
        """Recover one batch of each condemned incarnation."""
        unfinished = False
        for holder in self._cluster.condemn(term=self._term()):
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
        return 0 if unfinished else self._EVERY
