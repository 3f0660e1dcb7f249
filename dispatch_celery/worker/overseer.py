"""Watches what the worker's processes execute: time limits, cancels, deaths, and the end of a drain.

In prefork a child past its time is interrupted by a signal, and killed after ``cancel_grace``; its job is
settled only when the kernel says that the process is gone. In threads, greenlets and solo code cannot be
killed: the job is settled under its token, so that whatever the code still does is refused, and its slot stays busy.

A death is seen at once through a pidfd. A child that died before it was ever looked at leaves its slot to a
newcomer, so a newcomer is a reason to ask whether somebody unseen holds work. Both end in the same script, which
moves a job once.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from dispatch_celery.clock import monotonic_ms
from dispatch_celery.cluster.recovery import Recovery
from dispatch_celery.config import Settings
from dispatch_celery.errors import JobTimeout, StoreUnavailable
from dispatch_celery.work.records import Stored, WorkRecords
from dispatch_celery.worker.executor import Executor
from dispatch_celery.worker.page import Occupant, Page
from dispatch_celery.worker.runs import RunExecutor

__all__ = ["SOFT_SIGNAL", "Overseer"]

logger = logging.getLogger(__name__)

SOFT_SIGNAL: Final = signal.SIGUSR1
"""Celery's own signal of soft time limits: nobody else may use it in a pool child."""


@dataclass(slots=True)
class _Sentence:
    """Why an occupant is being ended, and since when."""

    why: str
    since: int
    killed: bool = False


@dataclass(slots=True)
class _Death:
    """A process that is gone, and how to settle what it executed."""

    pid: int
    why: str
    job_id: str = ""
    token: str = ""
    crashed: bool = True


class Overseer:
    """One worker's view of its own processes."""

    def __init__(
        self,
        *,
        page: Page,
        executor: Executor,
        runs: RunExecutor,
        records: WorkRecords,
        recovery: Recovery,
        settings: Settings,
        holder: Callable[[], str],
        children: bool,
    ) -> None:
        self._page = page
        self._executor = executor
        self._runs = runs
        self._records = records
        self._recovery = recovery
        self._settings = settings
        self._holder = holder
        self._children = children
        self._sentences: dict[str, _Sentence] = {}
        self._deaths: list[_Death] = []
        self._pidfds: dict[int, int] = {}
        self._newcomers = False
        self._drain_until: int | None = None
        self._cancel_asked: set[str] = set()
        self._released: set[str] = set()

    # -- what it is told

    def cancel(self, job_id: str, token: str) -> None:
        """Somebody asked to cancel what is held under a token."""
        for occupant in self._page.occupants():
            if occupant.job_id == job_id and occupant.token == token and token not in self._cancel_asked:
                self._cancel_asked.add(token)
                self._page.mark_cancelled(occupant.slot, token)
                self._sentence(occupant, "cancelled by request")

    def drain(self, deadline: int) -> None:
        """The worker stops: what still runs at this monotonic time is ended and released."""
        self._drain_until = deadline if self._drain_until is None else min(deadline, self._drain_until)

    # -- what it sees

    def look(self) -> int:
        """Look at every slot once; return the milliseconds until the next look is due."""
        now = monotonic_ms()
        busy = [occupant for occupant in self._page.occupants() if occupant.job_id]
        self._watch({occupant.pid for occupant in self._page.occupants()})
        alive = {occupant.token for occupant in busy}
        self._sentences = {token: sentence for token, sentence in self._sentences.items() if token in alive}
        self._cancel_asked &= alive
        for occupant in busy:
            if occupant.deadline and now >= occupant.deadline:
                self._sentence(occupant, "timeout")
            elif getattr(self._sentences.get(occupant.token), "why", "") == "timeout":
                # A step of a run ended in its grace; the run goes on under the same token.
                del self._sentences[occupant.token]
            if self._drain_until is not None and now >= self._drain_until:
                self._end(occupant, "drain")
            sentence = self._sentences.get(occupant.token)
            if sentence is not None and not sentence.killed and now >= sentence.since + self._settings.cancel_grace:
                self._end(occupant, sentence.why)
        self._seek_unseen()
        self._bury()
        if not busy:
            return 1_000
        return 50 if self._sentences or self._deaths or self._drain_until is not None else self._next_look(busy, now)

    @staticmethod
    def _next_look(busy: Iterable[Occupant], now: int) -> int:
        soonest = min((occupant.deadline - now for occupant in busy if occupant.deadline), default=250)
        return max(5, min(250, soonest))

    def is_executed(self, job_id: str, token: str) -> bool:
        """Whether some process of this worker executes a job under a token."""
        return any(occupant.job_id == job_id and occupant.token == token for occupant in self._page.occupants())

    def is_dead(self, holding: str) -> bool:
        """Whether the process named in a holding is a child of this worker that runs no more."""
        pid = int(holding.split(" ", maxsplit=1)[0])
        return self._children and pid != os.getpid() and not _lives(pid)

    @property
    def idle(self) -> bool:
        """Whether nothing is executed, and no death is left to settle."""
        return not self._deaths and not any(occupant.job_id for occupant in self._page.occupants())

    @property
    def forced(self) -> bool:
        """Whether jobs were released whose code still runs here: only the end of the process stops it."""
        return bool(self._released) and not self._deaths

    @property
    def descriptors(self) -> list[int]:
        """File descriptors that become readable when a child dies."""
        return list(self._pidfds.values())

    # -- how it ends things

    def _sentence(self, occupant: Occupant, why: str) -> None:
        """Ask nicely first: a signal to a child, nothing to a thread (its mark says it)."""
        if occupant.token in self._sentences:
            return
        self._sentences[occupant.token] = _Sentence(why, monotonic_ms())
        if self._children:
            with suppress(ProcessLookupError):
                os.kill(occupant.pid, SOFT_SIGNAL)

    def _end(self, occupant: Occupant, why: str) -> None:
        sentence = self._sentences.setdefault(occupant.token, _Sentence(why, 0))
        if sentence.killed:
            return
        sentence.killed = True
        logger.warning("ending %s in process %d: %s", occupant.job_id, occupant.pid, why)
        death = _Death(occupant.pid, why, occupant.job_id, occupant.token, crashed=False)
        if self._children:
            with suppress(ProcessLookupError):
                os.kill(occupant.pid, signal.SIGKILL)
        else:
            death.pid = 0
        self._deaths.append(death)

    def _watch(self, pids: set[int]) -> None:
        """Hold a pidfd for each child, and notice those that are gone."""
        if not self._children:
            return
        for pid in pids - set(self._pidfds) - {os.getpid()}:
            self._newcomers = True
            try:
                self._pidfds[pid] = os.pidfd_open(pid) if hasattr(os, "pidfd_open") else -pid
            except OSError:
                self._died(pid)
        for pid in [pid for pid in self._pidfds if not _lives(pid)]:
            descriptor = self._pidfds.pop(pid)
            if descriptor >= 0:
                os.close(descriptor)
            self._died(pid)

    def _died(self, pid: int) -> None:
        for occupant in self._page.occupants():
            if occupant.pid == pid:
                self._page.clear(occupant.slot)
        if not any(death.pid == pid for death in self._deaths):
            self._deaths.append(_Death(pid, f"process {pid} died"))

    def _seek_unseen(self) -> None:
        """Find the dead whose slot went to a newcomer between two looks: only what they hold still names them."""
        holder = self._holder()
        if not self._newcomers or not holder:
            return
        try:
            holding = self._recovery.processes(holder)
        except StoreUnavailable:
            return
        self._newcomers = False
        for pid in holding - {os.getpid()}:
            if not _lives(pid):
                self._died(pid)

    def _bury(self) -> None:
        """Settle the dead; what the server cannot take now is tried at the next look."""
        left: list[_Death] = []
        for death in self._deaths:
            if death.pid and _lives(death.pid):
                left.append(death)
                continue
            try:
                self._settle(death)
            except StoreUnavailable:
                left.append(death)
        self._deaths = left

    def _settle(self, death: _Death) -> None:
        holder = self._holder()
        if death.crashed:
            if holder:
                self._recovery.release_process(holder, death.pid, why=death.why)
            return
        (stored,) = self._records.stored([death.job_id])
        if stored is None or stored.token != death.token:
            return
        self._settle_ended(stored, death)
        if death.pid and holder:
            self._recovery.release_process(holder, death.pid, why=death.why)

    def _settle_ended(self, stored: Stored, death: _Death) -> None:
        if stored.ref.kind:
            self._runs.settle(stored, crashed=death.why == "timeout")
            if death.why == "drain" and not self._children:
                self._released.add(death.token)
        elif death.why == "timeout":
            self._executor.settle(stored, JobTimeout("the attempt ran longer than its timeout"))
        elif death.why == "drain":
            self._executor.settle(stored, None)
            if not self._children:
                self._released.add(death.token)
        else:
            self._executor.settle(stored, None, reason=death.why)


def _lives(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:  # noqa: PTH123 - called often, for every child
            return stat.read().rpartition(b") ")[2][:1] not in (b"Z", b"X")
    except ProcessLookupError:  # it was waited for between opening and reading
        return False
    except FileNotFoundError:
        if os.path.isdir("/proc/self"):  # noqa: PTH112 - as above
            return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
