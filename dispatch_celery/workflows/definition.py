"""Where users declare workflows: a function with a name, a version and types."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Final, Generic, ParamSpec, Protocol, TypeVar, cast

from dispatch_celery.clock import Duration, to_ms
from dispatch_celery.codec import Signature
from dispatch_celery.errors import ConfigurationError
from dispatch_celery.jobs.options import JobOptions, check_duration, check_priority, check_queue
from dispatch_celery.jobs.summary import Summary
from dispatch_celery.retry import Retry
from dispatch_celery.work.body import refuse_in_body
from dispatch_celery.workflows.handle import RunHandle
from dispatch_celery.workflows.step_definition import check_parameters

__all__ = ["BoundWorkflow", "RunCall", "Starter", "WorkflowDefinition"]

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
C_co = TypeVar("C_co", covariant=True)

_LONGEST_NAME: Final = 200
_NO_OPTIONS: Final = JobOptions()


@dataclass(frozen=True, slots=True)
class RunCall(Generic[R_co]):
    """A workflow with its arguments bound and checked; nothing has happened yet."""

    definition: WorkflowDefinition[..., R_co]
    payload: bytes
    summary: str
    options: JobOptions = _NO_OPTIONS


class Starter(Protocol):
    """What a definition needs of the service."""

    def start_call(self, call: RunCall[Any]) -> RunHandle[Any]:
        """Store a run and wake a worker."""
        ...

    def handle_of(self, run_id: str, definition: WorkflowDefinition[..., Any]) -> RunHandle[Any]:
        """Return the handle of a stored id."""
        ...

    @property
    def max_payload(self) -> int:
        """The largest payload, in bytes."""
        ...

    @property
    def default_step_retry(self) -> Retry:
        """The policy of steps that declare none."""
        ...


class WorkflowDefinition(Generic[P, R_co]):
    """A declared workflow: one version of a name."""

    def __init__(
        self,
        fn: Callable[..., Any],
        *,
        name: str,
        starter: Callable[[], Starter],
        version: int = 1,
        timeout: Duration | None = None,
        queue: str | None = None,
        priority: int = 0,
    ) -> None:
        _check(fn, name, version, queue, priority)
        check_duration("timeout", timeout)
        self.__wrapped__ = fn
        self.__name__, self.__qualname__, self.__module__ = fn.__name__, fn.__qualname__, fn.__module__
        self.__doc__ = fn.__doc__
        self.name = name
        self.version = version
        self.queue = queue
        self.priority = priority
        self.timeout_ms = None if timeout is None else to_ms(timeout)
        self.is_async = inspect.iscoroutinefunction(fn)
        self._starter = starter
        self._shape = inspect.signature(fn)

    def __repr__(self) -> str:
        return f"<workflow {self.name} v{self.version}{self._shape}>"

    @property
    def known_as(self) -> str:
        """What workers register: a name and the version they have of it."""
        return f"{self.name}@{self.version}"

    @cached_property
    def typed(self) -> Signature:
        """Its parameters, without the first, and its result, as codecs."""
        return Signature(self.__wrapped__, name=self.name, limit=self._starter().max_payload, skip=1)

    @cached_property
    def summary(self) -> Summary:
        """Shows its calls to people, masked."""
        return Summary(self.typed.hints)

    def bind(self, *args: P.args, **kwargs: P.kwargs) -> RunCall[R_co]:
        """Return a checked call, to be started later or among others.

        Raises:
            PayloadError: an argument is unknown, missing, or does not fit its annotation.
        """
        return self._bound(args, kwargs, _NO_OPTIONS)

    def start(self, *args: P.args, **kwargs: P.kwargs) -> RunHandle[R_co]:
        """Store one run and wake a worker; one round trip. It never runs in the caller's process.

        Raises:
            PayloadError, PayloadTooLarge: as ``bind``; nothing is stored.
            StoreUnavailable: no answer within the timeouts; the run is stored whole or not at all.
        """
        return self._start(self._bound(args, kwargs, _NO_OPTIONS))

    async def astart(self, *args: P.args, **kwargs: P.kwargs) -> RunHandle[R_co]:
        """Do as ``start``, without holding the event loop during the trip."""
        return await asyncio.to_thread(self._start, self._bound(args, kwargs, _NO_OPTIONS))

    def options(
        self,
        *,
        delay: Duration | None = None,
        run_at: datetime | None = None,
        queue: str | None = None,
        priority: int | None = None,
        idempotency_key: str | None = None,
        timeout: Duration | None = None,
        detached: bool = False,
    ) -> BoundWorkflow[P, R_co]:
        """Return the workflow with options for its next starts. Durations are seconds or timedeltas.

        ``idempotency_key``: a known key with the same arguments returns the first run; with others it is an
        ``IdempotencyConflict``. ``detached``: as a child it goes on when its parent is cancelled or fails.
        """
        chosen = JobOptions(
            delay=delay,
            run_at=run_at,
            queue=queue,
            priority=priority,
            idempotency_key=idempotency_key,
            timeout=timeout,
            detached=detached,
        )
        return BoundWorkflow(self, chosen)

    def handle(self, id: str, /) -> RunHandle[R_co]:  # noqa: A002 - the word of the whole API
        """Return the handle of a stored id; nothing is read."""
        return cast("RunHandle[R_co]", self._starter().handle_of(id, self))

    def _bound(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], options: JobOptions) -> RunCall[R_co]:
        arguments = self.typed.bind(args, kwargs)
        return RunCall(self, self.typed.arguments.encode(arguments), self.summary(arguments), options)

    def _start(self, call: RunCall[R_co]) -> RunHandle[R_co]:
        refuse_in_body(
            "{0}.start()", "use wf.run_child({0}, ...), or wf.spawn_child({0}, ...) to go on meanwhile", self.__name__
        )
        return cast("RunHandle[R_co]", self._starter().start_call(call))


class BoundWorkflow(Generic[P, R_co]):
    """A workflow with options for its next starts."""

    def __init__(self, definition: WorkflowDefinition[P, R_co], options: JobOptions) -> None:
        self._definition = definition
        self._options = options

    def bind(self, *args: P.args, **kwargs: P.kwargs) -> RunCall[R_co]:
        """Return a checked call with these options."""
        return self._definition._bound(args, kwargs, self._options)  # noqa: SLF001 - two halves of one definition

    def start(self, *args: P.args, **kwargs: P.kwargs) -> RunHandle[R_co]:
        """Store one run with these options; see ``WorkflowDefinition.start``."""
        return self._definition._start(self.bind(*args, **kwargs))  # noqa: SLF001 - as above

    async def astart(self, *args: P.args, **kwargs: P.kwargs) -> RunHandle[R_co]:
        """Do as ``start``, without holding the event loop during the trip."""
        return await asyncio.to_thread(self._definition._start, self.bind(*args, **kwargs))  # noqa: SLF001 - as above


def _check(fn: Any, name: str, version: Any, queue: str | None, priority: int) -> None:
    if not inspect.isfunction(fn):
        raise ConfigurationError(f"a workflow is a function, not {fn!r}: wrap it in a def")
    if not isinstance(name, str) or not 1 <= len(name) <= _LONGEST_NAME or not name.isprintable() or " " in name:
        raise ConfigurationError(
            f"a workflow's name must be 1 to {_LONGEST_NAME} printable characters without spaces, not {name!r}"
        )
    if "@" in name:
        raise ConfigurationError(f"a workflow's name cannot hold '@', which goes before its version: {name!r}")
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise ConfigurationError(f"{name}: version must be an integer of at least 1, not {version!r}")
    if queue is not None:
        check_queue(queue)
    check_priority(priority)
    parameters = list(inspect.signature(fn).parameters.values())
    if not parameters or parameters[0].kind not in (parameters[0].POSITIONAL_ONLY, parameters[0].POSITIONAL_OR_KEYWORD):
        raise ConfigurationError(f"{name}: a workflow takes its Workflow first: def {fn.__name__}(wf: Workflow, ...)")
    check_parameters(name, inspect.signature(fn))
