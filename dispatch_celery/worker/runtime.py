"""Builds what a worker process needs out of the app's parts: the executor in every process, the lifeline in main."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib.metadata import version
from typing import Any, Final

from billiard import common
from celery import Celery
from celery.exceptions import WorkerShutdown, WorkerTerminate

from dispatch_celery.cluster.keeper import Keeper
from dispatch_celery.cluster.reconcile import Reconcile
from dispatch_celery.cluster.recovery import DeadWorkers, Recovery
from dispatch_celery.cluster.store import ClusterStore
from dispatch_celery.config import Settings
from dispatch_celery.cron.firing import Firing
from dispatch_celery.cron.registrar import Registrar
from dispatch_celery.dlq.filing import DeadLetterFiles
from dispatch_celery.dlq.model import DeadLetterOrigin
from dispatch_celery.dlq.purging import Purges
from dispatch_celery.dlq.service import DeadLetterService
from dispatch_celery.dlq.store import DeadLetterStore
from dispatch_celery.dlq.upkeep import DeadLetterWatch
from dispatch_celery.errors import DispatchError
from dispatch_celery.events.service import Deliveries, EventService
from dispatch_celery.ids import JobId
from dispatch_celery.jobs.definition import Call
from dispatch_celery.jobs.keeping import JobKeeping
from dispatch_celery.jobs.records import JobRecords
from dispatch_celery.jobs.registry import Registry
from dispatch_celery.jobs.store import JobStore
from dispatch_celery.jobs.writing import JobWriter
from dispatch_celery.queues.permits import Permits
from dispatch_celery.queues.store import LimitStore
from dispatch_celery.service import Service
from dispatch_celery.store.channel import Channel
from dispatch_celery.store.client import RedisStore
from dispatch_celery.store.keys import Keys
from dispatch_celery.store.scripts import Word
from dispatch_celery.store.servertime import ServerTime
from dispatch_celery.work.model import WorkRef
from dispatch_celery.work.ports import Keeping, Observer, Publisher
from dispatch_celery.work.store import WorkStore
from dispatch_celery.work.upkeep import House, Marks, Retention, Revival, Timers, WakeUps
from dispatch_celery.worker.bootsteps import exit_now
from dispatch_celery.worker.checks import check_celery, check_server, refuse_unsafe
from dispatch_celery.worker.events import EventTeller
from dispatch_celery.worker.executor import Executor
from dispatch_celery.worker.flows import workflow_entry
from dispatch_celery.worker.handlers import Handlers
from dispatch_celery.worker.lifeline import Lifeline
from dispatch_celery.worker.overseer import Overseer
from dispatch_celery.worker.page import Page, PageSeat
from dispatch_celery.worker.runs import RunExecutor
from dispatch_celery.worker.steps import StepRunner
from dispatch_celery.worker.task import catalogue_entry
from dispatch_celery.worker.tracing import Tracing
from dispatch_celery.worker.unknown import give_back
from dispatch_celery.workflows.keeping import RunKeeping
from dispatch_celery.workflows.members import Fleet
from dispatch_celery.workflows.registry import WorkflowRegistry
from dispatch_celery.workflows.store import RunStore

__all__ = ["Runtime", "is_shutdown"]

logger = logging.getLogger(__name__)

_LAST_WORDS: Final = 2.0
"""Seconds that extensions have when a pool process ends."""


class Runtime:
    """The worker side of one app in one process tree."""

    def __init__(
        self,
        *,
        settings: Settings,
        keys: Keys,
        time: ServerTime,
        registry: Registry,
        workflows: WorkflowRegistry,
        publisher: Publisher,
        observer: Observer,
        aside: Observer,
        flush: Callable[[float], bool],
        handlers: Handlers,
        make_store: Callable[[], RedisStore],
        task_store: RedisStore,
        app: Celery,
        writer: JobWriter,
        dead_letters: DeadLetterService,
        fleet: Fleet,
        events: EventService,
        make_registrar: Callable[[RedisStore], Registrar],
        make_firing: Callable[[RedisStore, Observer], Firing],
        declare_limits: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._keys = keys
        self._time = time
        self._registry = registry
        self._workflows = workflows
        self._publisher = publisher
        self._observer = observer
        self._aside = aside
        self._flush = flush
        self._handlers = handlers
        self._make_store = make_store
        self._task_store = task_store
        self._app = app
        self._writer = writer
        self._dead_letters = dead_letters
        self._fleet = fleet
        self._events = events
        self._make_registrar = make_registrar
        self._make_firing = make_firing
        self._declare_limits = declare_limits
        self._firing: Firing | None = None
        self._jobs = JobStore(task_store, keys, settings, time)
        self._tracing: Tracing | None = None
        self._seat: PageSeat | None = None
        self._own_stores: list[RedisStore] = []

    def tracing(self) -> Tracing:
        """Return this process's executor, joined to Celery's tracer."""
        if self._tracing is None:
            seat = self._seated()
            executor = self._executor(seat, self._jobs, self._observer)
            self._tracing = Tracing(executor, self._run_executor(seat, self._task_store, self._observer))
        return self._tracing

    def _seated(self) -> PageSeat:
        if self._seat is None:
            raise RuntimeError("jobs run in a worker of their app: celery -A app worker")
        return self._seat

    def _executor(self, seat: PageSeat, jobs: JobStore, observer: Observer) -> Executor:
        return Executor(
            store=jobs,
            registry=self._registry,
            publisher=self._publisher,
            settings=self._settings,
            seat=seat,
            observer=observer,
            handler=self._handlers,
            unknown=self.give_back,
            is_shutdown=is_shutdown,
        )

    def _run_executor(self, seat: PageSeat, store: RedisStore, observer: Observer) -> RunExecutor:
        parts = (store, self._keys, self._settings, self._time)
        return RunExecutor(
            store=RunStore(*parts),
            jobs=WorkStore(*parts),
            registry=self._workflows,
            publisher=self._publisher,
            settings=self._settings,
            seat=seat,
            observer=observer,
            runner=StepRunner(seat, self._handlers),
            fleet=self._fleet,
            topics=self._events,
            step_retry=self._settings.default_step_retry,
            is_shutdown=is_shutdown,
        )

    def sit(self, seat: PageSeat) -> None:
        """Take the seat of this process tree, before the pool forks."""
        self._seat = seat
        self._tracing = None

    def enter_worker(self, page: Page, worker: Any, *, children: bool) -> Lifeline:
        """Build what a worker's main process needs. Its threads have connections of their own."""
        seat = self._seated()
        renewing, keeping = self._make_store(), self._make_store()
        self._own_stores = [renewing, keeping]
        jobs, records = JobStore(renewing, self._keys, self._settings, self._time), JobRecords(renewing, self._keys)
        cluster = ClusterStore(renewing, self._keys, self._settings, self._time)
        teller = EventTeller(self._aside, worker)
        recovery = self._recovery(renewing, teller)
        overseer = Overseer(
            page=page,
            executor=self._executor(seat, jobs, teller),
            runs=self._run_executor(seat, renewing, teller),
            records=records,
            recovery=recovery,
            settings=self._settings,
            holder=lambda: page.lease()[0],
            children=children,
        )
        return Lifeline(
            cluster=cluster,
            recovery=recovery,
            overseer=overseer,
            keeper=self._keeper(keeping, teller),
            page=page,
            keys=self._keys,
            settings=self._settings,
            channel=Channel(renewing),
            observer=self._aside,
            describe=lambda: (_description(worker), self._names()),
            on_forced=None if children else exit_now,
            on_known=self._make_registrar(renewing).touch,
        )

    def _recovery(self, store: RedisStore, observer: Observer) -> Recovery:
        return Recovery(
            store=WorkStore(store, self._keys, self._settings, self._time),
            records=JobRecords(store, self._keys),
            cluster=ClusterStore(store, self._keys, self._settings, self._time),
            publisher=self._publisher,
            kinds=self._kinds(store, observer),
            observer=observer,
        )

    def _kinds(self, store: RedisStore, observer: Observer) -> dict[str, Keeping]:
        parts = (store, self._keys, self._settings, self._time)
        return {
            "": JobKeeping(JobStore(*parts), self._settings, observer),
            "run-": RunKeeping(RunStore(*parts), self._settings, observer),
        }

    def _keeper(self, store: RedisStore, observer: Observer) -> Keeper:
        keys, publisher = self._keys, self._publisher
        work, records = WorkStore(store, keys, self._settings, self._time), JobRecords(store, keys)
        cluster = ClusterStore(store, keys, self._settings, self._time)
        recovery = self._recovery(store, observer)

        def duties(term: Callable[[], str]) -> list[Service]:
            house = House(
                store=work,
                records=records,
                keys=keys,
                publisher=publisher,
                kinds=self._kinds(store, observer),
                term=term,
            )
            cron: list[Service] = []
            if self._settings.cron:
                self._firing = self._make_firing(store, observer)
                cron.append(self._firing)
            return [
                *cron,
                DeadWorkers(cluster, recovery, term, self._aside),
                Timers(house),
                Marks(house),
                WakeUps(house, cluster.time),
                Revival(house),
                Retention(house),
                Reconcile(house, recovery),
                Deliveries(self._events),
                Permits(
                    store=LimitStore(store, keys, self._settings, self._time),
                    work=work,
                    records=records,
                    publisher=publisher,
                    term=term,
                ),
                *self._dead_letter_duties(store, term),
            ]

        return Keeper(
            cluster,
            self._settings,
            duties,
            on_change=lambda leader: self._aside("leader_changed", None, leader=leader),
        )

    def _dead_letter_duties(self, store: RedisStore, term: Callable[[], str]) -> list[Service]:
        parts = (store, self._keys, self._settings, self._time)
        purges = Purges(JobRecords(store, self._keys), JobStore(*parts))
        letters = DeadLetterStore(*parts)
        return [
            DeadLetterWatch(letters, purges, self._settings, term, self._observer),
            DeadLetterFiles(letters),
        ]

    def _names(self) -> Mapping[str, str]:
        mine = [definition for definition in self._registry if not definition.is_remote]
        names = {definition.name: catalogue_entry(definition).dump() for definition in mine}
        for workflow in self._workflows:
            names[workflow.name] = names[workflow.known_as] = workflow_entry(workflow).dump()
        return names

    def check(self) -> None:
        """Look at the server and at Celery's settings before the worker starts.

        Raises:
            UnsupportedServer: something would lose jobs; the message names the setting and the remedy.
            StoreUnavailable: the server does not answer.
        """
        findings = [*check_server(self._task_store, self._settings), *check_celery(self._app.conf)]
        for finding in findings:
            logger.warning("unsafe: %s", finding)
        refuse_unsafe(findings)

    def declare(self) -> None:
        """Register the cron entries and limits that this app declares.

        Raises:
            StoreUnavailable: the server does not answer.
        """
        written = self._make_registrar(self._task_store).declare()
        if written:
            logger.info("registered %d cron entries", written)
        self._declare_limits()

    @property
    def shutdown_grace(self) -> int:
        """Milliseconds running jobs have after SIGTERM."""
        return self._settings.shutdown_grace

    # -- what tasks and guards ask for

    def write_call(self, call: Call[Any], *, job_id: JobId, extra: Mapping[str, Any]) -> JobId:
        """Store and publish one job under an id."""
        (found,) = self._writer.write([self._writer.new_job(call, job_id=job_id, extra=extra)])
        return found

    def bury(self, *, queue: str | None, raw: bytes, reason: str, task: str = "") -> None:
        """Keep a message that cannot be a job as a raw dead letter; ``task``: the plain one it names, if unknown."""
        origin = DeadLetterOrigin.UNKNOWN_TASK if task else DeadLetterOrigin.MESSAGE
        self._dead_letters.bury(raw, queue=queue or "", reason=reason, name=task, origin=origin)

    def knows(self, ref: WorkRef) -> bool:
        """Whether this app declares the version of the workflow that a run is of."""
        return self._workflows.get(ref.name, ref.version) is not None

    def give_back(self, ref: WorkRef) -> None:
        """Delay the wake-up of work that this worker does not know."""
        runs = RunStore(self._task_store, self._keys, self._settings, self._time)
        give_back(self._jobs, runs, ref, self._observer, self._settings)

    def leave_process(self) -> None:
        """Let the hooks of a pool process hear what they were not told yet, before it ends."""
        self._flush(_LAST_WORDS)

    def leave_worker(self) -> None:
        """Tell extensions, and close what the process used."""
        self._observer("shutdown", None)
        if self._firing is not None:
            with suppress(DispatchError):  # its lead ends by itself soon
                self._firing.resign()
        self._handlers.close()
        for store in self._own_stores:
            store.close()


def is_shutdown(error: BaseException) -> bool:
    """Whether an error ends this process, and is not its handler's: Celery's own, or a stop sent to every process."""
    told = isinstance(error, SystemExit) and bool(common._should_have_exited[0])  # noqa: SLF001 - its only sign
    return told or isinstance(error, WorkerShutdown | WorkerTerminate)


def _description(worker: Any) -> Mapping[str, Word]:
    pool = str(getattr(worker.pool_cls, "__module__", "")).rpartition(".")[2]
    return {
        "name": str(worker.hostname),
        "hostname": socket.gethostname(),
        "pid": os.getpid(),
        "pool": pool,
        "concurrency": int(worker.concurrency or 1),
        "queues": ",".join(sorted(worker.app.amqp.queues.consume_from)),
        "release": version("dispatch-celery"),
    }
