"""The composition root: one ``Dispatch`` per Celery app builds every part, wires them, and delegates.

Nothing is read from ``app.conf`` until something is asked for, so a module may declare jobs before its app is
configured.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from typing import Any, ParamSpec, TypeVar

from celery import Celery
from typing_extensions import TypeForm

from dispatch_celery.cluster.census import Census, take_census
from dispatch_celery.cluster.service import Stats, WorkerService
from dispatch_celery.config import Settings
from dispatch_celery.cron.service import CronService
from dispatch_celery.decorators import Declaring
from dispatch_celery.dlq.service import DeadLetterService
from dispatch_celery.events.model import Event
from dispatch_celery.events.service import EventService
from dispatch_celery.extensions.base import Extension
from dispatch_celery.jobs.definition import Call, named_call
from dispatch_celery.jobs.handle import JobHandle
from dispatch_celery.jobs.service import JobService
from dispatch_celery.middleware.base import Middleware
from dispatch_celery.parts import Parts
from dispatch_celery.queues.model import Limit, checked_limits
from dispatch_celery.queues.service import QueueService
from dispatch_celery.store.replies import ask
from dispatch_celery.store.scripts import Call as StoreCall
from dispatch_celery.work.body import refuse_in_body
from dispatch_celery.worker.backend import install_backend
from dispatch_celery.worker.beat import install_beat
from dispatch_celery.worker.bootsteps import install_steps
from dispatch_celery.worker.broker import install_transport
from dispatch_celery.worker.checks import Finding, check_celery, check_cron, check_server
from dispatch_celery.worker.guard import guard_step
from dispatch_celery.workflows.handle import RunHandle
from dispatch_celery.workflows.service import RunService

__all__ = ["Dispatch"]

logger = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class Dispatch(Declaring):
    """Durable jobs for one Celery app."""

    def __init__(self, app: Celery | None = None, *, queues: Mapping[str, Limit] | None = None) -> None:
        """Join an app, now or by ``init_app``. ``queues``: limits, set when a worker starts after they have changed."""
        super().__init__(Parts())
        self._parts.declared_limits = checked_limits(queues or {})
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Celery) -> None:
        """Join this object to an app; for ``Dispatch()`` made before it."""
        self._parts.declarations.join(app)
        install_steps(app, lambda: self._parts.runtime)
        app.steps["consumer"].add(guard_step(lambda: self._parts.runtime))
        install_backend(app, lambda: self.jobs, lambda: self._parts.results)
        install_transport(app, lambda: self.settings.transport, self._keep_undecodable)
        install_beat(app, lambda: self._parts)
        # Found again by the command line, which is given the app only.
        app.dispatch = self

    def _keep_undecodable(self, *, queue: str, raw: bytes, reason: str) -> None:
        self.dlq.bury(raw, queue=queue, reason=reason)

    # -- extending

    def add_middleware(self, middleware: Middleware) -> None:
        """Wrap every attempt of a job or step in a callable ``(context, call_next)``, inside of those added before."""
        self._parts.middleware.add(middleware)

    def add_extension(self, extension: Extension) -> None:
        """Let an extension hear of every transition this process makes."""
        self._parts.observer.add(extension)

    # -- parts

    @property
    def app(self) -> Celery:
        """The Celery app."""
        return self._parts.app

    @property
    def settings(self) -> Settings:
        """Every setting, read and validated once."""
        return self._parts.settings

    def event(self, name: str, payload: TypeForm[T], /) -> Event[T]:
        """Declare an event, a topic that runs wait at: its name, and the type of what is published under it."""
        return Event(name, payload)

    @property
    def events(self) -> EventService:
        """The verbs of events: publish, get, list."""
        return self._parts.events

    @property
    def jobs(self) -> JobService:
        """The verbs of jobs: get, list, count, cancel, retry, run_now, handle."""
        return self._parts.jobs

    @property
    def runs(self) -> RunService:
        """The verbs of runs: start, get, state, list, count, cancel, resume, timeline, handle."""
        return self._parts.runs

    @property
    def dlq(self) -> DeadLetterService:
        """The verbs of dead letters: list, get, count, replay, replay_all, purge."""
        return self._parts.dlq

    @property
    def queues(self) -> QueueService:
        """The verbs of queues: limit, unlimit, get, list, pause, resume."""
        return self._parts.queues

    @property
    def crons(self) -> CronService:
        """The verbs of cron entries: register, list, get, enable, disable, trigger, delete."""
        return self._parts.crons

    @property
    def workers(self) -> WorkerService:
        """The verbs of workers: list, get, leader."""
        return self._parts.workers

    # -- enqueueing by name, and many at once

    def enqueue(self, name: str, /, **arguments: Any) -> JobHandle[Any]:
        """Store one durable job by name. One this app declares is checked; others, only its worker can."""
        refuse_in_body("dispatch.enqueue({0!r})", "use wf.enqueue or wf.run_job of a @dispatch.remote({0!r})", name)
        call = named_call(name, arguments, self._parts.registry.declared(name), enqueuer=lambda: self._parts.enqueuer)
        return self._parts.enqueuer.enqueue_calls([call])[0]

    def start(self, name: str, /, **arguments: Any) -> RunHandle[Any]:
        """Start the latest version of a workflow by name, with its arguments by keyword."""
        return self._parts.runs.start(name, **arguments)

    def enqueue_many(self, calls: Iterable[Call[Any]], /) -> list[JobHandle[Any]]:
        """Store many jobs of any kind in bounded batches; return their handles in order."""
        refuse_in_body("dispatch.enqueue_many()", "use wf.map(job, items), or wf.gather(job.bind(...), ...)")
        return self._parts.enqueuer.enqueue_calls(list(calls))

    # -- health

    def ping(self) -> bool:
        """Return whether the state server answers.

        Raises:
            StoreUnavailable: it does not.
        """
        return bool(ask(self._parts.store, StoreCall.command("PING")) == b"PONG")

    def stats(self) -> Stats:
        """Return how many jobs there are in each state, how many wait in each queue, and who works."""
        workers = self.workers.list().records
        return Stats(jobs=self.jobs.count(), ready=self.jobs.ready(), dead_letters=self.dlq.count(), workers=workers)

    def census(self) -> Census:
        """Return how much of everything there is, in two bounded trips: what measures are made of."""
        return take_census(self._parts.store, self._parts.keys)

    def doctor(self) -> list[Finding]:
        """Return what is unsafe in the state server and Celery, and whether nobody fires, each with its remedy."""
        server, celery = check_server(self._parts.store, self.settings), check_celery(self.app.conf)
        return [*server, *celery, *check_cron(self.crons.census())]

    def close(self) -> None:
        """Close this process's connections and threads; the next use opens new ones."""
        self._parts.close()

    # -- the same on an event loop, written by .ci/make_twins.py

    async def aenqueue(self, name: str, /, **arguments: Any) -> JobHandle[Any]:
        """Do as ``enqueue``, without holding the event loop."""
        return await asyncio.to_thread(self.enqueue, name, **arguments)

    async def astart(self, name: str, /, **arguments: Any) -> RunHandle[Any]:
        """Do as ``start``, without holding the event loop."""
        return await asyncio.to_thread(self.start, name, **arguments)

    async def aenqueue_many(self, calls: Iterable[Call[Any]], /) -> list[JobHandle[Any]]:
        """Do as ``enqueue_many``, without holding the event loop."""
        return await asyncio.to_thread(self.enqueue_many, calls)

    async def aping(self) -> bool:
        """Do as ``ping``, without holding the event loop."""
        return await asyncio.to_thread(self.ping)

    async def astats(self) -> Stats:
        """Do as ``stats``, without holding the event loop."""
        return await asyncio.to_thread(self.stats)

    async def acensus(self) -> Census:
        """Do as ``census``, without holding the event loop."""
        return await asyncio.to_thread(self.census)

    async def adoctor(self) -> list[Finding]:
        """Do as ``doctor``, without holding the event loop."""
        return await asyncio.to_thread(self.doctor)

    async def aclose(self) -> None:
        """Do as ``close``, without holding the event loop."""
        await asyncio.to_thread(self.close)
