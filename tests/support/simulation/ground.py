"""The parts of a simulated world, wired as ``Dispatch`` wires them, and what handlers do there."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dispatch_celery.cluster.recovery import Recovery
from dispatch_celery.cluster.store import ClusterStore
from dispatch_celery.config import Settings
from dispatch_celery.events.service import EventService
from dispatch_celery.events.store import EventStore
from dispatch_celery.ids import JobId, RunId
from dispatch_celery.jobs.catalogue import Catalogue
from dispatch_celery.jobs.definition import JobDefinition
from dispatch_celery.jobs.keeping import JobKeeping
from dispatch_celery.jobs.listing import JobListing
from dispatch_celery.jobs.model import NewJob
from dispatch_celery.jobs.records import JobRecords
from dispatch_celery.jobs.service import JobService
from dispatch_celery.jobs.store import JobStore
from dispatch_celery.jobs.writing import JobWriter
from dispatch_celery.store.client import Store
from dispatch_celery.store.keys import Keys
from dispatch_celery.store.scripts import Call
from dispatch_celery.store.servertime import ServerTime
from dispatch_celery.work.model import WorkRef
from dispatch_celery.work.ports import Keeping
from dispatch_celery.worker.fleet import WorkerFleet
from dispatch_celery.worker.unknown import give_back
from dispatch_celery.workflows.keeping import RunKeeping
from dispatch_celery.workflows.records import RunRecords
from dispatch_celery.workflows.service import RunService
from dispatch_celery.workflows.step_definition import StepCall
from dispatch_celery.workflows.steps import StepContext
from dispatch_celery.workflows.store import NewRun, RunStore
from tests.support.invariants import check_state, clean, dump
from tests.support.run_invariants import check_runs
from tests.support.simulation.actors import FaultyStore, SimBroker, SimWorker
from tests.support.simulation.clients import Client, client_of
from tests.support.simulation.plan import START, Plan
from tests.support.simulation.rewrites import WISHES
from tests.support.simulation.stage import stage

_ENDLESS = 40
"""Executions of one effect after which a world is stopped: two faults explain a tenth of them."""


class Ground:
    """The parts of a world, and what its handlers do to it."""

    def __init__(
        self, real: Store, namespace: str, plan: Plan, *, stack: Callable[[Store], Store] = lambda s: s
    ) -> None:
        self.real = real
        self.plan = plan
        self.random = random.Random(plan.seed)
        self.keys = Keys(namespace)
        self.time = ServerTime(START)
        self.settings = Settings(namespace=namespace, journal=10_000, max_crashes=3, unknown_grace=60)
        self._begin()
        store = stack(FaultyStore(self))
        self.jobs = JobStore(store, self.keys, self.settings, self.time)
        self.records = JobRecords(store, self.keys)
        self.cluster = ClusterStore(store, self.keys, self.settings, self.time)
        self.broker = SimBroker(self)
        self.stage = stage()
        self.stage.world = self
        self.registry, self.workflows = self.stage.registry, self.stage.workflows
        self.kinds, self.flows = self.stage.kinds, self.stage.flows
        self.known = list(self.kinds)
        self.runs = RunStore(store, self.keys, self.settings, self.time)
        self.keeping: dict[str, Keeping] = {
            "": JobKeeping(self.jobs, self.settings, lambda *_, **__: None),
            "run-": RunKeeping(self.runs, self.settings, lambda *_, **__: None),
        }
        self.recovery = Recovery(
            store=self.jobs,
            records=self.records,
            cluster=self.cluster,
            publisher=self.broker,
            kinds=self.keeping,
            observer=lambda *_, **__: None,
        )
        self.writer = JobWriter(
            store=self.jobs,
            publisher=self.broker,
            observer=lambda *_, **__: None,
            catalogue=Catalogue(store, self.keys),
            default_queue="q",
        )
        self.service = JobService(
            store=self.jobs,
            records=self.records,
            listing=JobListing(store, self.keys, self.records),
            writer=self.writer,
            results=None,  # type: ignore[arg-type]  # nobody waits here
            observer=lambda *_, **__: None,
            max_payload=self.settings.max_payload,
            default_retry=self.settings.default_retry,
        )
        self.pids = iter(range(1000, 100_000))
        self.events = EventService(
            store=EventStore(store, self.keys, self.settings, self.time),
            work=self.jobs,
            keys=self.keys,
            publisher=self.broker,
            nudge=self.runs.nudge,
            observer=lambda *_, **__: None,
            max_payload=self.settings.max_payload,
        )
        self.flow_service = RunService(
            port=store,
            keys=self.keys,
            store=self.runs,
            jobs=self.jobs,
            stored=self.records,
            records=RunRecords(store, self.keys),
            registry=self.workflows,
            publisher=self.broker,
            events=self.events,
            ends=None,  # type: ignore[arg-type]  # nobody waits here
            observer=lambda *_, **__: None,
            default_queue="q",
            max_payload=self.settings.max_payload,
            default_step_retry=self.settings.default_step_retry,
        )
        self.known += [self.stage.child(name).known_as for name in self.flows] + list(self.flows)
        self.fleet = WorkerFleet(
            writer=self.writer,
            jobs=self.service,
            runs=self.flow_service,
            store=self.jobs,
            publisher=self.broker,
            observer=lambda *_, **__: None,
        )
        self.workers = [SimWorker(self, next(self.pids)) for _ in range(2)]
        self.actor: SimWorker | None = None
        self.new_jobs = [self._new_job(kind, n) for n, kind in enumerate(plan.jobs) if kind in self.kinds]
        self.new_runs = [self._new_run(kind, n) for n, kind in enumerate(plan.jobs) if kind in self.flows]
        self.acknowledged: set[str] = set()

    def _begin(self) -> None:
        """Nothing has happened yet."""
        self.calls = 0
        self.watched = 0
        self.undeployed: set[int] = set()
        self.clients: list[Client] = []
        self.forks: dict[str, tuple[str, str]] = {}
        self.rewound: set[str] = set()
        self.labels: list[str] = []
        self.snapshots: dict[int, tuple[list[tuple[bytes, bytes]], int]] = {}
        self.rolled_back = False
        self.quiet_faults = False
        self.fenced = 0
        self.effects: dict[str, int] = {}
        self.words: dict[str, str] = {}
        self.broken: list[str] = []
        self.late_call: Sequence[Call] | None = None
        self.late_replies: list[Any] = []
        self.registrations = 0
        self.obliged: dict[str, int] = {}
        self.cancelled = False
        self.runs_to_cancel: set[str] = set()
        self.whole_worker = False

    def _new_job(self, kind: str, n: int) -> NewJob:
        definition = self.registry.get(kind)
        assert definition is not None
        bound = definition.options(
            delay=10 if kind == "later" else None,
            expires=0 if kind == "expires" else None,
            idempotency_key="same" if kind == "twin" else f"key-{n}" if n % 2 else None,
        ).bind(job=kind if kind == "twin" else f"{kind}-{n}")
        return self.writer.new_job(bound, job_id=JobId.mint(time_ms=START + n))

    def _new_run(self, kind: str, n: int) -> NewRun:
        call = self.stage.child(kind).bind(flow=f"{kind}-{n}")
        run = self.flow_service.new_run(call, run_id=RunId.mint(time_ms=START + n))
        if kind in WISHES:
            self.clients.append(client_of(self, WISHES[kind], run.ref.id, f"{kind}-{n}"))
        return run

    @property
    def _job_kinds(self) -> list[str]:
        return [kind for kind in self.plan.jobs if kind in self.kinds]

    def _effect_name(self, kind: str, job: NewJob) -> str:
        return kind if kind == "twin" else f"{kind}-{self.new_jobs.index(job)}"

    # -- what handlers do

    def handle(self, definition: JobDefinition[..., Any, Any], context: Any, timeout_ms: int | None) -> Any:
        value = definition(**context.arguments)
        if self.late_call is not None:
            calls, self.late_call = self.late_call, None
            self.late_replies = self._send(calls)
        return value

    def give_back(self, ref: WorkRef) -> None:
        give_back(self.jobs, self.runs, ref, lambda *_, **__: None, self.settings)

    def run_step(self, call: StepCall[Any], context: StepContext) -> Any:
        """Run the function of a step, as a worker does."""
        value = call.definition(**call.arguments)
        if self.late_call is not None:
            calls, self.late_call = self.late_call, None
            self.late_replies = self._send(calls)
        return value

    def effect(self, job: str) -> int:
        """Count an effect outside of the engine and its server."""
        if job.startswith("later") and (self.time.now or 0) < START + 10_000:
            self.broken.append(f"7: {job} ran before it was due")
        self.effects[job] = self.effects.get(job, 0) + 1
        if self.effects[job] == _ENDLESS:
            self.broken.append(f"12: {job} has run {_ENDLESS} times, and no end is in sight")
        return self.effects[job]

    def say(self, what: str, word: str) -> None:
        """Take note of what a body has seen at some point: every replay must see the same there."""
        before = self.words.setdefault(what, word)
        if before != word and not self.rolled_back:
            self.broken.append(f"4: {what} was {before}, and is {word} on a replay")

    def sleep(self, seconds: float) -> None:
        self.time.now = (self.time.now or 0) + max(1, int(seconds * 1000))

    @property
    def _looks(self) -> bool:
        """Whether the state is looked at after this call: always in a calm world, for a while after what was asked."""
        if self.plan.faults:
            self.watched -= 1
        return not self.plan.faults or self.watched >= 0

    def _named(self, work_id: str, known: Mapping[str, WorkRef]) -> WorkRef | None:
        """Return what names a message's work: produced here, or a member that a run has sent."""
        if work_id in known:
            return known[work_id]
        (stored,) = JobRecords(self.real, self.keys).stored([work_id])
        return None if stored is None else stored.ref

    def _send(self, calls: Sequence[Call]) -> list[Any]:
        replies = self.real.execute(calls)
        if not self.broken and self._looks:
            state = dump(self.real, self.keys.tag)
            self.broken += check_state(state, max_attempts=3, max_crashes=3) + check_runs(state)
        by_id: dict[str, WorkRef] = {
            new.ref.id: new.ref for new in (*getattr(self, "new_jobs", ()), *getattr(self, "new_runs", ()))
        }
        for call in calls:
            if call.script is None and call.words[0] == "ECHO":
                ref = self._named(str(call.words[1]).split()[1], by_id)
                if ref is not None:  # a member that was refused has a message, and no record: a worker drops it
                    self.broker.put(ref)
        return replies

    def clean(self) -> None:
        """Delete the namespace."""
        clean(self.real, self.keys.tag)
