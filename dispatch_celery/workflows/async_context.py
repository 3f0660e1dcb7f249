"""What an async workflow is given: ``wf``, whose verbs return promises."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any, Concatenate, NoReturn, ParamSpec, Protocol, TypeVar, overload

from typing_extensions import TypeForm

from dispatch_celery.clock import Duration, from_ms, to_ms
from dispatch_celery.codec import Signature
from dispatch_celery.errors import WorkflowMisuse
from dispatch_celery.events.model import Event, Place, check_key
from dispatch_celery.ids import EventId
from dispatch_celery.jobs.definition import BoundJob, JobDefinition
from dispatch_celery.jobs.options import check_duration
from dispatch_celery.scope import current_scope
from dispatch_celery.workflows.context import RunInfo, Workflow
from dispatch_celery.workflows.definition import BoundWorkflow, WorkflowDefinition
from dispatch_celery.workflows.driver import Driver, Promise
from dispatch_celery.workflows.engine import Engine
from dispatch_celery.workflows.inbox import Inbox
from dispatch_celery.workflows.journal import rest_of
from dispatch_celery.workflows.members import FleetCall, outcome_of
from dispatch_celery.workflows.steps import step_call
from dispatch_celery.workflows.store import Awaited
from dispatch_celery.workflows.undo import Undo

__all__ = ["AsyncWorkflow", "WorkflowDecorator"]

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class AsyncWorkflow:
    """The durable verbs of a workflow written as ``async def``.

    Its function runs from the top whenever its run goes on, on a loop that knows neither I/O nor a clock. Verbs take
    their identity when they are called, so what is awaited together (``asyncio.gather``, task groups,
    ``asyncio.wait_for``) is told apart in the order it was written. Steps run one after the other in the worker.
    """

    def __init__(self, engine: Engine, info: RunInfo, driver: Driver) -> None:
        self._engine = engine
        self._driver = driver
        self._sync = Workflow(engine, info)
        self.info = info

    @overload
    def step(self, fn: Callable[P, Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs) -> Promise[R]: ...
    @overload
    def step(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Promise[R]: ...
    def step(self, fn: Any, /, *args: Any, **kwargs: Any) -> Promise[Any]:
        """Run a step, at least once, and record its outcome exactly once; see ``Workflow.step``."""
        call, driver, engine = step_call(fn, args, kwargs), self._driver, self._engine
        asked = engine.ask_call(call)
        return Promise(
            asked.identity,
            lambda: driver.resolved(
                asked,
                lambda: outcome_of(engine.entry(asked), call.definition.typed.result).result(),
                act=driver.step(lambda: engine.perform(asked, call)),
            ),
        )

    def run_job(
        self, job: JobDefinition[P, R, Any] | BoundJob[P, R], /, *args: P.args, **kwargs: P.kwargs
    ) -> Promise[R]:
        """Run a job on the fleet, exactly one; its promise is its result; see ``Workflow.run_job``."""
        return self._member(job.bind(*args, **kwargs))

    def enqueue(
        self, job: JobDefinition[P, R, Any] | BoundJob[P, R], /, *args: P.args, **kwargs: P.kwargs
    ) -> Promise[R]:
        """Enqueue a job, exactly once; nobody needs to await it."""
        return self._member(job.bind(*args, **kwargs))

    def run_child(
        self, workflow: WorkflowDefinition[P, R] | BoundWorkflow[P, R], /, *args: P.args, **kwargs: P.kwargs
    ) -> Promise[R]:
        """Run another workflow, exactly once; its promise is its result; see ``Workflow.run_child``."""
        return self._member(workflow.bind(*args, **kwargs))

    def spawn_child(
        self, workflow: WorkflowDefinition[P, R] | BoundWorkflow[P, R], /, *args: P.args, **kwargs: P.kwargs
    ) -> Promise[R]:
        """Start another workflow, exactly once; nobody needs to await it."""
        return self._member(workflow.bind(*args, **kwargs))

    def _member(self, call: FleetCall) -> Promise[Any]:
        driver, engine = self._driver, self._engine
        asked = engine.ask_call(call)
        driver.send(asked, call)
        codec = call.definition.typed.result
        return Promise(
            engine.member_id(asked, call),
            lambda: driver.resolved(asked, lambda: outcome_of(engine.entry(asked), codec).result()),
        )

    @overload
    def wait_for_event(
        self, event: Event[T], /, *, key: str | None = ..., where: Callable[[T], bool] | None = ..., timeout: None = ...
    ) -> Promise[T]: ...
    @overload
    def wait_for_event(
        self,
        event: Event[T],
        /,
        *,
        key: str | None = ...,
        where: Callable[[T], bool] | None = ...,
        timeout: Duration,
    ) -> Promise[T | None]: ...
    @overload
    def wait_for_event(
        self,
        event: str,
        /,
        *,
        key: str | None = ...,
        type: TypeForm[T],
        where: Callable[[T], bool] | None = ...,
        timeout: None = ...,
    ) -> Promise[T]: ...
    @overload
    def wait_for_event(
        self,
        event: str,
        /,
        *,
        key: str | None = ...,
        type: TypeForm[T],
        where: Callable[[T], bool] | None = ...,
        timeout: Duration,
    ) -> Promise[T | None]: ...
    def wait_for_event(
        self,
        event: Any,
        /,
        *,
        key: str | None = None,
        type: Any = Any,  # noqa: A002 - the word of the whole API
        where: Callable[[Any], bool] | None = None,
        timeout: Duration | None = None,
        lookback: Duration = 0,
    ) -> Promise[Any]:
        """Rest until an event is published; see ``Workflow.wait_for_event``."""
        check_duration("timeout", timeout)
        milliseconds = None if timeout is None else to_ms(timeout)
        wait = self._sync.event(event, key=key, type=type, where=where, lookback=lookback)
        inbox, driver = Inbox(self._engine), self._driver
        asked = inbox.ask(wait)
        return Promise(
            asked.identity,
            lambda: driver.resolved(
                asked, lambda: inbox.taken(asked, wait), act=lambda: inbox.look(asked, wait, milliseconds)
            ),
        )

    def publish(self, event: Event[Any] | str, payload: Any = None, /, *, key: str | None = None) -> EventId:
        """Publish an event in the run's scope, exactly once, at once; nothing is to be awaited."""
        name, data = self._engine.topics.encoded(event, payload)
        place = Place(name, check_key(key), current_scope().path)
        return self._engine.publish(place, data)

    def sleep(self, duration: Duration) -> Promise[None]:
        """Rest for seconds or a timedelta. The deadline is stored once; no worker is held meanwhile."""
        check_duration("sleep", duration)
        return self._rest(to_ms(duration))

    def sleep_until(self, moment: datetime) -> Promise[None]:
        """Rest until a moment, which has a time zone."""
        if not isinstance(moment, datetime) or moment.tzinfo is None:
            raise WorkflowMisuse(f"sleep_until takes a datetime with a time zone, not {moment!r}")
        left = int(moment.timestamp() * 1000) - self._engine.now()
        return self._rest(max(0, left))

    def _rest(self, milliseconds: int) -> Promise[None]:
        driver = self._driver
        asked = driver.ask("sleep", "sleep", b"%d" % milliseconds)
        awaited = Awaited(asked.identity, "sleeping", milliseconds, rest_of(asked.head))
        return Promise(asked.identity, lambda: driver.resolved(asked, lambda: None, awaited=awaited))

    def now(self) -> datetime:
        """Return the time, the same on every replay."""
        return from_ms(self._engine.now()).astimezone(UTC)

    def random(self) -> float:
        """Return a number from 0 up to 1, the same on every replay."""
        return self._sync.random()

    def uuid(self) -> uuid.UUID:
        """Return a UUID, the same on every replay, unique to this call of this run."""
        return self._sync.uuid()

    def status(self, text: str) -> None:
        """Say for people what the run does now: ``runs.get`` and Flower show it. Not durable, and not repeated."""
        self._sync.status(text)

    def continue_as_new(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Begin anew with these arguments; see ``Workflow.continue_as_new``. Tasks that still wait are let go."""
        self._engine.continue_as_new(args, kwargs)

    def patched(self, change: str) -> bool:
        """Return whether the run takes changed code at this place: new runs do, runs that had passed it do not."""
        return self._engine.patched(change)

    def add_undo(self, fn: Callable[P, object], /, *args: P.args, **kwargs: P.kwargs) -> None:
        """Put on record that ``fn(*args)`` undoes what comes next; see ``Workflow.add_undo``."""
        undo = Undo.of_module(fn)
        signature = Signature(fn, name=f"undo {undo.name}", limit=self._engine.max_payload)
        self._engine.add_undo(undo, signature.encode(args, kwargs))

    def compensate(self) -> Promise[None]:
        """Undo now all that is to be undone so far, the last effect first, and go on."""
        driver, engine = self._driver, self._engine
        asked = driver.ask("compensate", "compensate", b"")

        def act() -> None:
            if asked.entry is None:
                engine.compensate_for(asked)

        return Promise(asked.identity, lambda: driver.resolved(asked, lambda: None, act=act))

    @property
    def log(self) -> logging.LoggerAdapter[logging.Logger]:
        """A logger that is silent while the run repeats what is recorded."""
        return self._sync.log


class WorkflowDecorator(Protocol):
    """What ``@dispatch.workflow(...)`` returns."""

    @overload
    def __call__(
        self, fn: Callable[Concatenate[AsyncWorkflow, P], Coroutine[Any, Any, R]], /
    ) -> WorkflowDefinition[P, R]: ...
    @overload
    def __call__(self, fn: Callable[Concatenate[Workflow, P], R], /) -> WorkflowDefinition[P, R]: ...
