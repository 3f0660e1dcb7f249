"""The parts of one app, each built at first use out of those below it: what ``Dispatch`` delegates to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TypeVar

from celery import Celery

from dispatch_celery.cluster.service import WorkerService
from dispatch_celery.cluster.store import ClusterStore
from dispatch_celery.codec import Codec
from dispatch_celery.config import Settings, load_settings
from dispatch_celery.cron.definition import CronDeclarations, CronOptions, Spelled, Target
from dispatch_celery.cron.firing import Firing
from dispatch_celery.cron.lead_store import LeadStore
from dispatch_celery.cron.registrar import Registrar
from dispatch_celery.cron.service import CronService
from dispatch_celery.cron.templates import Templates
from dispatch_celery.cron.timing import Timing
from dispatch_celery.dlq.listing import DeadLetterListing
from dispatch_celery.dlq.purging import Purges
from dispatch_celery.dlq.replaying import Replays
from dispatch_celery.dlq.returning import Returns
from dispatch_celery.dlq.service import DeadLetterService
from dispatch_celery.dlq.store import DeadLetterStore
from dispatch_celery.events.service import EventService
from dispatch_celery.events.store import EventStore
from dispatch_celery.extensions.registry import ExtensionRegistry
from dispatch_celery.ids import JobId, RunId
from dispatch_celery.jobs.catalogue import Catalogue
from dispatch_celery.jobs.definition import Enqueuer
from dispatch_celery.jobs.eager import EagerJobs
from dispatch_celery.jobs.listing import JobListing
from dispatch_celery.jobs.records import JobRecords
from dispatch_celery.jobs.registry import Registry
from dispatch_celery.jobs.service import JobService
from dispatch_celery.jobs.store import JobStore
from dispatch_celery.jobs.waiting import Results
from dispatch_celery.jobs.writing import JobWriter
from dispatch_celery.middleware.base import MiddlewareStack
from dispatch_celery.middleware.store import MiddlewareStore
from dispatch_celery.queues.model import Limit
from dispatch_celery.queues.service import QueueService
from dispatch_celery.queues.store import LimitStore
from dispatch_celery.store.client import RedisStore
from dispatch_celery.store.keys import Keys
from dispatch_celery.store.listener import Listener
from dispatch_celery.store.servertime import ServerTime
from dispatch_celery.work.ports import Observer
from dispatch_celery.worker.broker import Wiring, wire
from dispatch_celery.worker.celery_schedules import READERS, spell
from dispatch_celery.worker.declaring import Declarations
from dispatch_celery.worker.fleet import WorkerFleet
from dispatch_celery.worker.handlers import Handlers
from dispatch_celery.worker.publisher import BrokerPublisher
from dispatch_celery.worker.runtime import Runtime, is_shutdown
from dispatch_celery.workflows.ends import RunEnds
from dispatch_celery.workflows.records import RunRecords
from dispatch_celery.workflows.registry import WorkflowRegistry
from dispatch_celery.workflows.service import RunService
from dispatch_celery.workflows.store import RunStore

__all__ = ["Parts"]

TargetT = TypeVar("TargetT", bound=Target)


class Parts:
    """Everything one app is made of. Nothing is read from ``app.conf`` before a part that needs it is asked for."""

    def __init__(self) -> None:
        self.registry = Registry()
        self.workflows = WorkflowRegistry()
        self.middleware = MiddlewareStack(
            lambda: MiddlewareStore(self.store, self.keys, self.time, self.registry.result_codec, self.queues.pause)
        )
        self.handlers = Handlers(self.middleware)
        self.observer = ExtensionRegistry(awaiting=self.handlers.on_loop, is_shutdown=is_shutdown)
        self.time = ServerTime()
        self.cron_declarations = CronDeclarations()
        self.declared_limits: Mapping[str, Limit] = {}
        self.timing = Timing(READERS)
        self.declarations = Declarations(
            self.registry,
            self.workflows,
            enqueuer=lambda: self.enqueuer,
            engine=lambda: self.runtime,
            eager=lambda: self.eager,
            starter=lambda: self.runs,
        )

    @property
    def app(self) -> Celery:
        """The Celery app."""
        return self.declarations.app

    @cached_property
    def settings(self) -> Settings:
        """Every setting, read and validated once."""
        return load_settings({key: self.app.conf[key] for key in self.app.conf if str(key).startswith("dispatch_")})

    @cached_property
    def wiring(self) -> Wiring:
        """Which broker there is, and where the state lives."""
        return wire(self.app, self.settings)

    def make_store(self) -> RedisStore:
        """Return a new way to the state server, with connections of its own."""
        return RedisStore(self.settings, self.wiring.state_url, options=self.wiring.options)

    @cached_property
    def store(self) -> RedisStore:
        """The way to the state server that callers and tasks share."""
        return self.make_store()

    @cached_property
    def keys(self) -> Keys:
        """The keys of the state."""
        return Keys(self.settings.namespace)

    @cached_property
    def publisher(self) -> BrokerPublisher:
        """The way to the broker."""
        return self.wiring.publisher(self.app, lambda: self.store)

    @cached_property
    def listener(self) -> Listener:
        """What tells waiters."""
        return Listener(self.store)

    @cached_property
    def job_store(self) -> JobStore:
        """The scripts of jobs."""
        return JobStore(self.store, self.keys, self.settings, self.time)

    @cached_property
    def records(self) -> JobRecords:
        """Reads of jobs."""
        return JobRecords(self.store, self.keys)

    @cached_property
    def writer(self) -> JobWriter:
        """The way in for new jobs."""
        return JobWriter(
            store=self.job_store,
            publisher=self.publisher,
            observer=self.observer,
            catalogue=Catalogue(self.store, self.keys),
            default_queue=self.app.conf.task_default_queue,
        )

    @cached_property
    def results(self) -> Results:
        """Waiting for outcomes."""
        return Results(self.records, self.keys, self.listener, self.registry.result_codec)

    @cached_property
    def jobs(self) -> JobService:
        """The verbs of jobs."""
        return JobService(
            store=self.job_store,
            records=self.records,
            listing=JobListing(self.store, self.keys, self.records),
            writer=self.writer,
            results=self.results,
            observer=self.observer,
            max_payload=self.settings.max_payload,
            default_retry=self.settings.default_retry,
        )

    @cached_property
    def runs(self) -> RunService:
        """The verbs of runs."""

        def codec_of(name: str, version: int) -> Codec | None:
            definition = self.workflows.get(name, version)
            return None if definition is None else definition.typed.result

        return RunService(
            port=self.store,
            keys=self.keys,
            store=RunStore(self.store, self.keys, self.settings, self.time),
            jobs=self.job_store,
            stored=self.records,
            records=RunRecords(self.store, self.keys),
            registry=self.workflows,
            publisher=self.publisher,
            events=self.events,
            ends=RunEnds(self.records, self.keys, self.listener, codec_of),
            observer=self.observer,
            default_queue=self.app.conf.task_default_queue,
            max_payload=self.settings.max_payload,
            default_step_retry=self.settings.default_step_retry,
        )

    @cached_property
    def dlq(self) -> DeadLetterService:
        """The verbs of dead letters."""
        store = DeadLetterStore(self.store, self.keys, self.settings, self.time)
        return DeadLetterService(
            store=store,
            jobs=self.jobs,
            listing=DeadLetterListing(store, self.keys),
            replays=Replays(store, self.records, self.jobs, self.writer, self.observer, self.registry.declared),
            purges=Purges(self.records, self.job_store),
            returns=Returns(store, self.publisher),
        )

    def make_cron_store(self, store: RedisStore) -> LeadStore:
        """Return the scripts of cron, over connections of a thread's own."""
        return LeadStore(store, self.keys, self.settings, self.time)

    @cached_property
    def limits(self) -> LimitStore:
        """The scripts of limits."""
        return LimitStore(self.store, self.keys, self.settings, self.time)

    @cached_property
    def queues(self) -> QueueService:
        """The verbs of queues."""
        return QueueService(self.limits, ready=self.jobs.ready)

    @cached_property
    def crons(self) -> CronService:
        """The verbs of cron entries."""
        return CronService(
            store=self.make_cron_store(self.store),
            keys=self.keys,
            registrar=self.make_registrar(self.store),
            timing=self.timing,
            publisher=self.publisher,
            observer=self.observer,
        )

    def make_registrar(self, store: RedisStore) -> Registrar:
        """Return the way in for cron entries, over connections of a thread's own."""
        return Registrar(
            self.make_cron_store(store),
            Templates(self.registry, self.workflows, self.writer, self.runs, lambda: self.enqueuer),
            self.timing,
            self.cron_declarations,
            spell=spell,
            default_zone=lambda: str(self.app.conf.timezone or "UTC"),
            grace=self.settings.cron_grace,
        )

    def make_firing(self, store: RedisStore, observer: Observer, *, rank: int = 1) -> Firing:
        """Return the duty of whoever fires cron entries, over connections of its own."""

        def call_off(work_id: str, reason: str) -> object:
            if work_id.startswith(RunId.prefix):
                return self.runs.call_off(RunId(work_id), reason)
            return self.jobs.call_off(JobId(work_id), reason)

        return Firing(
            self.make_cron_store(store),
            self.publisher,
            observer,
            self.timing,
            self.settings,
            call_off=call_off,
            rank=rank,
        )

    def declare_cron(self, schedule: Spelled, name: str | None, options: CronOptions) -> Callable[[TargetT], TargetT]:
        """Return what takes a job or workflow in, to be fired by a schedule that is checked here."""
        words = spell(schedule)
        self.timing.window(options.timetable(words, "UTC")).check()

        def declare(target: TargetT) -> TargetT:
            self.cron_declarations.add(target, words, name, options)
            return target

        return declare

    @cached_property
    def workers(self) -> WorkerService:
        """The verbs of workers."""
        return WorkerService(ClusterStore(self.store, self.keys, self.settings, self.time))

    @cached_property
    def eager(self) -> EagerJobs:
        """Jobs run where they are enqueued."""
        return EagerJobs(
            self.handlers,
            propagate=bool(self.app.conf.task_eager_propagates),
            max_payload=self.settings.max_payload,
            default_retry=self.settings.default_retry,
        )

    @property
    def enqueuer(self) -> Enqueuer:
        """Where enqueued jobs go: to the state, or under ``task_always_eager`` straight to their handlers."""
        return self.eager if self.app.conf.task_always_eager else self.jobs

    @cached_property
    def runtime(self) -> Runtime:
        """What a worker process needs."""
        return Runtime(
            settings=self.settings,
            keys=self.keys,
            time=self.time,
            registry=self.registry,
            workflows=self.workflows,
            publisher=self.publisher,
            observer=self.observer,
            aside=self.observer.aside(),
            flush=self.observer.flush,
            handlers=self.handlers,
            make_store=self.make_store,
            task_store=self.store,
            app=self.app,
            writer=self.writer,
            dead_letters=self.dlq,
            fleet=self.fleet,
            events=self.events,
            make_registrar=self.make_registrar,
            make_firing=self.make_firing,
            declare_limits=lambda: self.queues.declare(self.declared_limits),
        )

    @cached_property
    def events(self) -> EventService:
        """The verbs of events."""
        return EventService(
            store=EventStore(self.store, self.keys, self.settings, self.time),
            work=self.job_store,
            keys=self.keys,
            publisher=self.publisher,
            nudge=lambda runs: RunStore(self.store, self.keys, self.settings, self.time).nudge(runs),
            observer=self.observer,
            max_payload=self.settings.max_payload,
        )

    @cached_property
    def fleet(self) -> WorkerFleet:
        """What runs send jobs and child runs through."""
        return WorkerFleet(
            writer=self.writer,
            jobs=self.jobs,
            runs=self.runs,
            store=self.job_store,
            publisher=self.publisher,
            observer=self.observer,
        )

    def close(self) -> None:
        """Close this process's connections and threads; the next use opens new ones."""
        self.observer.close()
        self.handlers.close()
        for part in ("listener", "publisher", "store"):
            if part in self.__dict__:
                self.__dict__[part].close()
