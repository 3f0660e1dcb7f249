"""What an async workflow is given: ``wf``, whose verbs return promises."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any, Concatenate, NoReturn, ParamSpec, Protocol, TypeVar, overload

from dispatch_celery.clock import Duration, from_ms, to_ms
from dispatch_celery.codec import Signature
from dispatch_celery.errors import WorkflowMisuse
from dispatch_celery.jobs.definition import BoundJob, JobDefinition
from dispatch_celery.jobs.options import check_duration
from dispatch_celery.workflows.async_crowds import AsyncCrowds
from dispatch_celery.workflows.async_events import AsyncEvents
from dispatch_celery.workflows.context import RunInfo, Workflow
from dispatch_celery.workflows.definition import BoundWorkflow, WorkflowDefinition
from dispatch_celery.workflows.driver import Driver, Promise
from dispatch_celery.workflows.engine import Engine
from dispatch_celery.workflows.held import Awaited
from dispatch_celery.workflows.journal import rest_of
from dispatch_celery.workflows.members import FleetCall, outcome_of
from dispatch_celery.workflows.steps import step_call
from dispatch_celery.workflows.undo import Undo
from dispatch_celery.workflows.waiting import Wait

__all__ = ["AsyncWorkflow", "WorkflowDecorator"]

P = ParamSpec("P")
R = TypeVar("R")


class AsyncWorkflow(AsyncCrowds, AsyncEvents):
    """The durable verbs of a workflow written as ``async def``.

    Its function runs from the top whenever its run goes on, on a loop that knows neither I/O nor a clock. Verbs take
    their identity when they are called, so what is awaited together (``asyncio.gather``, task groups,
    ``asyncio.wait_for``) is told apart in the order it was written. Steps that are awaited together run at the same
    time, in the worker.
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
        call, driver = step_call(fn, args, kwargs), self._driver
        asked = self._engine.ask_call(call)
        return Promise(asked.identity, lambda: driver.step(asked, call))

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
            asked.identity,
            lambda: driver.resolved(asked, lambda: outcome_of(engine.entry(asked), codec).result()),
            member_id=engine.member_id(asked, call),
        )

    def cancel(self, promise: Promise[Any]) -> Promise[None]:
        """Cancel a job or child run that is under way, awaited or not; its promise then fails.

        Raises:
            WorkflowMisuse: the promise is of something else.
        """
        if not isinstance(promise, Promise) or not promise.member_id:
            raise WorkflowMisuse(f"wf.cancel takes the promise of a job or child run, not {promise!r}")
        engine, identity = self._engine, promise.identity
        asked = engine.ask("cancel", "cancel", identity.encode())
        done = self._driver.keep(asked, lambda: None, act=lambda: engine.cancel_for(asked, identity))
        return Promise(asked.identity, lambda: _heard(done))

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
        wait = Wait([Awaited(asked.identity, "sleeping", milliseconds, rest_of(asked.head))])
        return Promise(asked.identity, lambda: driver.resolved(asked, lambda: None, wait=wait))

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
        engine = self._engine
        asked = self._driver.ask("compensate", "compensate", b"")
        return self._driver.alone(asked, lambda: engine.compensate_for(asked))

    @property
    def log(self) -> logging.LoggerAdapter[logging.Logger]:
        """A logger that is silent while the run repeats what is recorded."""
        return self._sync.log


async def _heard(future: asyncio.Future[None]) -> None:
    await future


class WorkflowDecorator(Protocol):
    """What ``@dispatch.workflow(...)`` returns."""

    @overload
    def __call__(
        self, fn: Callable[Concatenate[AsyncWorkflow, P], Coroutine[Any, Any, R]], /
    ) -> WorkflowDefinition[P, R]: ...
    @overload
    def __call__(self, fn: Callable[Concatenate[Workflow, P], R], /) -> WorkflowDefinition[P, R]: ...
