"""The decorators of ``Dispatch``: what users write above their functions, with the types that checkers see."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from datetime import datetime
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, cast, overload

from dispatch_celery.clock import Duration
from dispatch_celery.cron.definition import CronOptions, Spelled
from dispatch_celery.cron.model import Misfire, Overlap
from dispatch_celery.jobs.definition import JobDefinition
from dispatch_celery.jobs.unique import Unique
from dispatch_celery.parts import Parts
from dispatch_celery.retry import Retry
from dispatch_celery.scope import Scope
from dispatch_celery.worker.task import Job, JobDecorator
from dispatch_celery.workflows.async_context import AsyncWorkflow, WorkflowDecorator
from dispatch_celery.workflows.context import Workflow
from dispatch_celery.workflows.definition import WorkflowDefinition
from dispatch_celery.workflows.step_definition import StepDecorator, StepDefinition, UndoStepDecorator

__all__ = ["Declaring"]

P = ParamSpec("P")
R = TypeVar("R")


class _CanEnqueue(Protocol):
    def enqueue(self) -> object: ...


class _CanStart(Protocol):
    def start(self) -> object: ...


CronT = TypeVar("CronT", bound=_CanEnqueue | _CanStart)
AnyT = TypeVar("AnyT", bound=JobDefinition[..., Any, Any] | WorkflowDefinition[..., Any])


class Declaring:
    """The half of ``Dispatch`` that declares."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    @overload
    def job(self, fn: Callable[P, Coroutine[Any, Any, R]], /) -> Job[P, R, Coroutine[Any, Any, R]]: ...
    @overload
    def job(self, fn: Callable[P, R], /) -> Job[P, R, R]: ...
    @overload
    def job(
        self,
        /,
        *,
        name: str = ...,
        queue: str = ...,
        priority: int = ...,
        retry: Retry = ...,
        timeout: Duration = ...,
        unique: Unique = ...,
        limit_key: Callable[[Mapping[str, Any]], str] = ...,
    ) -> JobDecorator: ...
    def job(self, fn: Any = None, /, **options: Any) -> Any:
        """Make a function a durable job; bare or with options. ``name`` defaults to module and function.

        ``unique``: of which there may be one at a time. ``limit_key``: a function of the arguments, as JSON values by
        name, that returns what a limit ``per_key=PerKey(by="key")`` tells its jobs apart by; it runs at enqueue.
        """
        if fn is not None:
            return self._parts.declarations.declare(fn, options)
        return lambda function: self._parts.declarations.declare(function, dict(options))

    def remote(self, name: str, /, *, queue: str | None = None) -> JobDecorator:
        """Declare a job that other workers run: a typed, empty function, to enqueue by."""
        options = {"name": name, "queue": queue, "remote": True}
        return cast("JobDecorator", lambda function: self._parts.declarations.declare(function, dict(options)))

    @overload
    def step(self, fn: Callable[P, Coroutine[Any, Any, R]], /) -> StepDefinition[P, R, Coroutine[Any, Any, R]]: ...
    @overload
    def step(self, fn: Callable[P, R], /) -> StepDefinition[P, R, R]: ...
    @overload
    def step(
        self,
        /,
        *,
        name: str = ...,
        retry: Retry = ...,
        timeout: Duration = ...,
        undo: Callable[Concatenate[Any, P], object],
        undo_retry: Retry = ...,
    ) -> UndoStepDecorator[P]: ...
    @overload
    def step(
        self, /, *, name: str = ..., retry: Retry = ..., timeout: Duration = ..., undo_retry: Retry = ...
    ) -> StepDecorator: ...
    def step(self, fn: Any = None, /, **options: Any) -> Any:
        """Make a function a step of workflows; bare or with options. A plain call of it just runs it."""
        if fn is not None:
            return StepDefinition(fn, **options)
        return lambda function: StepDefinition(function, **options)

    @overload
    def workflow(
        self, fn: Callable[Concatenate[AsyncWorkflow, P], Coroutine[Any, Any, R]], /
    ) -> WorkflowDefinition[P, R]: ...
    @overload
    def workflow(self, fn: Callable[Concatenate[Workflow, P], R], /) -> WorkflowDefinition[P, R]: ...
    @overload
    def workflow(
        self,
        /,
        *,
        name: str = ...,
        version: int = ...,
        timeout: Duration | None = ...,
        queue: str | None = ...,
        priority: int = ...,
    ) -> WorkflowDecorator: ...
    def workflow(self, fn: Any = None, /, **options: Any) -> Any:
        """Make a function of a ``Workflow`` and arguments one version of a durable workflow; bare or with options."""
        if fn is not None:
            return self._parts.declarations.declare_workflow(fn, options)
        return lambda function: self._parts.declarations.declare_workflow(function, dict(options))

    @overload
    def cron(
        self,
        schedule: Spelled,
        /,
        *,
        timezone: str = ...,
        name: str = ...,
        scope: Scope = ...,
        misfire: str | Misfire = ...,
        overlap: str | Overlap = ...,
        jitter: Duration = ...,
        start: datetime = ...,
        end: datetime = ...,
    ) -> Callable[[CronT], CronT]: ...
    @overload
    def cron(
        self,
        schedule: Spelled,
        /,
        *,
        timezone: str = ...,
        name: str = ...,
        arguments: Mapping[str, Any],
        scope: Scope = ...,
        misfire: str | Misfire = ...,
        overlap: str | Overlap = ...,
        jitter: Duration = ...,
        start: datetime = ...,
        end: datetime = ...,
    ) -> Callable[[AnyT], AnyT]: ...
    def cron(self, schedule: Spelled, /, *, name: str | None = None, **options: Any) -> Any:
        """Fire a job or workflow at the moments of a schedule; stackable, above ``@dispatch.job`` or ``workflow``.

        ``arguments``: what it is called with. ``timezone``: Celery's by default. ``misfire``: of missed slots ``skip``
        all, fire ``once``, or ``all(n)``. ``overlap``: while the one before has not ended ``allow``, ``skip``,
        ``cancel_previous`` or ``queue_one``. The entry is registered when a worker starts; ``dispatch.crons`` edits it.

        Raises:
            InvalidSchedule: the schedule, zone or dates cannot be, or would never fire.
            ConfigurationError: the arguments are not those of the job, or another entry has the name.
        """
        return self._parts.declare_cron(schedule, name, CronOptions(**options))
