"""Where the product is hung into Celery's worker: one worker step, one consumer step, two process signals.

Boot: the page is made before the pool forks, the lifeline starts when the pool has, and registers before the
consumer takes a message. Stop: SIGTERM makes the worker drain at once, and the pool is closed only when nothing of
ours runs any more; what runs past ``shutdown_grace`` is ended and released.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any, Final, Protocol

from billiard.process import current_process
from celery import Celery, bootsteps, signals
from celery.exceptions import SoftTimeLimitExceeded
from celery.worker.state import maybe_shutdown

from dispatch_celery.clock import monotonic_ms
from dispatch_celery.errors import DispatchError, JobTimeout, StoreUnavailable
from dispatch_celery.jobs.outcome import Cancel
from dispatch_celery.store.client import unavailable_pause
from dispatch_celery.worker.lifeline import Lifeline
from dispatch_celery.worker.overseer import SOFT_SIGNAL
from dispatch_celery.worker.page import Page, PageSeat

__all__ = ["AttemptTimeout", "WorkerHost", "exit_now", "install_steps"]

logger = logging.getLogger(__name__)

_THREAD_STOP: Final = 5.0


class AttemptTimeout(JobTimeout, SoftTimeLimitExceeded):  # type: ignore[misc]  # Celery ships no types
    """Raised in a handler whose time is over; also Celery's ``SoftTimeLimitExceeded``, which code may expect."""


class WorkerHost(Protocol):
    """What the steps ask of the app's composition."""

    def check(self) -> None:
        """Look at server and settings; raise on what is fatal, log the rest."""
        ...

    def sit(self, seat: PageSeat) -> None:
        """Take the seat of this process tree, before the pool forks."""
        ...

    def enter_worker(self, page: Page, worker: Any, *, children: bool) -> Lifeline:
        """Build what a worker's main process needs."""
        ...

    def leave_process(self) -> None:
        """Let extensions hear the last words of a pool process."""
        ...

    def declare(self) -> None:
        """Register the cron entries and limits that the app declares."""
        ...

    def leave_worker(self) -> None:
        """Tell extensions, and close what the process used."""
        ...

    @property
    def shutdown_grace(self) -> int:
        """Milliseconds running jobs have after SIGTERM."""
        ...


class LifelineStep(bootsteps.StartStopStep):  # type: ignore[misc]  # Celery ships no types
    """Registers the worker, keeps its lease, oversees its processes."""

    requires = ("celery.worker.components:Pool",)
    label = "Lifeline"
    find_host: Callable[[], WorkerHost]

    def __init__(self, parent: Any, **kwargs: Any) -> None:
        super().__init__(parent, **kwargs)
        self.lifeline: Lifeline | None = None
        self.threads: list[threading.Thread] = []

    def create(self, worker: Any) -> Any:
        """Make the shared page, before the pool forks."""
        children = _has_children(worker)
        self.page = Page(_slots(worker))
        self.seat = PageSeat(self.page)
        self.children = children
        self.host = type(self).find_host()
        self.host.sit(self.seat)
        if children:
            _seat_children(self.seat)
            signals.worker_process_shutdown.connect(self._leave_child, weak=False, dispatch_uid="dispatch-child-end")
        return self

    def start(self, worker: Any) -> None:
        """Register, then start the threads: the pool runs, and the consumer does not yet."""
        host = self.host
        self.lifeline = lifeline = host.enter_worker(self.page, worker, children=self.children)
        _when_server_answers(host.check)
        _when_server_answers(host.declare)
        _when_server_answers(lifeline.register)
        signals.worker_shutting_down.connect(self._drain, weak=False, dispatch_uid=f"dispatch-drain-{id(self)}")
        self.threads = [_thread(lifeline.run, "dispatch-lifeline"), _thread(lifeline.keeper_run, "dispatch-keeper")]

    def _drain(self, *, how: str = "", **_: Any) -> None:
        if self.lifeline is not None:
            self.lifeline.drain(self.host.shutdown_grace if how.lower().startswith("warm") else 0)

    def stop(self, _worker: Any) -> None:
        """Wait until nothing of ours runs; what runs too long, the lifeline ends and releases."""
        lifeline = self.lifeline
        if lifeline is None:
            return
        lifeline.drain(self.host.shutdown_grace)
        limit = monotonic_ms() + self.host.shutdown_grace + 10_000
        gate = threading.Event()
        while not lifeline.drained and monotonic_ms() < limit:
            gate.wait(0.02)
        self._end()

    def terminate(self, worker: Any) -> None:
        """Stop at once: what runs is ended and released."""
        if self.lifeline is not None:
            self.lifeline.drain(0)
            self.stop(worker)

    def _leave_child(self, **_: Any) -> None:
        self.host.leave_process()

    def _end(self) -> None:
        lifeline, self.lifeline = self.lifeline, None
        if lifeline is None:
            return
        lifeline.stop()
        for thread in self.threads:
            thread.join(_THREAD_STOP)
        try:
            lifeline.depart()
        except DispatchError as error:
            logger.warning("could not sign off, others will notice: %s", error)
        lifeline.close()
        self.host.leave_worker()


def install_steps(app: Celery, find_host: Callable[[], WorkerHost]) -> None:
    """Add the worker step to an app; nothing happens until a worker of it starts."""
    app.steps["worker"].add(type("LifelineStep", (LifelineStep,), {"find_host": staticmethod(find_host)}))


def _thread(target: Callable[[], None], name: str) -> threading.Thread:
    thread = threading.Thread(target=target, name=name, daemon=True)
    thread.start()
    return thread


def _when_server_answers(action: Callable[[], Any]) -> None:
    """Do something as soon as the state server answers, as Celery itself waits for its broker at start.

    Raises:
        WorkerShutdown, WorkerTerminate: the worker was told to stop meanwhile.
    """
    failures = 0
    while True:
        maybe_shutdown()
        try:
            action()
        except StoreUnavailable as error:
            failures += 1
            logger.warning("the worker waits for the state server: %s", error)
            threading.Event().wait(unavailable_pause(failures))
        else:
            return


def _has_children(worker: Any) -> bool:
    return "prefork" in str(getattr(worker.pool_cls, "__module__", ""))


def _slots(worker: Any) -> int:
    concurrency = int(worker.concurrency or 1)
    limit = worker.autoscale[0] if getattr(worker, "autoscale", None) else concurrency
    # One slot more than can run: a child that replaces a dead one may sit down before the dead one is cleared.
    return int(max(concurrency, limit)) + 8


def _seat_children(seat: PageSeat) -> None:
    """Give every pool child its slot and its signal handler when it is born."""

    def born(**_: Any) -> None:
        index = getattr(current_process(), "index", None)
        if index is None or not hasattr(current_process(), "_config"):
            return
        # Billiard sets its own handler after this signal, so ours waits for the first execution.
        seat.sit(int(index), at_first=lambda: _interruptible_child(seat))

    signals.worker_process_init.connect(born, weak=False, dispatch_uid="dispatch-child")


def _interruptible_child(seat: PageSeat) -> None:
    """Let the main process interrupt a handler; the signal means what the slot says when it arrives."""
    before = signal.getsignal(SOFT_SIGNAL)

    def interrupt(number: int, frame: Any) -> None:
        occupant = seat.current()
        if occupant is None or not occupant.job_id:
            # Celery's own soft time limit, of a plain task.
            if callable(before):
                before(number, frame)
            return
        if not seat.may_interrupt:
            return
        if seat.cancelled():
            raise Cancel("cancelled by request")
        if occupant.deadline and monotonic_ms() >= occupant.deadline:
            raise AttemptTimeout("the attempt ran longer than its timeout")

    signal.signal(SOFT_SIGNAL, interrupt)


def exit_now() -> None:
    """End this process at once: the jobs of its threads are released, and their code must not go on."""
    logger.warning("jobs that could not be stopped were released; leaving at once")
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(0)
