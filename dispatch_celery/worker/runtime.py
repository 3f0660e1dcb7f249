"""Builds what a worker process needs out of the app's parts: the executor in every process, the lifeline in main."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any

from celery import Celery
from celery.exceptions import WorkerShutdown, WorkerTerminate

from dispatch_celery.cluster.keeper import Keeper
from dispatch_celery.cluster.recovery import DeadWorkers, Recovery
from dispatch_celery.cluster.store import ClusterStore
from dispatch_celery.config import Settings
from dispatch_celery.dlq.service import DeadLetterService
from dispatch_celery.ids import JobId
from dispatch_celery.jobs.definition import Call, JobDefinition
from dispatch_celery.jobs.eager import EagerJobs
from dispatch_celery.jobs.model import JobRef
from dispatch_celery.jobs.ports import Observer, Publisher
from dispatch_celery.jobs.records import JobRecords
from dispatch_celery.jobs.registry import Registry
from dispatch_celery.jobs.service import JobService
from dispatch_celery.jobs.store import JobStore
from dispatch_celery.jobs.upkeep import Marks, Retention, Revival, Timers, WakeUps
from dispatch_celery.service import Service
from dispatch_celery.store.channel import Channel
from dispatch_celery.store.client import RedisStore
from dispatch_celery.store.keys import Keys
from dispatch_celery.store.scripts import Word
from dispatch_celery.store.servertime import ServerTime
from dispatch_celery.worker.bootsteps import exit_now
from dispatch_celery.worker.checks import check_celery, check_server, refuse_unsafe
from dispatch_celery.worker.executor import Executor, give_back
from dispatch_celery.worker.handlers import Handlers
from dispatch_celery.worker.lifeline import Lifeline
from dispatch_celery.worker.overseer import Overseer
from dispatch_celery.worker.page import Page, PageSeat
from dispatch_celery.worker.task import catalogue_entry
from dispatch_celery.worker.tracing import Tracing

__all__ = ["Runtime"]

logger = logging.getLogger(__name__)


class Runtime:
    """The worker side of one app in one process tree."""

    def __init__(
        self,
        *,
        settings: Settings,
        keys: Keys,
        time: ServerTime,
        registry: Registry,
        publisher: Publisher,
        observer: Observer,
        handlers: Handlers,
        make_store: Callable[[], RedisStore],
        task_store: RedisStore,
        app: Celery,
        service: JobService,
        dead_letters: DeadLetterService,
        eager: EagerJobs,
    ) -> None:
        self._settings = settings
        self._keys = keys
        self._time = time
        self._registry = registry
        self._publisher = publisher
        self._observer = observer
        self._handlers = handlers
        self._make_store = make_store
        self._task_store = task_store
        self._app = app
        self._service = service
        self._dead_letters = dead_letters
        self._eager = eager
        self._jobs = JobStore(task_store, keys, settings, time)
        self._tracing: Tracing | None = None
        self._seat: PageSeat | None = None
        self._own_stores: list[RedisStore] = []

    def tracing(self) -> Tracing:
        """Return this process's executor, joined to Celery's tracer."""
        if self._tracing is None:
            self._tracing = Tracing(self._executor(self._seated(), self._jobs))
        return self._tracing

    def _seated(self) -> PageSeat:
        if self._seat is None:
            raise RuntimeError("jobs run in a worker of their app: celery -A app worker")
        return self._seat

    def _executor(self, seat: PageSeat, jobs: JobStore) -> Executor:
        return Executor(
            store=jobs,
            registry=self._registry,
            publisher=self._publisher,
            settings=self._settings,
            seat=seat,
            observer=self._observer,
            handler=self._handlers,
            is_shutdown=lambda error: isinstance(error, WorkerShutdown | WorkerTerminate),
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
        recovery = self._recovery(renewing)
        overseer = Overseer(
            page=page,
            executor=self._executor(seat, jobs),
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
            keeper=self._keeper(keeping),
            page=page,
            keys=self._keys,
            settings=self._settings,
            channel=Channel(renewing),
            observer=self._observer,
            describe=lambda: (_description(worker), self._names()),
            on_forced=None if children else exit_now,
        )

    def _recovery(self, store: RedisStore) -> Recovery:
        return Recovery(
            jobs=JobStore(store, self._keys, self._settings, self._time),
            records=JobRecords(store, self._keys),
            cluster=ClusterStore(store, self._keys, self._settings, self._time),
            publisher=self._publisher,
            settings=self._settings,
            observer=self._observer,
        )

    def _keeper(self, store: RedisStore) -> Keeper:
        keys, publisher = self._keys, self._publisher
        jobs, records = JobStore(store, keys, self._settings, self._time), JobRecords(store, keys)
        cluster, recovery = ClusterStore(store, keys, self._settings, self._time), self._recovery(store)

        def duties(term: Callable[[], str]) -> list[Service]:
            return [
                DeadWorkers(cluster, recovery, term, self._observer),
                Timers(jobs, records, keys, publisher, term),
                Marks(jobs, records, keys, publisher),
                WakeUps(jobs, records, keys, publisher, term, cluster.time),
                Revival(jobs, records, keys, publisher),
                Retention(jobs, records, keys, term),
            ]

        return Keeper(
            cluster,
            self._settings,
            duties,
            on_change=lambda leader: self._observer("leader_changed", None, leader=leader),
        )

    def _names(self) -> Mapping[str, str]:
        return {
            definition.name: catalogue_entry(definition) for definition in self._registry if not definition.is_remote
        }

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

    @property
    def shutdown_grace(self) -> int:
        """Milliseconds running jobs have after SIGTERM."""
        return self._settings.shutdown_grace

    # -- what tasks and guards ask for

    def write_call(self, call: Call[Any], *, job_id: JobId, extra: Mapping[str, Any]) -> JobId:
        """Store and publish one job under an id."""
        (found,) = self._service.write([self._service.new_job(call, job_id=job_id, extra=extra)])
        return found

    def run_eagerly(self, definition: JobDefinition[..., Any, Any], payload: bytes) -> Any:
        """Run a job here, through codec and middleware, without a server."""
        return self._eager.run(definition, payload)

    def bury(self, *, queue: str | None, raw: bytes, reason: str) -> None:
        """Keep a message that cannot be a job as a raw dead letter."""
        self._dead_letters.bury(raw, queue=queue or "", reason=reason)

    def give_back(self, ref: JobRef) -> None:
        """Delay the wake-up of a job that this worker does not know."""
        give_back(self._jobs, ref, self._observer, self._settings)

    def leave_worker(self) -> None:
        """Tell extensions, and close what the process used."""
        self._observer("shutdown", None)
        self._handlers.close()
        for store in self._own_stores:
            store.close()


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
