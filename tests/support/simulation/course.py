"""The course of events: jobs are produced, workers and leader take turns, until everything has come to rest."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from dispatch_celery.cluster.recovery import DeadWorkers
from dispatch_celery.errors import StoreUnavailable
from dispatch_celery.events.service import Deliveries
from dispatch_celery.work.upkeep import House, Marks, Revival, Timers, WakeUps
from tests.support.invariants import check_quiet, dump
from tests.support.run_invariants import check_runs_quiet
from tests.support.simulation.actors import SimWorker
from tests.support.simulation.clients import asked
from tests.support.simulation.ground import Ground
from tests.support.simulation.plan import ProcessDied


class Course(Ground):
    """A world that goes on."""

    def run(self) -> None:
        """Produce, then run until everything has come to rest."""
        for job in self.new_jobs:
            self._produce(job.ref.id, partial(self.writer.write, [job]))
        for run in self.new_runs:
            self._produce(run.ref.id, partial(self.flow_service.write, run))
        self.run_to_rest(limit=600)

    def _produce(self, work_id: str, write: Callable[[], object]) -> None:
        """Enqueue, again with the same id when the producer died or got no answer: what an honest caller does."""
        self.actor = None
        for _ in range(5):
            try:
                write()
            except (ProcessDied, StoreUnavailable):
                continue
            self.acknowledged.add(work_id)
            return

    def run_to_rest(self, limit: int) -> None:
        """Let workers and leader take turns; when nobody has anything to do, let time pass."""
        for _ in range(limit):
            if self._everybody_once():
                continue
            if self.broken or self._all_ended():
                return
            self.sleep(1.5)

    def _everybody_once(self) -> bool:
        busy = False
        for worker in [worker for worker in self.workers if not worker.asleep]:
            self.actor = worker
            try:
                busy = worker.step() or busy
            except ProcessDied:
                self._bury(worker)
            except StoreUnavailable:
                busy = True
        self.actor = None
        try:
            self._lead()
        except (ProcessDied, StoreUnavailable):
            busy = True
        for client in self.clients:
            busy = asked(client) or busy
        return busy

    def _bury(self, worker: SimWorker) -> None:
        """A process died: the child, whose main sees it at once, or the whole worker, whose lease must run out."""
        whole, self.whole_worker = self.whole_worker, False
        if whole:
            self.workers.remove(worker)
            self.workers.append(SimWorker(self, next(self.pids)))
        else:
            dead, worker.pid = worker.pid, next(self.pids)
            worker.seat.vacate()
            for _ in range(3):
                try:
                    self.recovery.release_process(worker.holder, dead, why="the process died")
                except (ProcessDied, StoreUnavailable):
                    continue
                break

    def _lead(self) -> None:
        now = self.time.now or 0
        house = House(
            store=self.jobs,
            records=self.records,
            keys=self.keys,
            publisher=self.broker,
            kinds=self.keeping,
            term=str,
        )
        Timers(house).run_once()
        Marks(house).run_once()
        WakeUps(house, lambda: now).run_once()
        Revival(house).run_once()
        Deliveries(self.events).run_once()
        DeadWorkers(self.cluster, self.recovery, str, lambda *_, **__: None).run_once()

    def _all_ended(self) -> bool:
        found = dump(self.real, self.keys.tag)
        over = not check_quiet(found) and not check_runs_quiet(found)
        return over and not any(client.wants for client in self.clients)
