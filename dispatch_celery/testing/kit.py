"""The kit a test works with: executes, moves the clock, explores crashes, asserts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from types import TracebackType
from typing import Any, Final, ParamSpec, Self, TypeVar

from dispatch_celery.app import Dispatch
from dispatch_celery.clock import Duration, to_ms
from dispatch_celery.errors import ConfigurationError
from dispatch_celery.events.model import EventRecord
from dispatch_celery.ids import JobId, RunId
from dispatch_celery.jobs.handle import JobHandle
from dispatch_celery.jobs.model import Job
from dispatch_celery.store.embedded import EmbeddedServer
from dispatch_celery.testing.crashes import Bindable, Explorer
from dispatch_celery.testing.expecting import ANYTHING, check_event, check_job, check_run
from dispatch_celery.testing.process import Tally
from dispatch_celery.testing.report import CrashReport
from dispatch_celery.testing.virtual import VirtualClock
from dispatch_celery.testing.world import Executed, World
from dispatch_celery.workflows.handle import RunHandle
from dispatch_celery.workflows.model import Run

__all__ = ["Kit", "crash_everywhere"]

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[[], object])

_LIMIT: Final = 1_000
_SECOND: Final = 1.0


class Kit:
    """One app for one test, in a namespace of its own on a server for tests, executed by the test itself.

    A context manager; the pytest fixture ``dispatch_kit`` is one that is open. Not safe for threads.
    """

    def __init__(
        self,
        dispatch: Dispatch,
        url: str,
        *,
        start: datetime | None = None,
        always_replay: bool = False,
        limit: int = _LIMIT,
    ) -> None:
        """Make a kit; nothing happens before it is entered.

        ``start`` is where its clock begins, by default now. ``limit`` is how often one verb may execute.
        """
        self.dispatch = dispatch
        self._url = url
        self._tally = Tally()
        self._limit = limit
        self._always_replay = always_replay
        self._before_each: list[Callable[[], object]] = []
        self._world = self._make_world(self._tally, VirtualClock(start))

    def _make_world(self, tally: Tally, clock: VirtualClock) -> World:
        return World(self.dispatch, self._url, clock, tally, always_replay=self._always_replay, limit=self._limit)

    def __enter__(self) -> Self:
        self._world.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._world.__exit__(kind, error, trace)

    # -- executing

    def drain(self) -> list[Executed]:
        """Execute, here and now, every job and run that is ready, and what that makes ready, until nothing is.

        Time stands still: what waits for its time goes on waiting. What this app does not declare stays untouched.

        Raises:
            NotAtRest: there was no end to it within the kit's ``limit``.
        """
        return self._world.drain()

    def advance(self, duration: Duration) -> list[Executed]:
        """Let seconds or a timedelta pass; what becomes due on the way is executed at its own time."""
        milliseconds = to_ms(duration)
        if milliseconds < 0:
            raise ValueError(f"the clock only goes forward, not by {duration!r}")
        return self._world.advance(milliseconds)

    def jump(self) -> list[Executed]:
        """Execute what is ready, go to the next due time, and execute what is ready then."""
        return self._world.jump()

    def run_until(self, handle: JobHandle[Any] | RunHandle[Any] | str) -> list[Executed]:
        """Execute and jump until a job or run has ended, or waits for a person.

        Raises:
            NotAtRest: it waits for something that no clock brings, or there was no end to it.
        """
        return self._world.run_until(_id_of(handle))

    def result(self, handle: JobHandle[R] | RunHandle[R]) -> R:
        """Run until a job or run has ended, and return its result or raise what ``handle.result()`` raises."""
        self.run_until(handle)
        return handle.result(timeout=_SECOND)

    @property
    def now(self) -> datetime:
        """The virtual time, in UTC."""
        return self._world.clock.now

    @contextmanager
    def always_replay(self) -> Iterator[Self]:
        """Have every run give itself up after each recorded durable call, for a block: its code is replayed each time.

        A workflow that does not do the same again is found at once: the verb that executes it raises
        ``NonDeterminism`` with both sequences, and the run is parked.
        """
        before, self._always_replay = self._always_replay, True
        self._world.process.always_replay = True
        try:
            yield self
        finally:
            self._always_replay = self._world.process.always_replay = before

    # -- effects and crashes

    def effect(self, name: str) -> int:
        """Count something that happens outside of the engine; return how often it has happened in this world."""
        self._tally.effects[name] += 1
        return self._tally.effects[name]

    @property
    def effects(self) -> Counter[str]:
        """How often each ``effect`` has happened."""
        return Counter(self._tally.effects)

    @property
    def executions(self) -> Counter[str]:
        """How often each step and job has been called, by its name."""
        return Counter(self._tally.executions)

    def before_each_crash(self, reset: F) -> F:
        """Call a function before each world of ``crash_everywhere``: it makes the test's own stand-ins new."""
        self._before_each.append(reset)
        return reset

    def crash_everywhere(self, target: Bindable[P], *args: P.args, **kwargs: P.kwargs) -> CrashReport:
        """Run a workflow or job once for every place at which its process can die, and report how each ended.

        Each time in a new world that begins now, under one id; nothing of it stays in this kit.
        """
        explorer = Explorer(target.bind(*args, **kwargs), self._crash_world)
        tally = self._tally
        try:
            return explorer.explore()
        finally:
            self._tally = tally

    def _crash_world(self, tally: Tally) -> World:
        self._tally = tally
        for reset in self._before_each:
            reset()
        return self._make_world(tally, VirtualClock(self.now))

    # -- looking

    def jobs_enqueued(self, name: Any = None) -> list[Job]:
        """Return the jobs of this test, ended ones too, in the order they were enqueued; of one name or definition."""
        return _all_pages(lambda cursor: self.dispatch.jobs.list(name=_name_of(name), limit=200, cursor=cursor))

    def runs_started(self, name: Any = None) -> list[Run]:
        """Return the runs of this test, ended ones too, in the order they were started; of one name or definition."""
        return _all_pages(lambda cursor: self.dispatch.runs.list(name=_name_of(name), limit=200, cursor=cursor))

    def events_published(self, name: Any = None, *, key: str | None = None) -> list[EventRecord]:
        """Return the events of this test in the order they were published: all, of one name or declaration, of one key.

        Those that were sent to one run are told apart by nothing but their name.
        """
        wanted = _name_of(name)
        found: list[EventRecord] = []
        page = self.dispatch.events.list(limit=1_000)
        while True:
            found += [event for event in page if wanted in (None, event.name) and key in (None, event.key)]
            if page.next_cursor is None:
                return found[::-1]
            page = self.dispatch.events.list(limit=1_000, cursor=page.next_cursor)

    def assert_event(
        self, name: Any, *, key: str | None = None, payload: object = ANYTHING, times: int | None = None
    ) -> list[EventRecord]:
        """Look whether such an event was published, ``times`` often if that is given; return those that were.

        ``payload`` is compared with the payload as JSON holds it.
        """
        return check_event(self.events_published(name, key=key), _name_of(name), key, payload=payload, times=times)

    def assert_job(
        self,
        job: JobHandle[Any] | str,
        *,
        state: str | None = None,
        result: object = ANYTHING,
        attempts: int | None = None,
        failure: str | None = None,
    ) -> Job:
        """Compare a job with what is expected, where something is; return its record.

        ``result`` is compared with what ``handle.result()`` returns. ``attempts`` counts every start, snoozes and
        crashes too. ``failure`` is text in the type or message of its error.
        """
        job_id = JobId.parse(_id_of(job))
        record = self.dispatch.jobs.get(job_id)
        handle = job if isinstance(job, JobHandle) else self.dispatch.jobs.handle(job_id)
        check_job(record, handle, state=state, result=result, attempts=attempts, failure=failure)
        return record

    def assert_run(
        self,
        run: RunHandle[Any] | str,
        *,
        state: str | None = None,
        result: object = ANYTHING,
        calls: list[str] | None = None,
        failure: str | None = None,
    ) -> Run:
        """Compare a run with what is expected, where something is; return its record.

        ``calls`` are the identities of its recorded durable calls (``charge#1``), as ``runs.timeline`` tells them.
        ``failure`` is text in the type or message of its error, or in why it is parked.
        """
        run_id = RunId.parse(_id_of(run))
        record = self.dispatch.runs.get(run_id)
        handle = run if isinstance(run, RunHandle) else self.dispatch.runs.handle(run_id)
        found = [promise.identity for promise in self.dispatch.runs.timeline(run_id)]
        check_run(record, handle, found, state=state, result=result, calls=calls, failure=failure)
        return record


def crash_everywhere(dispatch: Dispatch, target: Bindable[P], *args: P.args, **kwargs: P.kwargs) -> CrashReport:
    """Do as ``Kit.crash_everywhere``, on an embedded server for this call alone: for scripts and other test runners."""
    with EmbeddedServer(append_only=False) as server, Kit(dispatch, server.url) as kit:
        return kit.crash_everywhere(target, *args, **kwargs)


def _all_pages(read: Callable[[str | None], Any]) -> list[Any]:
    """Return every record of a list, oldest first."""
    found: list[Any] = []
    page = read(None)
    while True:
        found += page
        if page.next_cursor is None:
            return sorted(found, key=lambda record: (record.created_at, record.id))
        page = read(page.next_cursor)


def _id_of(work: Any) -> str:
    """Return the id of a handle, a record, Celery's ``AsyncResult``, or of what is one."""
    return str(getattr(work, "id", work))


def _name_of(what: Any) -> str | None:
    name = getattr(what, "name", what)
    if name is not None and not isinstance(name, str):
        raise ConfigurationError(f"a name, or a job or workflow, not {what!r}")
    return name
