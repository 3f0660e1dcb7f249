"""Where users declare: a job is a function with a name, types and a policy; ``bind`` makes a checked ``Call``."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import Any, Final, Generic, ParamSpec, Protocol, TypeVar, cast

from dispatch_celery.clock import Duration, to_ms
from dispatch_celery.codec import Signature
from dispatch_celery.errors import ConfigurationError, PayloadError
from dispatch_celery.jobs.handle import JobHandle
from dispatch_celery.jobs.options import JobOptions, check_duration, check_priority, check_queue
from dispatch_celery.jobs.summary import Summary
from dispatch_celery.jobs.unique import Unique
from dispatch_celery.retry import Retry
from dispatch_celery.work.body import refuse_in_body

__all__ = ["BoundJob", "Call", "Enqueuer", "JobDefinition", "is_name", "named_call"]

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)
C_co = TypeVar("C_co", covariant=True)

_LONGEST_NAME: Final = 200
_NO_OPTIONS: Final = JobOptions()


@dataclass(frozen=True, slots=True)
class Call(Generic[R_co]):
    """A job with its arguments bound and checked; nothing has happened yet."""

    definition: JobDefinition[..., R_co, Any]
    payload: bytes
    summary: str
    options: JobOptions = _NO_OPTIONS


class Enqueuer(Protocol):
    """What a definition needs of the service: one door for one job or many."""

    def enqueue_calls(self, calls: Iterable[Call[Any]]) -> list[JobHandle[Any]]:
        """Store and publish; return handles in order."""
        ...

    def handle_of(self, job_id: str, definition: JobDefinition[..., Any, Any]) -> JobHandle[Any]:
        """Return the handle of a stored id."""
        ...

    @property
    def max_payload(self) -> int:
        """The largest payload, in bytes."""
        ...

    @property
    def default_retry(self) -> Retry:
        """The policy of jobs that declare none."""
        ...


class JobDefinition(Generic[P, R_co, C_co]):
    """A declared job. Calling it runs the function here, with nothing durable about it."""

    def __init__(
        self,
        fn: Callable[P, C_co],
        *,
        name: str,
        enqueuer: Callable[[], Enqueuer],
        queue: str | None = None,
        priority: int = 0,
        retry: Retry | None = None,
        timeout: Duration | None = None,
        unique: Unique | None = None,
        limit_key: Callable[[Mapping[str, Any]], str] | None = None,
        remote: bool = False,
    ) -> None:
        if unique is not None and not isinstance(unique, Unique):
            raise ConfigurationError(f"{name}: unique must be a Unique, not {unique!r}")
        if limit_key is not None and not callable(limit_key):
            raise ConfigurationError(f"{name}: limit_key must be a function of the arguments, not {limit_key!r}")
        _check(fn, name, queue, priority, retry)
        check_duration("timeout", timeout)
        self.__wrapped__ = fn
        self.__name__ = getattr(fn, "__name__", name)
        self.__qualname__ = getattr(fn, "__qualname__", name)
        self.__module__ = getattr(fn, "__module__", "")
        self.__doc__ = fn.__doc__
        self.name = name
        self.queue = queue
        self.priority = priority
        self.timeout_ms = None if timeout is None else to_ms(timeout)
        self.is_async = inspect.iscoroutinefunction(fn)
        self.is_remote = remote
        self.unique = unique
        self.limit_key = limit_key
        self._retry = retry
        self._enqueuer = enqueuer
        self._signature: Signature | None = None
        self._shape = inspect.signature(fn)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> C_co:
        """Run the function here: a plain call."""
        refuse_in_body("{0}()", "use wf.run_job({0}, ...), or wf.step with the function itself", self.__name__)
        return self.__wrapped__(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<job {self.name}{self._shape}>"

    @property
    def typed(self) -> Signature:
        """Its parameters and result, as codecs; built at first use, when every annotation can be resolved."""
        if self._signature is None:
            self._signature = Signature(self.__wrapped__, name=self.name, limit=self._enqueuer().max_payload)
        return self._signature

    @cached_property
    def summary(self) -> Summary:
        """Shows its calls to people, masked."""
        return Summary(self.typed.hints)

    @cached_property
    def retry_policy(self) -> Retry:
        """Its declared policy, or ``dispatch_default_retry``."""
        return self._retry or self._enqueuer().default_retry

    def bind(self, *args: P.args, **kwargs: P.kwargs) -> Call[R_co]:
        """Return a checked call, to be enqueued later or among others.

        Raises:
            PayloadError: an argument is unknown, missing, or does not fit its annotation.
            PayloadTooLarge: they are larger than ``dispatch_max_payload`` together.
        """
        return self._bound(args, kwargs, _NO_OPTIONS)

    def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> JobHandle[R_co]:
        """Store one durable job and wake a worker; one round trip. Signal: ``job_enqueued``.

        Raises:
            PayloadError, PayloadTooLarge: as ``bind``; nothing is stored.
            StoreUnavailable: no answer within the timeouts; the job is stored whole or not at all.
        """
        return self._enqueue([self._bound(args, kwargs, _NO_OPTIONS)])[0]

    async def aenqueue(self, *args: P.args, **kwargs: P.kwargs) -> JobHandle[R_co]:
        """Do as ``enqueue``, without holding the event loop during the trip."""
        return (await asyncio.to_thread(self._enqueue, [self._bound(args, kwargs, _NO_OPTIONS)]))[0]

    def enqueue_many(
        self, calls: Iterable[Call[R_co] | tuple[Any, ...] | Mapping[str, Any]], /
    ) -> list[JobHandle[R_co]]:
        """Store many jobs in bounded batches; return handles in order. All calls are checked before any is stored."""
        return self._enqueue([self._as_call(call) for call in calls])

    async def aenqueue_many(
        self, calls: Iterable[Call[R_co] | tuple[Any, ...] | Mapping[str, Any]], /
    ) -> list[JobHandle[R_co]]:
        """Do as ``enqueue_many``, without holding the event loop during the trips."""
        return await asyncio.to_thread(self._enqueue, [self._as_call(call) for call in calls])

    def options(
        self,
        *,
        delay: Duration | None = None,
        run_at: datetime | None = None,
        expires: Duration | datetime | None = None,
        queue: str | None = None,
        priority: int | None = None,
        idempotency_key: str | None = None,
        retry: Retry | None = None,
        timeout: Duration | None = None,
        unique: Unique | None = None,
    ) -> BoundJob[P, R_co]:
        """Return the job with options for its next enqueues. Durations are seconds or timedeltas.

        ``idempotency_key``: a known key with the same payload returns the first job; with another payload it
        is an ``IdempotencyConflict``. Keys live as long as the record, at least ``dispatch_retain_key``. ``unique``:
        how it stands to others of its kind, instead of what the job declares.
        """
        chosen = JobOptions(
            delay=delay,
            run_at=run_at,
            expires=expires,
            queue=queue,
            priority=priority,
            idempotency_key=idempotency_key,
            retry=retry,
            timeout=timeout,
            unique=unique,
        )
        return BoundJob(self, chosen)

    def handle(self, id: str, /) -> JobHandle[R_co]:  # noqa: A002 - the word of the whole API
        """Return the handle of a stored id; nothing is read."""
        return cast("JobHandle[R_co]", self._enqueuer().handle_of(id, self))

    def _bound(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], options: JobOptions) -> Call[R_co]:
        arguments = self.typed.bind(args, kwargs)
        payload = self.typed.arguments.encode(arguments)
        return Call(self, payload, self.summary(arguments), options)

    def _as_call(
        self, call: Call[R_co] | tuple[Any, ...] | Mapping[str, Any], options: JobOptions | None = None
    ) -> Call[R_co]:
        if isinstance(call, Call):
            if call.definition is not self:
                raise PayloadError(f"{self.name}.enqueue_many was given a call of {call.definition.name}")
            return call if options is None else replace(call, options=options)
        if isinstance(call, tuple):
            return self._bound(call, {}, options or _NO_OPTIONS)
        if isinstance(call, Mapping):
            return self._bound((), call, options or _NO_OPTIONS)
        raise PayloadError(
            f"{self.name}.enqueue_many takes calls, tuples or dicts of arguments, not {type(call).__name__}"
        )

    def _enqueue(self, calls: list[Call[R_co]]) -> list[JobHandle[R_co]]:
        refuse_in_body(
            "{0}.enqueue()", "use wf.enqueue({0}, ...), or wf.run_job({0}, ...) to wait for its result", self.__name__
        )
        return cast("list[JobHandle[R_co]]", self._enqueuer().enqueue_calls(calls))


class BoundJob(Generic[P, R_co]):
    """A job with options for its next enqueues."""

    def __init__(self, definition: JobDefinition[P, R_co, Any], options: JobOptions) -> None:
        self._definition = definition
        self._options = options

    def bind(self, *args: P.args, **kwargs: P.kwargs) -> Call[R_co]:
        """Return a checked call with these options."""
        return self._definition._bound(args, kwargs, self._options)  # noqa: SLF001 - two halves of one definition

    def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> JobHandle[R_co]:
        """Store one durable job with these options; see ``JobDefinition.enqueue``."""
        return self._definition._enqueue([self.bind(*args, **kwargs)])[0]  # noqa: SLF001 - as above

    async def aenqueue(self, *args: P.args, **kwargs: P.kwargs) -> JobHandle[R_co]:
        """Do as ``enqueue``, without holding the event loop during the trip."""
        return (await asyncio.to_thread(self._definition._enqueue, [self.bind(*args, **kwargs)]))[0]  # noqa: SLF001 - as above

    def enqueue_many(
        self, calls: Iterable[Call[R_co] | tuple[Any, ...] | Mapping[str, Any]], /
    ) -> list[JobHandle[R_co]]:
        """Store many jobs with these options, which replace those of the calls."""
        return self._definition._enqueue(self._calls(calls))  # noqa: SLF001 - as above

    async def aenqueue_many(
        self, calls: Iterable[Call[R_co] | tuple[Any, ...] | Mapping[str, Any]], /
    ) -> list[JobHandle[R_co]]:
        """Do as ``enqueue_many``, without holding the event loop during the trips."""
        return await asyncio.to_thread(self._definition._enqueue, self._calls(calls))  # noqa: SLF001 - as above

    def _calls(self, calls: Iterable[Call[R_co] | tuple[Any, ...] | Mapping[str, Any]]) -> list[Call[R_co]]:
        return [self._definition._as_call(call, self._options) for call in calls]  # noqa: SLF001 - as above


def is_name(name: Any) -> bool:
    """Whether a job may have this name."""
    return isinstance(name, str) and 1 <= len(name) <= _LONGEST_NAME and name.isprintable() and " " not in name


def _check(fn: Any, name: str, queue: str | None, priority: int, retry: Any) -> None:
    if not inspect.isfunction(fn):
        raise ConfigurationError(f"a job is a function, not {fn!r}: wrap it in a def")
    if not is_name(name):
        raise ConfigurationError(
            f"a job's name must be 1 to {_LONGEST_NAME} printable characters without spaces, not {name!r}"
        )
    if queue is not None:
        check_queue(queue)
    check_priority(priority)
    if retry is not None and not isinstance(retry, Retry):
        raise ConfigurationError(f"{name}: retry must be a Retry, not {retry!r}")
    for parameter in inspect.signature(fn).parameters.values():
        if parameter.kind is parameter.VAR_POSITIONAL:
            raise ConfigurationError(
                f"{name}: '*{parameter.name}' cannot be stored by name; take a list parameter instead"
            )


def named_call(
    name: str,
    arguments: Mapping[str, Any],
    declared: JobDefinition[..., Any, Any] | None,
    *,
    enqueuer: Callable[[], Enqueuer],
) -> Call[Any]:
    """Return a call by name and keywords. Of a job declared elsewhere, only its worker knows the types.

    Raises:
        PayloadError: an argument is unknown, missing, does not fit, or is no JSON.
    """
    definition = declared or JobDefinition(_anything, name=name, enqueuer=enqueuer, remote=True)
    bound = definition.typed.bind((), arguments)
    payload = definition.typed.arguments.encode_plain(bound)
    return Call(definition, payload, definition.summary(arguments))


def _anything(**arguments: Any) -> Any:
    """Stand for a job of which only the name is known here."""
