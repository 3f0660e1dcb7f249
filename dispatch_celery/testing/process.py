"""One worker process, played in the test's own: claims and performs with the app's executors, and can die.

A process that dies does not come back: from the moment of its death on every trip it tries to make dies again, so
whatever its code still does on the way out (``except BaseException``, ``finally``) reaches nobody. What it held is
then taken back as a worker's main process does it.
"""

from __future__ import annotations

import os
from asyncio import CancelledError
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from dispatch_celery.clock import monotonic_ms
from dispatch_celery.cluster.store import ClusterStore
from dispatch_celery.errors import Fenced, NonDeterminism, NotInJob, NotInStep
from dispatch_celery.ids import WorkerId
from dispatch_celery.jobs.context import current_job
from dispatch_celery.jobs.model import JobRef
from dispatch_celery.parts import Parts
from dispatch_celery.store.scripts import Call
from dispatch_celery.testing.binding import WatchedStore
from dispatch_celery.testing.virtual import VirtualClock
from dispatch_celery.work.records import Stored
from dispatch_celery.worker.page import Page, PageSeat
from dispatch_celery.worker.steps import StepRunner
from dispatch_celery.workflows.model import RunState
from dispatch_celery.workflows.steps import InTurn, Team, current_step

__all__ = ["CrashPoint", "Process", "Tally"]

_READS: Final = frozenset(
    {"PING", "TIME", "HGET", "HMGET", "HGETALL", "ZCARD", "ZRANGE", "ZSCORE", "SMEMBERS", "HSCAN"}
)
_CLEARING: Final = "ZREM"
"""The clearing of a mark says that a message has been published. Here are none, so a death there is no other death."""
_RECORD: Final = ("runs", "record")
_FINISH: Final = ("runs", "finish")
_CHANGED: Final = "its code has changed"
"""Why a run is parked whose code does not ask for what is recorded."""
_FOREVER: Final = 1 << 50


@dataclass(frozen=True, slots=True)
class CrashPoint:
    """Where a process is to die: before or after the ``number``-th trip in which it writes, from 1."""

    number: int
    when: str


@dataclass(slots=True)
class Tally:
    """What has happened outside of the engine: effects by name, and executions of steps and jobs by name."""

    effects: Counter[str] = field(default_factory=Counter)
    executions: Counter[str] = field(default_factory=Counter)


class _Died(BaseException):
    """The played process is gone."""


class _SliceOver(BaseException):
    """The played process gives its run up, so that another one replays it."""


class _Seat(PageSeat):
    """A seat whose lease stands, unless the run in it is to be given up; counts what is executed in it."""

    def __init__(self, page: Page, tally: Tally) -> None:
        super().__init__(page)
        self._tally = tally
        self.gives_up = False

    def trusted(self) -> bool:
        """Whether the engine may go beyond what is recorded."""
        return not self.gives_up and super().trusted()

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Count the function about to be called."""
        self._tally.executions[_inside()] += 1
        with super().interruptible():
            yield


def _inside() -> str:
    """Return the name of the step or job that is about to run here."""
    try:
        return current_step().id.rpartition("/")[2].rpartition("#")[0]
    except NotInStep:
        pass
    try:
        return current_job().name
    except NotInJob:
        return "(unnamed)"


class _OneByOne(StepRunner):
    """Runs gathered steps in turn, so that a test's writes have one order."""

    def team(self) -> Team:
        """Return a team of one."""
        return InTurn(self.run)


class Process:
    """The one worker of a world."""

    def __init__(self, parts: Parts, clock: VirtualClock, tally: Tally, *, always_replay: bool = False) -> None:
        self._parts = parts
        self._store: WatchedStore = parts.store  # type: ignore[assignment]  # ``bound`` has put it there
        self.always_replay = always_replay
        self.crash_at: CrashPoint | None = None
        self.crashed = False
        self.trail: list[str] = []
        """What was written in each trip so far."""
        self._dead = False
        self._page = Page(1)
        self._seat = _Seat(self._page, tally)
        runtime, observer = parts.runtime, parts.observer
        # The app's own wiring; only its waits are of this world.
        self._jobs = runtime._executor(self._seat, parts.job_store, observer)  # noqa: SLF001 - as above
        self._runs = runtime._run_executor(self._seat, parts.store, observer)  # noqa: SLF001 - as above
        self._runs._runner = _OneByOne(self._seat, parts.handlers)  # noqa: SLF001 - as above
        self._runs._sleep = clock.sleep  # noqa: SLF001 - as above
        self._runs._clock = lambda _claim: lambda: clock.ms  # noqa: SLF001 - as above
        self._recovery = runtime._recovery(parts.store, observer)  # noqa: SLF001 - as above

    def register(self) -> None:
        """Join the world as its only worker."""
        worker = WorkerId.mint()
        cluster = ClusterStore(self._parts.store, self._parts.keys, self._parts.settings, self._parts.time)
        cluster.register(worker, {"pid": os.getpid(), "name": "testing-kit"}, {})
        self._page.set_lease(worker, monotonic_ms() + _FOREVER, draining=False)

    def knows(self, stored: Stored) -> bool:
        """Whether the app declares what this is, to be executed here."""
        ref = stored.ref
        if isinstance(ref, JobRef):
            return self._parts.registry.get(ref.name) is not None
        return self._parts.runtime.knows(ref)

    def execute(self, stored: Stored) -> tuple[bool, BaseException | None]:
        """Claim something that is ready and execute it; return whether it could be claimed, and its error.

        Raises:
            NonDeterminism: it is a workflow that did not do the same again, while everything is replayed.
        """
        self._store.watch = self._trip
        self._seat.gives_up = False
        try:
            outcome = self._performed(stored)
        except _Died:
            self._bury()
            return True, None
        except _SliceOver:
            self._give_up(stored)
            return True, None
        except Fenced as fenced:
            return True, fenced
        finally:
            self._store.watch, self._dead = None, False
        error: BaseException | None = getattr(outcome, "error", None)
        if error is not None and _is_the_tests(error):
            raise error
        if self.always_replay and not isinstance(stored.ref, JobRef):
            self._refuse_changes(stored)
        return outcome is not None, error

    def _performed(self, stored: Stored) -> object | None:
        if isinstance(stored.ref, JobRef):
            job = self._jobs.claim(stored.ref)
            return None if job is None else self._jobs.perform(job)
        run = self._runs.claim(stored.ref)
        return None if run is None else self._runs.perform(run)

    def _refuse_changes(self, stored: Stored) -> None:
        run = self._parts.runs.get(stored.ref.id)
        if run.state == RunState.PARKED and run.reason == _CHANGED:
            raise NonDeterminism(f"{run.id} ({run.name}) does not do the same again: {run.detail}")

    def _bury(self) -> None:
        """Take back what the dead process held, as its worker's main process does."""
        self._store.watch, self._dead = None, False
        self.crashed = True
        self._recovery.release_process(self._seat.holder, os.getpid(), why="the testing kit ended the process")

    def _give_up(self, stored: Stored) -> None:
        self._store.watch = None
        (held,) = self._parts.records.stored([stored.ref.id])
        if held is not None:
            self._runs.settle(held, crashed=False)

    def _trip(self, calls: Sequence[Call], send: Callable[[], list[Any]]) -> list[Any]:
        """Make a trip of the played process, unless it dies before it."""
        if self._dead:
            raise _Died
        if all(_only_reads(call) for call in calls):
            return send()
        scripts = {tuple(call.label.split("/")) for call in calls}
        if self._seat.gives_up and _FINISH in scripts:
            raise _SliceOver
        self.trail.append(_told(calls))
        self._maybe_die("before")
        replies = send()
        self._maybe_die("after")
        if self.always_replay and _RECORD in scripts:
            self._seat.gives_up = True
        return replies

    def _maybe_die(self, when: str) -> None:
        if self.crash_at == CrashPoint(len(self.trail), when):
            self._dead = True
            raise _Died


def _only_reads(call: Call) -> bool:
    if call.script is not None:
        return call.script.reads_only
    return call.words[0] in _READS or call.words[0] == _CLEARING


def _told(calls: Sequence[Call]) -> str:
    """Return what a trip writes, for people."""
    return " + ".join(dict.fromkeys(_shown(call) for call in calls if not _only_reads(call)))


def _shown(call: Call) -> str:
    arguments = () if call.script is None else call.script.arguments
    named = next((name for name in ("identity", "name") if name in arguments), None)
    return call.label if named is None else f"{call.label} {call.words[call.key_count + arguments.index(named)]!s}"


def _is_the_tests(error: BaseException) -> bool:
    """Whether an error is for the test, not for the engine: Ctrl-C, or what ``pytest.fail`` and its like raise."""
    return not isinstance(error, Exception | SystemExit | CancelledError)
