"""The Celery face of a job: Celery's verbs for callers, on the same durable path, and the task that workers run.

``delay`` and ``apply_async`` store a job as ``enqueue`` does, but validate leniently (Celery users send what
JSON makes of things) and return Celery's ``AsyncResult``. Options that cannot be honoured are refused by name.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, ParamSpec, Protocol, TypeVar, cast, overload

from billiard.einfo import ExceptionWithTraceback
from celery import Celery, Task
from celery.canvas import Signature
from celery.exceptions import Terminated, WorkerLostError
from celery.result import AsyncResult
from celery.worker.request import Request
from celery.worker.state import task_ready

from dispatch_celery.clock import Duration
from dispatch_celery.errors import ConfigurationError, InvalidId
from dispatch_celery.ids import JobId
from dispatch_celery.jobs.catalogue import CatalogueEntry
from dispatch_celery.jobs.definition import Call, JobDefinition
from dispatch_celery.jobs.eager import EagerJobs
from dispatch_celery.jobs.options import JobOptions
from dispatch_celery.work.body import refuse_in_body
from dispatch_celery.work.model import WorkRef
from dispatch_celery.worker.tracing import Revoked, Tracing

__all__ = [
    "Engine",
    "Job",
    "JobDecorator",
    "JobTask",
    "catalogue_entry",
    "job_id_of",
    "job_name",
    "lenient_call",
    "register_task",
]

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
C_co = TypeVar("C_co", covariant=True)

logger = logging.getLogger(__name__)

_CANVAS: Final = ("group_id", "group_index", "root_id", "parent_id", "chain", "chord")
_IGNORED: Final = frozenset(
    {
        *("producer", "connection", "router", "publisher", "add_to_parent", "reply_to", "retry", "retry_policy"),
        *("ignore_result", "delivery_mode", "exchange", "routing_key", "serializer", "stamped_headers", "stamps"),
        *("argsrepr", "kwargsrepr", "root_id", "parent_id", "replaced_task_nesting", "origin", "shadow", "task_type"),
    }
)
"""What Celery's own canvas and beat pass along, and what has no meaning for a job but harms nothing."""


class Engine(Protocol):
    """What a task asks of the app's composition."""

    def write_call(self, call: Call[Any], *, job_id: JobId, extra: Mapping[str, Any]) -> JobId:
        """Store and publish one job under an id."""
        ...

    def tracing(self) -> Tracing:
        """Return this process's executor, joined to Celery's tracer."""
        ...

    def bury(self, *, queue: str | None, raw: bytes, reason: str) -> None:
        """Keep a message that cannot be a job as a raw dead letter."""
        ...

    def knows(self, ref: WorkRef) -> bool:
        """Whether this app declares the version of the workflow that a run is of."""
        ...

    def give_back(self, ref: WorkRef) -> None:
        """Delay the wake-up of work that this worker does not know."""
        ...


class Job(JobDefinition[P, R_co, C_co]):
    """A declared job, with Celery's verbs."""

    _task: JobTask | None = None

    @property
    def task(self) -> JobTask:
        """The Celery task of this job.

        Raises:
            ConfigurationError: it has none: its ``Dispatch`` has no app yet, or only other workers run it.
        """
        if self._task is None:
            why = "only other workers run it: enqueue() it" if self.is_remote else "it has no app yet: init_app(app)"
            raise ConfigurationError(f"{self.name} is no Celery task here: {why}")
        return self._task

    @task.setter
    def task(self, task: JobTask) -> None:
        self._task = task

    def delay(self, *args: P.args, **kwargs: P.kwargs) -> AsyncResult[R_co]:
        """Store one durable job; Celery's ``delay``."""
        return cast("AsyncResult[R_co]", self.task.apply_async(args, kwargs))

    def apply_async(self, args: Any = None, kwargs: Any = None, **options: Any) -> AsyncResult[R_co]:
        """Store one durable job; Celery's ``apply_async``."""
        return cast("AsyncResult[R_co]", self.task.apply_async(args, kwargs, **options))

    def s(self, *args: Any, **kwargs: Any) -> Signature[R_co]:
        """Return a signature, for chains, groups and chords. Their hand-over is Celery's and not durable."""
        return cast("Signature[R_co]", self.task.s(*args, **kwargs))

    def si(self, *args: P.args, **kwargs: P.kwargs) -> Signature[R_co]:
        """Return a signature that takes no result from the task before it."""
        return cast("Signature[R_co]", self.task.si(*args, **kwargs))

    def signature(self, *args: Any, **kwargs: Any) -> Signature[R_co]:
        """Return a signature; Celery's ``signature``."""
        return cast("Signature[R_co]", self.task.signature(*args, **kwargs))

    def apply(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        """Run here and return Celery's ``EagerResult``; nothing durable."""
        return self.task.apply(args, kwargs, **options)


class JobDecorator(Protocol):
    """What ``@dispatch.job(...)`` returns: makes a job of a sync or async function."""

    @overload
    def __call__(self, fn: Callable[P, Coroutine[Any, Any, R]], /) -> Job[P, R, Coroutine[Any, Any, R]]: ...
    @overload
    def __call__(self, fn: Callable[P, R], /) -> Job[P, R, R]: ...


class JobRequest(Request):  # type: ignore[misc]  # Celery ships no types
    """Celery's view of one wake-up in the main process: the death of a child is ours to tell, not Celery's."""

    def on_failure(self, exc_info: Any, send_failed_event: bool = True, return_ok: bool = False) -> Any:  # noqa: FBT001, FBT002 - Celery's signature
        """Let Celery tell what the handler raised; a lost process is settled, and told, by the overseer."""
        error = exc_info.exception
        if isinstance(error, ExceptionWithTraceback):
            error = error.exc
        if not return_ok and isinstance(error, WorkerLostError | Terminated | SystemExit | KeyboardInterrupt):
            logger.warning("%s[%s]: its process was lost; the job is recovered", self.name, self.id)
            task_ready(self)
            return None
        if isinstance(error, Revoked):
            self.send_event("task-revoked", terminated=False, signum=None, expired=False)
        return super().on_failure(exc_info, send_failed_event=send_failed_event, return_ok=return_ok)


class JobTask(Task):  # type: ignore[misc]  # Celery ships no types
    """The task of a job. Its message carries no arguments; the record does."""

    abstract = True
    typing = False
    acks_late = False
    max_retries = None
    reject_on_worker_lost = False
    track_started = False
    Request = "dispatch_celery.worker.task:JobRequest"
    Strategy = "dispatch_celery.worker.strategy:job_strategy"

    definition: Job[..., Any, Any]
    engine: Callable[[], Engine]
    _tracer: Any = None

    @property
    def __trace__(self) -> Any:
        return None if self._tracer is None else self._traced

    @__trace__.setter
    def __trace__(self, tracer: Any) -> None:
        self._tracer = tracer

    def _traced(self, uuid: str, args: Any, kwargs: Any, request: Any = None) -> Any:
        return self.engine().tracing().trace(self._tracer, self.name, uuid, args, kwargs, request)

    def apply_async(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        *,
        task_id: str | None = None,
        countdown: Duration | None = None,
        eta: datetime | None = None,
        expires: Any = None,
        queue: Any = None,
        priority: int | None = None,
        headers: Mapping[str, Any] | None = None,
        link: Any = None,
        link_error: Any = None,
        **options: Any,
    ) -> Any:
        """Store one durable job. ``countdown`` and ``eta`` become timers in the state, never a wait in a worker."""
        refuse_in_body(
            "{0}.apply_async()", "use wf.enqueue({0}, ...), or wf.run_job({0}, ...)", self.definition.__name__
        )
        if self.app.conf.task_always_eager:
            return self.apply(args, kwargs, task_id=task_id, link=link, link_error=link_error, **_eager(options))
        self._refuse(options)
        call = lenient_call(self.definition, tuple(args or ()), kwargs or {})
        chosen = JobOptions(
            delay=countdown,
            run_at=eta,
            expires=expires,
            queue=getattr(queue, "name", queue),
            priority=priority,
            headers=dict(headers or {}),
        )
        job_id = JobId.mint() if task_id is None else job_id_of(task_id)
        extra: dict[str, Any] = {} if task_id in (None, job_id) else {"celery_id": task_id}
        canvas = {name: options[name] for name in _CANVAS if options.get(name) is not None}
        canvas |= {name: _signatures(part) for name, part in (("callbacks", link), ("errbacks", link_error)) if part}
        if canvas:
            extra["canvas"] = canvas
        bound = Call(self.definition, call.payload, call.summary, chosen)
        found = self.engine().write_call(bound, job_id=job_id, extra=extra)
        return self.AsyncResult(str(found) if found != job_id else task_id or str(job_id))

    def apply(self, *args: Any, **kwargs: Any) -> Any:
        """Run the job here and return Celery's ``EagerResult``; nothing durable."""
        # Where Celery's tracer runs, an error would become part of that result.
        refuse_in_body("{0}.apply()", "use wf.run_job({0}, ...)", self.definition.__name__)
        return super().apply(*args, **kwargs)

    def _refuse(self, options: Mapping[str, Any]) -> None:
        unknown = sorted(
            name
            for name, value in options.items()
            if value is not None and name not in _IGNORED and name not in _CANVAS
        )
        if unknown:
            raise ConfigurationError(
                f"{self.name}.apply_async: a job cannot honour {', '.join(unknown)}; it knows countdown, eta, expires,"
                " queue, priority, headers, task_id, link and link_error (timeouts and retries belong to the job)"
            )


def _eager(options: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value for name, value in options.items() if name in ("chain", "chord", "group_id", "root_id", "parent_id")
    }


def _signatures(parts: Any) -> list[Any]:
    return list(parts) if isinstance(parts, list | tuple) and not isinstance(parts, Signature) else [parts]


def job_id_of(task_id: str) -> JobId:
    """Return the job a Celery task id stands for: itself, or the one derived from a foreign id."""
    try:
        return JobId.parse(task_id)
    except InvalidId:
        return JobId.adopt(str(task_id))


def lenient_call(
    definition: JobDefinition[..., Any, Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Call[Any]:
    """Return a call of arguments as Celery's verbs and foreign messages bring them: what JSON made of the types.

    Raises:
        PayloadError: an argument is unknown, missing, or cannot be what its annotation says.
    """
    arguments = definition.typed.bind(args, kwargs)
    payload = definition.typed.arguments.encode_plain(arguments, strict=False)
    return Call(definition, payload, definition.summary(arguments))


def register_task(
    app: Celery, definition: Job[..., Any, Any], engine: Callable[[], Engine], eager: Callable[[], EagerJobs]
) -> JobTask:
    """Make the Celery task of a job. Composes with the app's own task class, whatever that is."""
    base = type("JobTask", (JobTask, app.Task), {"abstract": True})

    def body(*args: Any, **kwargs: Any) -> Any:
        execution = Tracing.claimed()
        if execution is not None:
            return engine().tracing().perform(execution)
        refuse_in_body("{0}()", "use wf.run_job({0}, ...)", definition.__name__)
        return eager().run(definition, lenient_call(definition, args, kwargs).payload)

    for name in ("__name__", "__qualname__", "__module__", "__doc__"):
        setattr(body, name, getattr(definition, name))
    decorate: Callable[[Any], Any] = app.task(
        name=definition.name, base=base, shared=False, definition=definition, engine=staticmethod(engine)
    )
    task: JobTask = decorate(body)
    return task


def job_name(fn: Any, options: dict[str, Any]) -> str:
    """Take the name out of a declaration's options; by default, module and function.

    Raises:
        ConfigurationError: an option is Celery's, and a job has something better.
    """
    if options.pop("bind", False):
        raise ConfigurationError("bind=True is Celery's: inside a job, current_job() tells id, attempt and the rest")
    return options.pop("name", None) or f"{fn.__module__}.{fn.__qualname__}"


def catalogue_entry(definition: JobDefinition[..., Any, Any]) -> CatalogueEntry:
    """Return what by-name callers need of a job."""
    return CatalogueEntry(
        queue=definition.queue,
        priority=definition.priority,
        max_attempts=definition.retry_policy.max_attempts,
        timeout=definition.timeout_ms,
    )
