"""The real engine and the real Lua in one thread, under a clock that only the simulation moves.

A world has producers, workers, a leader and a broker. Every call any of them makes to the state server is
counted, and a ``Fault`` strikes at the n-th: the caller dies before or after it, its reply is lost, the caller
sleeps past its lease and comes back as a zombie, somebody cancels, the server falls back to a snapshot. The
broker may lose or double the n-th message. Then the world runs on until everything has come to rest.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from dispatch_celery.cluster.model import WorkerState
from dispatch_celery.cluster.recovery import DeadWorkers, Recovery
from dispatch_celery.cluster.store import ClusterStore
from dispatch_celery.config import Settings
from dispatch_celery.errors import DispatchError, Fenced, StoreUnavailable
from dispatch_celery.ids import JobId, WorkerId
from dispatch_celery.jobs.definition import JobDefinition
from dispatch_celery.jobs.model import JobRef, WakeUp
from dispatch_celery.jobs.records import JobRecords
from dispatch_celery.jobs.registry import Registry
from dispatch_celery.jobs.service import JobService
from dispatch_celery.jobs.store import JobStore, NewJob
from dispatch_celery.jobs.upkeep import Marks, Revival, Timers, WakeUps
from dispatch_celery.retry import Constant, Retry
from dispatch_celery.store.client import Store
from dispatch_celery.store.keys import Keys
from dispatch_celery.store.scripts import Call
from dispatch_celery.store.servertime import ServerTime
from dispatch_celery.worker.executor import Executor
from tests.support.invariants import Dump, check_journal, check_quiet, check_state, dump

START = 1_800_000_000_000
KINDS = ("die before", "die after", "lose reply", "zombie", "overlap", "cancel", "roll back")
MESSAGE_KINDS = ("drop message", "double message")


class ProcessDied(BaseException):
    """The simulated process is gone: nothing after this point runs in it."""


@dataclass(frozen=True)
class Fault:
    """One misfortune: at the ``at``-th call (or message); ``back`` is the call whose snapshot a roll back restores."""

    kind: str
    at: int
    back: int = 0
    whole_worker: bool = False


@dataclass
class Plan:
    """What a world is made of: jobs, faults, and how it is wired."""

    jobs: Sequence[str]
    faults: Sequence[Fault] = ()
    inline: bool = True
    seed: int = 0


class FaultyStore:
    """The port, with the world's faults in it."""

    def __init__(self, world: World) -> None:
        self._world = world

    def execute(self, calls: Sequence[Call]) -> list[Any]:
        """Pass calls on, unless this is the call at which something happens."""
        return self._world.strike(calls)


class SimSeat:
    """A worker process that is always on time, until its world lets it sleep."""

    def __init__(self, worker: SimWorker) -> None:
        self._worker = worker
        self.executing = ""

    @property
    def holder(self) -> str:
        return self._worker.holder

    def trusted(self) -> bool:
        return bool(self._worker.holder)

    def wait_trusted(self, timeout_ms: int) -> bool:
        return self.trusted()

    def occupy(self, job_id: str, token: str, *, timeout_ms: int | None) -> None:
        self.executing = job_id

    def vacate(self) -> None:
        self.executing = ""

    def interruptible(self) -> AbstractContextManager[None]:
        return nullcontext()

    def cancelled(self) -> bool:
        return self._worker.asked_to_cancel(self.executing)


class SimBroker:
    """Messages in memory, or in a list beside the state, delivered in an order the seed decides."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.messages: list[JobRef] = []
        self._count = 0

    def rider(self, wakeup: WakeUp) -> Call | None:
        if not self._world.plan.inline:
            return None
        # A command that changes nothing stands for the LPUSH; its message is delivered when the trip was made.
        return Call.command("ECHO", f"message {wakeup.ref.id}")

    def publish(self, wakeups: Sequence[WakeUp]) -> None:
        for wakeup in wakeups:
            self.put(wakeup.ref)

    def put(self, ref: JobRef) -> None:
        self._count += 1
        kinds = [
            fault.kind for fault in self._world.plan.faults if fault.kind in MESSAGE_KINDS and fault.at == self._count
        ]
        copies = 0 if "drop message" in kinds else 2 if "double message" in kinds else 1
        self.messages += [ref] * copies

    def take(self) -> JobRef | None:
        if not self.messages:
            return None
        return self.messages.pop(self._world.random.randrange(len(self.messages)))

    def waiting(self, queue: str) -> int | None:
        return len(self.messages)


def _dead_processes_decide_nothing(error: BaseException) -> bool:
    if isinstance(error, ProcessDied):
        raise error
    return False


class SimWorker:
    """One worker: a main process with a lease, and one child that executes."""

    def __init__(self, world: World, pid: int) -> None:
        self.world = world
        self.pid = pid
        self.holder = ""
        self.candidate: WorkerId | None = None
        self.seat = SimSeat(self)
        self.asleep = False
        self.unexecuted: set[str] = set()
        self.executor = Executor(
            store=world.jobs,
            registry=world.registry,
            publisher=world.broker,
            settings=world.settings,
            seat=self.seat,
            observer=lambda *_, **__: None,
            handler=world.handle,
            is_shutdown=_dead_processes_decide_nothing,
            sleep=world.sleep,
            pid=lambda: self.pid,
        )

    def asked_to_cancel(self, job_id: str) -> bool:
        return False

    def renew(self) -> None:
        """Do what the lifeline does: renew, register anew when lost, release what nobody executes."""
        world = self.world
        if self.holder:
            pulse = world.cluster.renew(
                self.holder, nonce="n", volunteer=False, state=WorkerState.ACTIVE, with_held=True
            )
            if pulse is not None:
                idle = set(pulse.held) - {self.seat.executing}
                forgotten, self.unexecuted = idle & self.unexecuted, idle
                if forgotten:
                    world.recovery.release_forgotten(self.holder, sorted(forgotten))
                return
        if not self.candidate:
            world.registrations += 1
            self.candidate = WorkerId.mint()
        world.cluster.register(self.candidate, {"pid": self.pid, "name": "sim"}, dict.fromkeys(world.known, "{}"))
        self.holder, self.candidate = self.candidate, None

    def step(self) -> bool:
        """Renew, and answer one message; return whether there was one."""
        self.renew()
        ref = self.world.broker.take()
        if ref is None:
            return False
        execution = self.executor.claim(ref)
        if execution is not None:
            try:
                self.executor.perform(execution)
            except Fenced:
                self.world.fenced += 1
        return True


@dataclass
class Expectation:
    """How a job must end; ``executions`` is how often its effect may be seen when nothing goes wrong."""

    states: frozenset[str]
    executions: int


def _jobs(world: World) -> dict[str, tuple[Callable[..., Any], Retry, Expectation]]:
    """The kinds of jobs: a handler, a policy, and how it must end."""

    def succeed(job: str) -> str:
        world.effect(job)
        return "done"

    def fail_once(job: str) -> str:
        if world.effect(job) == 1:
            raise ValueError("the first time")
        return "done"

    def fail_always(job: str) -> str:
        world.effect(job)
        raise ValueError("every time")

    def snooze_once(job: str) -> str:
        from dispatch_celery.jobs.outcome import Snooze

        if world.effect(job) == 1:
            raise Snooze(5)
        return "done"

    def poison(job: str) -> str:
        world.effect(job)
        raise ProcessDied

    three = Retry(3, Constant(2))
    return {
        "succeed": (succeed, three, Expectation(frozenset({"completed"}), 1)),
        "later": (succeed, three, Expectation(frozenset({"completed"}), 1)),
        "fail_once": (fail_once, three, Expectation(frozenset({"completed"}), 2)),
        "fail_always": (fail_always, three, Expectation(frozenset({"failed"}), 3)),
        "snooze_once": (snooze_once, three, Expectation(frozenset({"completed"}), 2)),
        "poison": (poison, three, Expectation(frozenset({"failed"}), 3)),
        "expires": (succeed, three, Expectation(frozenset({"cancelled"}), 0)),
        "twin": (succeed, three, Expectation(frozenset({"completed"}), 1)),
    }


class World:
    """One run of the simulation."""

    def __init__(
        self, real: Store, namespace: str, plan: Plan, *, stack: Callable[[Store], Store] = lambda s: s
    ) -> None:
        self.real = real
        self.plan = plan
        self.random = random.Random(plan.seed)
        self.keys = Keys(namespace)
        self.time = ServerTime(START)
        self.settings = Settings(namespace=namespace, journal=10_000, max_crashes=3, unknown_grace=60)
        self.calls = 0
        self.labels: list[str] = []
        self.snapshots: dict[int, tuple[list[tuple[bytes, bytes]], int]] = {}
        self.rolled_back = False
        self.quiet_faults = False
        self.fenced = 0
        self.effects: dict[str, int] = {}
        self.broken: list[str] = []
        self.late_call: Sequence[Call] | None = None
        self.late_replies: list[Any] = []
        self.registrations = 0
        self.obliged: dict[str, int] = {}
        self.cancelled = False
        self.whole_worker = False
        store = stack(FaultyStore(self))
        self.jobs = JobStore(store, self.keys, self.settings, self.time)
        self.records = JobRecords(store, self.keys)
        self.cluster = ClusterStore(store, self.keys, self.settings, self.time)
        self.broker = SimBroker(self)
        self.registry = Registry()
        self.kinds = _jobs(self)
        self.known = list(self.kinds)
        self.recovery = Recovery(
            jobs=self.jobs,
            records=self.records,
            cluster=self.cluster,
            publisher=self.broker,
            settings=self.settings,
            observer=lambda *_, **__: None,
        )
        self.service = JobService(
            store=self.jobs,
            records=self.records,
            keys=self.keys,
            settings=self.settings,
            publisher=self.broker,
            listener=None,  # type: ignore[arg-type]  # nobody waits here
            observer=lambda *_, **__: None,
            default_queue="q",
            codec_of=lambda _: None,
        )
        for name, (handler, policy, _) in self.kinds.items():
            self.registry.add(JobDefinition(handler, name=name, enqueuer=lambda: self.service, queue="q", retry=policy))
        self.pids = iter(range(1000, 100_000))
        self.workers = [SimWorker(self, next(self.pids)) for _ in range(2)]
        self.actor: SimWorker | None = None
        self.new_jobs = [self._new_job(kind, n) for n, kind in enumerate(plan.jobs)]
        self.acknowledged: set[str] = set()

    def _new_job(self, kind: str, n: int) -> NewJob:
        definition = self.registry.get(kind)
        assert definition is not None
        bound = definition.options(
            delay=10 if kind == "later" else None,
            expires=0 if kind == "expires" else None,
            idempotency_key="same" if kind == "twin" else f"key-{n}" if n % 2 else None,
        ).bind(job=kind if kind == "twin" else f"{kind}-{n}")
        return self.service.new_job(bound, job_id=JobId.mint(time_ms=START + n))

    def _effect_name(self, kind: str, job: NewJob) -> str:
        return kind if kind == "twin" else f"{kind}-{self.new_jobs.index(job)}"

    # -- what handlers do

    def handle(self, definition: JobDefinition[..., Any, Any], context: Any, timeout_ms: int | None) -> Any:
        value = definition(**context.arguments)
        if self.late_call is not None:
            calls, self.late_call = self.late_call, None
            self.late_replies = self._send(calls)
        return value

    def effect(self, job: str) -> int:
        """Count an effect outside of the engine and its server."""
        if job.startswith("later") and (self.time.now or 0) < START + 10_000:
            self.broken.append(f"7: {job} ran before it was due")
        self.effects[job] = self.effects.get(job, 0) + 1
        return self.effects[job]

    def sleep(self, seconds: float) -> None:
        self.time.now = (self.time.now or 0) + max(1, int(seconds * 1000))

    # -- faults

    def strike(self, calls: Sequence[Call]) -> list[Any]:
        """Make one call, with whatever happens at its number."""
        if self.quiet_faults:
            return self._send(calls)
        self.calls += 1
        number = self.calls
        self.labels.append("+".join(call.label for call in calls[:3]))
        if any(fault.kind == "roll back" and fault.back == number for fault in self.plan.faults):
            self.snapshots[number] = (self._snapshot(), self.time.now or 0)
        for fault in self.plan.faults:
            if fault.at == number and fault.kind in KINDS:
                self.whole_worker = fault.whole_worker
                return self._suffer(fault, calls)
        return self._send(calls)

    def _suffer(self, fault: Fault, calls: Sequence[Call]) -> list[Any]:
        if fault.kind == "die before":
            raise ProcessDied
        if fault.kind == "die after":
            self._send(calls)
            raise ProcessDied
        if fault.kind == "lose reply":
            self._send(calls)
            raise StoreUnavailable("the reply was lost")
        if fault.kind == "zombie":
            self._sleep_past_lease()
        elif fault.kind == "overlap":
            return self._overlap(calls)
        elif fault.kind == "cancel":
            self._cancel_everything()
        elif fault.kind == "roll back" and fault.back in self.snapshots:
            self._restore(fault.back)
        return self._send(calls)

    def _send(self, calls: Sequence[Call]) -> list[Any]:
        replies = self.real.execute(calls)
        if not self.plan.faults:
            state = dump(self.real, self.keys.tag)
            self.broken += check_state(state, max_attempts=3, max_crashes=3)
        by_id = {job.ref.id: job.ref for job in getattr(self, "new_jobs", ())}
        for call in calls:
            if call.script is None and call.words[0] == "ECHO":
                self.broker.put(by_id[JobId(str(call.words[1]).split()[1])])
        return replies

    def _sleep_past_lease(self) -> None:
        """The acting process stops; everybody else goes on for longer than a lease; then it continues."""
        sleeper = self.actor
        self.sleep(self.settings.lease / 1000 + 1)
        self.quiet_faults = True
        if sleeper is not None:
            sleeper.asleep = True
        if not any(not worker.asleep for worker in self.workers):
            self.workers.append(SimWorker(self, next(self.pids)))
        self.run_to_rest(limit=60)
        if sleeper is not None:
            sleeper.asleep = False
        self.actor = sleeper
        self.quiet_faults = False

    def _overlap(self, calls: Sequence[Call]) -> list[Any]:
        """The acting process sleeps past its lease, and its call arrives while another one runs the same job."""
        self.late_call = calls
        self._sleep_past_lease()
        if self.late_call is not None:
            self.late_replies = self._send(self.late_call)
            self.late_call = None
        return self.late_replies

    def _cancel_everything(self) -> None:
        self.quiet_faults = True
        for kind, job in zip(self.plan.jobs, self.new_jobs, strict=True):
            effect = self._effect_name(kind, job)
            try:
                if self.service.cancel(job.ref.id) == "running":
                    self.obliged[effect] = self.effects.get(effect, 0)
            except DispatchError:
                continue
        self.quiet_faults = False
        self.cancelled = True

    def _snapshot(self) -> list[tuple[bytes, bytes]]:
        (keys,) = self.real.execute([Call.command("KEYS", f"{self.keys.tag}*")])
        values = self.real.execute([Call.command("DUMP", key) for key in keys])
        return list(zip(keys, values, strict=True))

    def _restore(self, number: int) -> None:
        saved, _ = self.snapshots[number]
        (keys,) = self.real.execute([Call.command("KEYS", f"{self.keys.tag}*")])
        calls = [Call.command("DEL", key) for key in keys]
        calls += [Call.command("RESTORE", key, 0, value) for key, value in saved]
        if calls:
            self.real.execute(calls)
        self.rolled_back = True

    # -- the course of events

    def run(self) -> None:
        """Produce, then run until everything has come to rest."""
        for job in self.new_jobs:
            self._produce(job)
        self.run_to_rest(limit=400)

    def _produce(self, job: NewJob) -> None:
        """Enqueue, again with the same id when the producer died or got no answer: what an honest caller does."""
        self.actor = None
        for _ in range(5):
            try:
                self.service.write([job])
            except (ProcessDied, StoreUnavailable):
                continue
            self.acknowledged.add(job.ref.id)
            return

    def run_to_rest(self, limit: int) -> None:
        """Let workers and leader take turns; when nobody has anything to do, let time pass."""
        for _ in range(limit):
            if self._everybody_once():
                continue
            if self._all_ended():
                return
            self.sleep(1.5)

    def _everybody_once(self) -> bool:
        busy = False
        for worker in [worker for worker in self.workers if not worker.asleep]:
            self.actor = worker
            try:
                busy = worker.step() or busy
            except ProcessDied:
                self._bury(worker)
            except StoreUnavailable:
                busy = True
        self.actor = None
        try:
            self._lead()
        except (ProcessDied, StoreUnavailable):
            busy = True
        return busy

    def _bury(self, worker: SimWorker) -> None:
        """A process died: the child, whose main sees it at once, or the whole worker, whose lease must run out."""
        whole, self.whole_worker = self.whole_worker, False
        if whole:
            self.workers.remove(worker)
            self.workers.append(SimWorker(self, next(self.pids)))
        else:
            dead, worker.pid = worker.pid, next(self.pids)
            worker.seat.vacate()
            for _ in range(3):
                try:
                    self.recovery.release_process(worker.holder, dead, why="the process died")
                except (ProcessDied, StoreUnavailable):
                    continue
                break

    def _lead(self) -> None:
        now = self.time.now or 0
        Timers(self.jobs, self.records, self.keys, self.broker, str).run_once()
        Marks(self.jobs, self.records, self.keys, self.broker).run_once()
        WakeUps(self.jobs, self.records, self.keys, self.broker, str, lambda: now).run_once()
        Revival(self.jobs, self.records, self.keys, self.broker).run_once()
        DeadWorkers(self.cluster, self.recovery, str, lambda *_, **__: None).run_once()

    def _all_ended(self) -> bool:
        found = dump(self.real, self.keys.tag)
        return not check_quiet(found)

    # -- the verdict

    def problems(self) -> list[str]:
        """Return every broken promise, as sentences."""
        state = dump(self.real, self.keys.tag)
        wrong = self.broken + check_state(state, max_attempts=3, max_crashes=3) + check_quiet(state)
        wrong += self._excesses(state)
        if not self.rolled_back:
            wrong += check_journal(state)
        for n, (kind, job) in enumerate(zip(self.plan.jobs, self.new_jobs, strict=True)):
            record = state.jobs.get(job.ref.id)
            if record is not None:
                wrong += self._check_end(kind, f"{kind}-{n}", record)
            elif job.ref.id in self.acknowledged and not self.rolled_back and kind != "twin":
                wrong.append(f"12: {kind}-{n} was acknowledged and is gone")
        return wrong

    def _check_end(self, kind: str, name: str, record: dict[str, str]) -> list[str]:
        wrong = []
        expected = self.kinds[kind][2]
        if record["state"] not in set(expected.states) | ({"cancelled"} if self.cancelled else set()):
            why = record.get("error", record.get("reason", ""))[:200]
            wrong.append(f"11: {name} ended as {record['state']} ({why})")
        seen = self.effects.get("twin" if kind == "twin" else name, 0)
        allowed = expected.executions + len(self.plan.faults) + (3 if self.rolled_back else 0)
        if seen > allowed:
            wrong.append(f"11: the effect of {name} was seen {seen} times, {allowed} allowed")
        if record["state"] == "completed" and seen == 0:
            wrong.append(f"11: {name} is completed and its effect was never seen")
        return wrong

    def _excesses(self, state: Dump) -> list[str]:
        """Return what was done more often than anything that happened explains."""
        wrong = []
        kinds = {fault.kind for fault in self.plan.faults}
        if self.fenced and not kinds & {"zombie", "overlap", "roll back", "die before", "die after"}:
            wrong.append(f"3: a worker was fenced {self.fenced} times although nobody else could hold its job")
        twins = [job_id for job_id, record in state.jobs.items() if record["name"] == "twin"]
        if len(twins) > 1:
            wrong.append(f"11: one idempotency key made {len(twins)} jobs")
        if self.registrations != 2 and not kinds & {"zombie", "overlap", "roll back", "die before", "die after"}:
            wrong.append(f"2: {self.registrations} registrations of two workers that always renewed")
        for effect, before in self.obliged.items():
            if self.effects.get(effect, 0) > before and not kinds & {"zombie", "overlap"}:
                wrong.append(f"11: {effect} was executed again after its cancel was accepted")
        if kinds == {"lose reply"}:
            for kind, job in zip(self.plan.jobs, self.new_jobs, strict=True):
                claims = int(state.jobs.get(job.ref.id, {}).get("token_number", 0))
                seen = self.effects.get(self._effect_name(kind, job), 0)
                if kind != "twin" and claims > seen:
                    wrong.append(f"11: {kind} was claimed {claims} times and executed {seen} times")
        return wrong

    def clean(self) -> None:
        """Delete the namespace."""
        (keys,) = self.real.execute([Call.command("KEYS", f"{self.keys.tag}*")])
        if keys:
            self.real.execute([Call.command("DEL", *keys)])
