"""What a workflow is given: ``wf``, whose verbs are durable."""

from __future__ import annotations

import logging
import random
import uuid
from collections.abc import Callable, Coroutine, Iterable
from datetime import UTC, datetime
from typing import Any, Final, Literal, NoReturn, ParamSpec, TypeAlias, TypeVar, cast, overload

from typing_extensions import TypeForm

from dispatch_celery.clock import Duration, from_ms, to_ms
from dispatch_celery.codec import Codec, Signature
from dispatch_celery.errors import WorkflowMisuse
from dispatch_celery.events.model import Event, Place, Received, check_event_name, check_key
from dispatch_celery.ids import EventId, RunId
from dispatch_celery.jobs.definition import BoundJob, Call, JobDefinition
from dispatch_celery.jobs.options import check_duration
from dispatch_celery.scope import current_scope
from dispatch_celery.workflows.crowd import Crowd
from dispatch_celery.workflows.definition import BoundWorkflow, RunCall, WorkflowDefinition
from dispatch_celery.workflows.engine import Engine
from dispatch_celery.workflows.inbox import EventWait, Inbox
from dispatch_celery.workflows.members import Outcome, SyncPromise
from dispatch_celery.workflows.step_definition import StepCall
from dispatch_celery.workflows.steps import step_call
from dispatch_celery.workflows.undo import Undo

__all__ = ["Bound", "RunInfo", "Workflow"]

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
A = TypeVar("A")
B = TypeVar("B")
D = TypeVar("D")
E = TypeVar("E")

Bound: TypeAlias = StepCall[A] | Call[A] | RunCall[A]
"""A call of a step, a job or a workflow that is bound and not made yet."""


_LONGEST_STATUS: Final = 1_000


class RunInfo:
    """What a run knows of itself without asking."""

    __slots__ = ("created_at", "generation", "id", "name", "version")

    def __init__(self, *, id: RunId, name: str, version: int, created_at: datetime, generation: int) -> None:  # noqa: A002 - the word of the whole API
        self.id = id
        self.name = name
        self.version = version
        self.created_at = created_at
        self.generation = generation


class Workflow:
    """The durable verbs of a workflow written as a plain function.

    Its function runs from the top whenever its run goes on, so between two verbs it must do the same each time: effects
    belong in steps, and times, random numbers and ids come from here.
    """

    def __init__(self, engine: Engine, info: RunInfo) -> None:
        self._engine = engine
        self.info = info

    @overload
    def step(self, fn: Callable[P, Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs) -> R: ...
    @overload
    def step(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R: ...
    def step(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Run a step, a plain function too, at least once, and record its outcome exactly once.

        Raises:
            StepFailed: it failed for good; an instance of its own error class as well.
        """
        return self._engine.step(step_call(fn, args, kwargs))

    def run_job(self, job: JobDefinition[P, R, Any] | BoundJob[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a job on the fleet, exactly one, and wait for its end without holding a worker; return its result.

        Raises:
            JobFailed, JobCancelled: it ended without one; its own retries are over then.
            PayloadError: the arguments do not fit.
        """
        return cast("R", self._engine.promise(job.bind(*args, **kwargs)).result())

    def enqueue(
        self, job: JobDefinition[P, R, Any] | BoundJob[P, R], /, *args: P.args, **kwargs: P.kwargs
    ) -> SyncPromise[R]:
        """Enqueue a job, exactly once, and go on; ``.result()`` of what is returned waits for its end.

        It is cancelled with the run if it has not ended by then, and goes on when the run completes.
        """
        return self._engine.promise(job.bind(*args, **kwargs))

    def run_child(
        self, workflow: WorkflowDefinition[P, R] | BoundWorkflow[P, R], /, *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Run another workflow, exactly once, and wait for its end; return its result.

        Should this run fail or be cancelled, the child is cancelled, or undone if it has completed;
        ``child.options(detached=True)`` spares it.

        Raises:
            RunFailed, RunCancelled: it ended without one.
        """
        return cast("R", self._engine.promise(workflow.bind(*args, **kwargs)).result())

    def spawn_child(
        self, workflow: WorkflowDefinition[P, R] | BoundWorkflow[P, R], /, *args: P.args, **kwargs: P.kwargs
    ) -> SyncPromise[R]:
        """Start another workflow, exactly once, and go on; ``.result()`` of what is returned waits for its end."""
        return self._engine.promise(workflow.bind(*args, **kwargs))

    @overload
    def gather(self, a: Bound[A], /) -> tuple[A]: ...
    @overload
    def gather(self, a: Bound[A], b: Bound[B], /) -> tuple[A, B]: ...
    @overload
    def gather(self, a: Bound[A], b: Bound[B], c: Bound[D], /) -> tuple[A, B, D]: ...
    @overload
    def gather(self, a: Bound[A], b: Bound[B], c: Bound[D], d: Bound[E], /) -> tuple[A, B, D, E]: ...
    @overload
    def gather(self, *calls: Bound[A]) -> tuple[A, ...]: ...
    def gather(self, *calls: Any) -> tuple[Any, ...]:
        """Make several bound calls of steps, jobs and workflows at once; return their results in order.

        The first failure cancels the others and is raised. Steps run in this worker, some at a time.
        """
        return tuple(Crowd(self._engine, "gather", calls).decide().all())

    @overload
    def map(
        self,
        fn: WorkflowDefinition[[A], R],
        items: Iterable[A],
        /,
        *,
        max_parallel: int = ...,
        on_error: Literal["fail"] = ...,
    ) -> list[R]: ...
    @overload
    def map(
        self,
        fn: WorkflowDefinition[[A], R],
        items: Iterable[A],
        /,
        *,
        max_parallel: int = ...,
        on_error: Literal["collect"],
    ) -> list[Outcome[R]]: ...
    @overload
    def map(
        self,
        fn: Callable[[A], Coroutine[Any, Any, R]],
        items: Iterable[A],
        /,
        *,
        max_parallel: int = ...,
        on_error: Literal["fail"] = ...,
    ) -> list[R]: ...
    @overload
    def map(
        self,
        fn: Callable[[A], Coroutine[Any, Any, R]],
        items: Iterable[A],
        /,
        *,
        max_parallel: int = ...,
        on_error: Literal["collect"],
    ) -> list[Outcome[R]]: ...
    @overload
    def map(
        self,
        fn: Callable[[A], R],
        items: Iterable[A],
        /,
        *,
        max_parallel: int = ...,
        on_error: Literal["fail"] = ...,
    ) -> list[R]: ...
    @overload
    def map(
        self, fn: Callable[[A], R], items: Iterable[A], /, *, max_parallel: int = ..., on_error: Literal["collect"]
    ) -> list[Outcome[R]]: ...
    def map(
        self, fn: Any, items: Iterable[Any], /, *, max_parallel: int = 50, on_error: Literal["fail", "collect"] = "fail"
    ) -> list[Any]:
        """Call a job, a workflow or a step for each item, at most ``max_parallel`` at a time; return results in order.

        ``on_error``: ``fail`` raises the first failure and cancels the rest, ``collect`` returns an ``Outcome`` each.
        Steps run in this worker, some at a time; jobs and workflows on the fleet.
        """
        crowd = Crowd.of_map(self._engine, fn, items, max_parallel=max_parallel, on_error=on_error)
        return crowd.decide().all()

    def race(self, *calls: Bound[A]) -> tuple[int, A]:
        """Make several bound calls; return place and value of the first that ends, and cancel the others.

        Raises:
            OutcomeError: the first that ended has failed.
        """
        return Crowd(self._engine, "race", calls).decide().first()

    def first_ok(self, *calls: Bound[A]) -> tuple[int, A]:
        """Make several bound calls; return place and value of the first that succeeds, and cancel the others.

        Raises:
            OutcomeError: all have failed; the error of the last one.
        """
        return Crowd(self._engine, "first_ok", calls).decide().first()

    def cancel(self, promise: SyncPromise[Any]) -> None:
        """Cancel a job or child run that is under way; its promise then fails. Nothing happens where it has ended."""
        if not isinstance(promise, SyncPromise):
            raise WorkflowMisuse(f"wf.cancel takes what wf.enqueue or wf.spawn_child returned, not {promise!r}")
        self._engine.cancel(promise.identity)

    @overload
    def wait_for_event(
        self,
        event: Event[T],
        /,
        *,
        key: str | None = ...,
        timeout: None = ...,
        where: Callable[[T], bool] | None = ...,
        lookback: Duration = ...,
    ) -> T: ...
    @overload
    def wait_for_event(
        self,
        event: Event[T],
        /,
        *,
        key: str | None = ...,
        timeout: Duration,
        where: Callable[[T], bool] | None = ...,
        lookback: Duration = ...,
    ) -> T | None: ...
    @overload
    def wait_for_event(
        self,
        event: str,
        /,
        *,
        key: str | None = ...,
        type: TypeForm[T],
        timeout: None = ...,
        where: Callable[[T], bool] | None = ...,
        lookback: Duration = ...,
    ) -> T: ...
    @overload
    def wait_for_event(
        self,
        event: str,
        /,
        *,
        key: str | None = ...,
        type: TypeForm[T],
        timeout: Duration,
        where: Callable[[T], bool] | None = ...,
        lookback: Duration = ...,
    ) -> T | None: ...
    def wait_for_event(
        self,
        event: Any,
        /,
        *,
        key: str | None = None,
        type: Any = Any,  # noqa: A002 - the word of the whole API
        timeout: Duration | None = None,
        where: Callable[[Any], bool] | None = None,
        lookback: Duration = 0,
    ) -> Any:
        """Rest until an event is published, and return its payload; None when ``timeout`` is up before.

        Events of this name and key in the run's scope count that were published since the run began, or up to
        ``lookback`` before, and those sent to this very run; the oldest that it has not consumed is taken. ``where``
        takes the payload and must depend on nothing else: what it refuses stays for other waits.

        Raises:
            PayloadError: what was published does not fit the type; it stays for other waits.
        """
        wait = self.event(event, key=key, type=type, where=where, lookback=lookback)
        return Inbox(self._engine).one(wait, _milliseconds(timeout))

    def event(
        self,
        event: Event[Any] | str,
        /,
        *,
        key: str | None = None,
        type: Any = Any,  # noqa: A002 - the word of the whole API
        where: Callable[[Any], bool] | None = None,
        lookback: Duration = 0,
    ) -> EventWait:
        """Return one of the events to give to ``wait_for_any`` or ``wait_for_all``; see ``wait_for_event``."""
        check_duration("lookback", lookback)
        if isinstance(event, Event):
            name, codec = event.name, event.codec
            if type is not Any:
                raise WorkflowMisuse(f"{name} is declared with its type: give none to wait for it")
        else:
            name = check_event_name(event)
            codec = Codec(type, subject=f"event {name}", limit=self._engine.topics.max_payload)
        places = (Place(name, check_key(key), current_scope().path), Place(name, run=self.info.id))
        return EventWait(event, places, codec, where, to_ms(lookback))

    def wait_for_any(self, *events: EventWait, timeout: Duration | None = None) -> Received[Any] | None:
        """Rest until one of several events is published; return which, with its payload; None when time is up."""
        return Inbox(self._engine).any(events, _milliseconds(timeout))

    def wait_for_all(self, *events: EventWait, timeout: Duration | None = None) -> list[Received[Any]] | None:
        """Rest until each of several events is published; return them in the order asked for.

        None when time is up before; what had come by then is consumed.
        """
        return Inbox(self._engine).all(events, _milliseconds(timeout))

    @overload
    def publish(self, event: Event[T], payload: T, /, *, key: str | None = ...) -> EventId: ...
    @overload
    def publish(self, event: str, payload: Any = ..., /, *, key: str | None = ...) -> EventId: ...
    def publish(self, event: Any, payload: Any = None, /, *, key: str | None = None) -> EventId:
        """Publish an event in the run's scope, exactly once, however often the run is replayed."""
        name, data = self._engine.topics.encoded(event, payload)
        return self._engine.publish(Place(name, check_key(key), current_scope().path), data)

    def sleep(self, duration: Duration) -> None:
        """Rest for seconds or a timedelta. The deadline is stored once; no worker is held meanwhile."""
        check_duration("sleep", duration)
        self._engine.sleep(to_ms(duration))

    def sleep_until(self, moment: datetime) -> None:
        """Rest until a moment, which has a time zone."""
        if not isinstance(moment, datetime) or moment.tzinfo is None:
            raise WorkflowMisuse(f"sleep_until takes a datetime with a time zone, not {moment!r}")
        left = int(moment.timestamp() * 1000) - self._engine.now()
        self._engine.sleep(max(0, left))

    def now(self) -> datetime:
        """Return the time, the same on every replay."""
        return from_ms(self._engine.now()).astimezone(UTC)

    def random(self) -> float:
        """Return a number from 0 up to 1, the same on every replay."""
        return random.Random(self._seed("random")).random()

    def uuid(self) -> uuid.UUID:
        """Return a UUID, the same on every replay, unique to this call of this run."""
        return uuid.UUID(bytes=self._seed("uuid")[:16], version=4)

    def add_undo(self, fn: Callable[P, object], /, *args: P.args, **kwargs: P.kwargs) -> None:
        """Put on record that ``fn(*args)`` undoes what comes next, should the run fail or be cancelled.

        Call it before the effect: a crash in between is undone too. ``fn`` is found by its name, so it is a function
        of a module; it is tried ten times, then the run is parked for a person.
        """
        undo = Undo.of_module(fn)
        typed = Signature(fn, name=f"undo {undo.name}", limit=self._engine.max_payload)
        self._engine.add_undo(undo, typed.encode(args, kwargs))

    def compensate(self) -> None:
        """Undo now all that is to be undone so far, the last effect first, and go on: the run need not fail for it."""
        self._engine.compensate()

    def patched(self, change: str) -> bool:
        """Return whether the run takes changed code at this place: new runs do, runs that had passed it do not."""
        return self._engine.patched(change)

    def status(self, text: str) -> None:
        """Say for people what the run does now: ``runs.get`` and Flower show it. Not durable, and not repeated."""
        self._engine.tell(str(text)[:_LONGEST_STATUS])

    def continue_as_new(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Begin anew: the run keeps its id, its parent and its events, and starts from the top with these arguments.

        What it has recorded is set aside, so a run that goes on for ever stays small. The run's timeout goes on.

        Raises:
            WorkflowMisuse: jobs or children are under way, or something could have to be undone.
            PayloadError: the arguments do not fit.
        """
        self._engine.continue_as_new(args, kwargs)

    @property
    def log(self) -> logging.LoggerAdapter[logging.Logger]:
        """A logger that is silent while the run repeats what is recorded."""
        return _Log(logging.getLogger(f"dispatch_celery.run.{self.info.name}"), self._engine)

    def _seed(self, what: str) -> bytes:
        return self._engine.derived(what)


def _milliseconds(timeout: Duration | None) -> int | None:
    check_duration("timeout", timeout)
    return None if timeout is None else to_ms(timeout)


class _Log(logging.LoggerAdapter[logging.Logger]):
    def __init__(self, logger: logging.Logger, engine: Engine) -> None:
        super().__init__(logger, {"run_id": engine.claim.ref.id})
        self._engine = engine

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 - the standard library's name
        return not self._engine.replaying and super().isEnabledFor(level)
