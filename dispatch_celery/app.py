"""The composition root: one ``Dispatch`` per Celery app builds every part, wires them, and delegates.

Nothing is read from ``app.conf`` until something is asked for, so a module may declare jobs before its app is
configured.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Iterable
from functools import cached_property, partial
from typing import Any, ParamSpec, Protocol, TypeVar, cast, overload

from celery import Celery

from dispatch_celery.clock import Duration
from dispatch_celery.cluster.service import Stats, WorkerService
from dispatch_celery.cluster.store import ClusterStore
from dispatch_celery.config import Settings, load_settings
from dispatch_celery.dlq.service import DeadLetterService
from dispatch_celery.dlq.store import DeadLetterStore
from dispatch_celery.errors import ConfigurationError
from dispatch_celery.extensions.base import Extension
from dispatch_celery.extensions.registry import ExtensionRegistry
from dispatch_celery.jobs.definition import Call, Enqueuer, named_call
from dispatch_celery.jobs.eager import EagerJobs
from dispatch_celery.jobs.handle import JobHandle
from dispatch_celery.jobs.records import JobRecords
from dispatch_celery.jobs.registry import Registry
from dispatch_celery.jobs.service import JobService
from dispatch_celery.jobs.store import JobStore
from dispatch_celery.middleware.base import Middleware, MiddlewareStack
from dispatch_celery.retry import Retry
from dispatch_celery.store.client import RedisStore
from dispatch_celery.store.keys import Keys
from dispatch_celery.store.listener import Listener
from dispatch_celery.store.replies import ask
from dispatch_celery.store.scripts import Call as StoreCall
from dispatch_celery.store.servertime import ServerTime
from dispatch_celery.worker.backend import install_backend
from dispatch_celery.worker.bootsteps import install_steps
from dispatch_celery.worker.broker import Wiring, install_transport, wire
from dispatch_celery.worker.checks import Finding, check_celery, check_server
from dispatch_celery.worker.guard import guard_step
from dispatch_celery.worker.handlers import Handlers
from dispatch_celery.worker.publisher import BrokerPublisher
from dispatch_celery.worker.runtime import Runtime
from dispatch_celery.worker.task import Job, register_task

__all__ = ["Dispatch", "JobDecorator"]

logger = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")


class JobDecorator(Protocol):
    """What ``@dispatch.job(...)`` returns: makes a job of a sync or async function."""

    @overload
    def __call__(self, fn: Callable[P, Coroutine[Any, Any, R]], /) -> Job[P, R, Coroutine[Any, Any, R]]: ...
    @overload
    def __call__(self, fn: Callable[P, R], /) -> Job[P, R, R]: ...


class Dispatch:
    """Durable jobs for one Celery app."""

    def __init__(self, app: Celery | None = None) -> None:
        self._app = app
        self._registry = Registry()
        self._middleware = MiddlewareStack()
        self._observer = ExtensionRegistry()
        self._handlers = Handlers(self._middleware)
        self._time = ServerTime()
        self._undeclared: list[Job[..., Any, Any]] = []
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Celery) -> None:
        """Join this object to an app; for ``Dispatch()`` made before it."""
        if self._app is not None and self._app is not app:
            raise ConfigurationError("this Dispatch belongs to another Celery app already")
        self._app = app
        install_steps(app, lambda: self._runtime)
        app.steps["consumer"].add(guard_step(lambda: self._runtime))
        install_backend(app, lambda: self.jobs)
        install_transport(app, lambda: self.settings.transport, self._keep_undecodable)
        for definition in self._undeclared:
            definition.task = register_task(app, definition, lambda: self._runtime)
        self._undeclared.clear()
        # Found again by the command line, which is given the app only.
        app.dispatch = self

    def _keep_undecodable(self, *, queue: str, raw: bytes, reason: str) -> None:
        self.dlq.bury(raw, queue=queue, reason=reason)

    # -- declaring

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
    ) -> JobDecorator: ...
    def job(self, fn: Any = None, /, **options: Any) -> Any:
        """Make a function a durable job; bare or with options. ``name`` defaults to module and function."""
        if fn is not None:
            return self._declare(fn, options)
        return lambda function: self._declare(function, options)

    def remote(self, name: str, /, *, queue: str | None = None) -> JobDecorator:
        """Declare a job that other workers run: a typed, empty function, to enqueue by."""
        decorate = partial(self._declare, options={"name": name, "queue": queue, "remote": True})
        return cast("JobDecorator", decorate)

    def _declare(self, fn: Any, options: dict[str, Any]) -> Job[..., Any, Any]:
        if options.pop("bind", False):
            raise ConfigurationError(
                "bind=True is Celery's: inside a job, current_job() tells id, attempt and the rest"
            )
        name = options.pop("name", None) or f"{fn.__module__}.{fn.__qualname__}"
        definition: Job[..., Any, Any] = Job(fn, name=name, enqueuer=self._enqueuer, **options)
        self._registry.add(definition)
        if definition.is_remote:
            return definition
        if self._app is None:
            self._undeclared.append(definition)
        else:
            definition.task = register_task(self._app, definition, lambda: self._runtime)
        return definition

    def add_middleware(self, middleware: Middleware) -> None:
        """Wrap every execution in a callable ``(context, call_next)``, inside of those added before."""
        self._middleware.add(middleware)

    def add_extension(self, extension: Extension) -> None:
        """Let an extension hear of every transition this process makes."""
        self._observer.add(extension)

    # -- parts, each built at first use

    @property
    def app(self) -> Celery:
        """The Celery app."""
        if self._app is None:
            raise ConfigurationError("this Dispatch has no Celery app yet: Dispatch(app), or dispatch.init_app(app)")
        return self._app

    @cached_property
    def settings(self) -> Settings:
        """Every setting, read and validated once."""
        return load_settings({key: self.app.conf[key] for key in self.app.conf if str(key).startswith("dispatch_")})

    @cached_property
    def _wiring(self) -> Wiring:
        return wire(self.app, self.settings)

    def _make_store(self) -> RedisStore:
        return RedisStore(self.settings, self._wiring.state_url, options=self._wiring.options)

    @cached_property
    def _store(self) -> RedisStore:
        return self._make_store()

    @cached_property
    def _keys(self) -> Keys:
        return Keys(self.settings.namespace)

    @cached_property
    def _publisher(self) -> BrokerPublisher:
        return self._wiring.publisher(self.app, lambda: self._store)

    @cached_property
    def _listener(self) -> Listener:
        return Listener(self._store)

    @cached_property
    def _job_store(self) -> JobStore:
        return JobStore(self._store, self._keys, self.settings, self._time)

    @cached_property
    def jobs(self) -> JobService:
        """The verbs of jobs: get, list, count, cancel, retry, run_now, handle."""
        return JobService(
            store=self._job_store,
            records=JobRecords(self._store, self._keys),
            keys=self._keys,
            settings=self.settings,
            publisher=self._publisher,
            listener=self._listener,
            observer=self._observer,
            default_queue=self.app.conf.task_default_queue,
            codec_of=self._registry.result_codec,
        )

    @cached_property
    def dlq(self) -> DeadLetterService:
        """The verbs of dead letters: list, get, count, replay, replay_all, purge."""
        return DeadLetterService(
            store=DeadLetterStore(self._store, self._keys, self.settings, self._time),
            records=JobRecords(self._store, self._keys),
            jobs=self.jobs,
        )

    @cached_property
    def workers(self) -> WorkerService:
        """The verbs of workers: list, get, leader."""
        return WorkerService(ClusterStore(self._store, self._keys, self.settings, self._time))

    @cached_property
    def _eager(self) -> EagerJobs:
        propagate = bool(self.app.conf.task_eager_propagates)
        settings = self.settings
        return EagerJobs(
            self._handlers,
            propagate=propagate,
            max_payload=settings.max_payload,
            default_retry=settings.default_retry,
        )

    @cached_property
    def _runtime(self) -> Runtime:
        return Runtime(
            settings=self.settings,
            keys=self._keys,
            time=self._time,
            registry=self._registry,
            publisher=self._publisher,
            observer=self._observer,
            handlers=self._handlers,
            make_store=self._make_store,
            task_store=self._store,
            app=self.app,
            service=self.jobs,
            dead_letters=self.dlq,
            eager=self._eager,
        )

    def _enqueuer(self) -> Enqueuer:
        return self._eager if self.app.conf.task_always_eager else self.jobs

    # -- enqueueing by name, and many at once

    def enqueue(self, name: str, /, **arguments: Any) -> JobHandle[Any]:
        """Store one durable job by name. One this app declares is checked; others, only its worker can."""
        call = named_call(name, arguments, self._registry.declared(name), enqueuer=self._enqueuer)
        return self._enqueuer().enqueue_calls([call])[0]

    def enqueue_many(self, calls: Iterable[Call[Any]], /) -> list[JobHandle[Any]]:
        """Store many jobs of any kind in bounded batches; return their handles in order."""
        return self._enqueuer().enqueue_calls(list(calls))

    # -- health

    def ping(self) -> bool:
        """Return whether the state server answers.

        Raises:
            StoreUnavailable: it does not.
        """
        return bool(ask(self._store, StoreCall.command("PING")) == b"PONG")

    def stats(self) -> Stats:
        """Return how many jobs there are in each state, how many wait in each queue, and who works."""
        workers = self.workers.list().records
        return Stats(jobs=self.jobs.count(), ready=self.jobs.ready(), dead_letters=self.dlq.count(), workers=workers)

    def doctor(self) -> list[Finding]:
        """Return every unsafe setting of the state server and of Celery, each with its remedy."""
        return [*check_server(self._store, self.settings), *check_celery(self.app.conf)]

    def close(self) -> None:
        """Close this process's connections and threads; the next use opens new ones."""
        self._handlers.close()
        for part in ("_listener", "_publisher", "_store"):
            if part in self.__dict__:
                self.__dict__[part].close()
