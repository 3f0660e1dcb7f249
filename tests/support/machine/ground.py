"""The ground of the machine: stores and model side by side, how its rules choose, and what they do in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant

from dispatch_celery.cluster.recovery import DeadWorkers, Recovery
from dispatch_celery.ids import JobId, WorkerId
from dispatch_celery.jobs.model import Claim, JobRef, JobState, NewJob
from dispatch_celery.store.client import Store
from dispatch_celery.store.replies import text
from dispatch_celery.store.scripts import Call
from dispatch_celery.work.model import WakeUp
from dispatch_celery.work.upkeep import House, Marks, Retention, Revival, Timers
from tests.lua.world import ERROR, LINE, World
from tests.support.invariants import check_journal, check_state
from tests.support.model import Model
from tests.support.model_job import ModelJob
from tests.support.picture import differences, expected, observed

START = 4_000_000_000_000
"""Far enough in the future that the server, whose own clock ends idempotency keys, ends none by itself."""
MAIN_PID = 100
MANY = 7
SCOPES = ("", "acme/north")
OWNER = JobId.adopt("model")
LIMITS = {
    "max_crashes": 3,
    "max_lost_workers": 2,
    "retain_completed": 60,
    "retain_cancelled": 20,
    "retain_failed": 120,
    "retain_key": 90,
}
NUMBERS = st.integers(0, 30)
STATES = st.sampled_from(list(JobState))
PIDS = st.sampled_from([7, MAIN_PID])
HOW: dict[str, dict[str, Any]] = {
    "complete": {"result": b"1"},
    "fail": {"error": ERROR, "reason": "why", "counter": "attempts", "attempt": LINE},
    "retry": {"delay": 5_000, "counter": "attempts", "error": ERROR, "attempt": LINE},
    "release": {"attempt": LINE},
    "obey": {"reason": "asked", "attempt": LINE},
}
VERBS = st.sampled_from(list(HOW))


class Postbox:
    """A broker that remembers what it was given."""

    def __init__(self) -> None:
        self._given: list[tuple[str, str]] = []

    def riders(self, wakeups: Sequence[WakeUp]) -> list[Call]:
        """Return nothing: this broker is elsewhere."""
        return []

    def publish(self, wakeups: Sequence[WakeUp]) -> None:
        """Remember wake-ups."""
        self._given += [(wakeup.ref.id, wakeup.wake) for wakeup in wakeups]

    def announce(self, wakeups: Sequence[WakeUp]) -> None:
        """Tell nobody: there are no task events here."""

    def waiting(self, queue: str) -> int | None:
        """Tell nothing."""
        return None

    def emptied(self) -> set[tuple[str, str]]:
        """Return what was published since the last time, each once."""
        given, self._given = self._given, []
        assert len(given) == len(set(given))
        return set(given)


@dataclass(frozen=True)
class Held:
    """What a worker was given, and may still believe to have."""

    ref: JobRef
    holder: WorkerId
    nonce: str
    pid: int
    token: str


class Ground(RuleBasedStateMachine):
    """The stores of one namespace beside their model."""

    def __init__(self, port: Store, namespace: str) -> None:
        super().__init__()
        self.world = World(port, namespace, **LIMITS)
        self.world.time.now = START
        self.model = Model(self.world.settings, START)
        self.postbox = Postbox()
        self.new_jobs: list[NewJob] = []
        self.workers: list[WorkerId] = []
        self.claims: list[Held] = []
        world = self.world
        self.recovery = Recovery(
            store=world.jobs,
            records=world.records,
            cluster=world.cluster,
            publisher=self.postbox,
            kinds=world.kinds,
            observer=_nobody,
        )
        house = House(
            store=world.jobs,
            records=world.records,
            keys=world.keys,
            publisher=self.postbox,
            kinds=world.kinds,
            term=str,
        )
        self.duties = {
            "timers": Timers(house),
            "marks": Marks(house),
            "dead workers": DeadWorkers(world.cluster, self.recovery, str, _nobody),
            "retention": Retention(house),
            "revival": Revival(house),
        }

    # -- choosing

    def _in(self, n: int, *states: str) -> JobRef:
        """Return one of the jobs in some states, if there is any; else one of all there ever were."""
        refs = [job.ref for job in self.new_jobs]
        found = [ref for ref in refs if self._state(ref) in states] or refs
        return found[n % len(found)]

    def _state(self, ref: JobRef) -> str:
        job = self.model.jobs.get(ref.id)
        return job.state if job else "gone"

    def _mint(self) -> JobId:
        return JobId.derive(OWNER, str(len(self.new_jobs)))

    def _worker(self, w: int) -> WorkerId:
        return self.workers[w % len(self.workers)]

    def _living(self, w: int) -> WorkerId:
        """Return a worker with a lease; a new one where there is none."""
        living = [worker for worker in self.workers if self.model.leases.get(worker, 0) > self.model.now]
        return living[w % len(living)] if living else self._register()

    def _holder(self, w: int) -> str:
        """Return a worker that holds a job, if any does; else one of all."""
        holders = [job.holder for job in self.model.jobs.values() if job.holder]
        return holders[w % len(holders)] if holders else self._worker(w)

    def _register(self) -> WorkerId:
        worker = WorkerId.derive(OWNER, str(len(self.workers)))
        self.workers.append(worker)
        self.world.cluster.register(worker, {"pid": MAIN_PID}, {"mail": "{}"})
        self.model.register(worker, "mail")
        return worker

    def _ready(self, n: int) -> JobRef:
        """Return a ready job; a new one where there is none."""
        now = self.model.now
        ready = [job for job in self.model.jobs.values() if job.state == "pending"]
        if all(job.expires_at is not None and job.expires_at <= now for job in ready):
            self._write([self.world.job(job_id=self._mint())])
        return self._in(n, "pending")

    def _running(self, n: int, w: int) -> Held:
        """Return a claim that holds its job; a new one where there is none."""
        while not self._current():
            self._claim(self._ready(n), self._living(w), 7)
            n += 1
        current = self._current()
        return current[n % len(current)]

    def _current(self) -> list[Held]:
        """Return the claims that hold their jobs."""
        tokens = {(job.id, job.token) for job in self.model.jobs.values()}
        return [held for held in self.claims if (held.ref.id, held.token) in tokens]

    # -- what several rules do

    @initialize()
    def begin(self) -> None:
        """Begin with two workers and a job."""
        self._register()
        self._register()
        self._write([self.world.job(job_id=self._mint(), scope=SCOPES[1], key="a")])

    def _write(self, jobs: list[NewJob]) -> None:
        answers = self.world.jobs.enqueue(jobs)
        wanted = [
            self.model.enqueue(model_of(job), digest=job.digest, delay=job.delay, expires=job.expires) for job in jobs
        ]
        same(answers, wanted)
        self.new_jobs += [job for job, answer in zip(jobs, answers, strict=True) if answer[0] == "CREATED"]

    def _claim(self, ref: JobRef, holder: WorkerId, pid: int, nonce: str = "") -> None:
        nonce = nonce or f"n{len(self.claims)}"
        verdict, found = self.world.jobs.claim(ref, holder=holder, nonce=nonce, pid=pid)
        wanted = self.model.claim(ref.id, holder, nonce, pid)
        same((verdict, found.token) if isinstance(found, Claim) else (verdict, *found), wanted)
        if isinstance(found, Claim):
            counts = self.model.jobs[ref.id].counts
            same({name: getattr(found, name) for name in counts}, counts)
            held = Held(ref, holder, nonce, pid, found.token)
            self.claims += [held] if held not in self.claims else []

    def _end(self, verb: str, held: Held, *, times: int) -> None:
        counter = "attempts" if verb in ("retry", "fail") else ""
        where = {"holder": held.holder, "token": held.token}
        for _ in range(times):
            answer = getattr(self.world.jobs, verb)(held.ref, **where, **HOW[verb])
            same(said(answer), self.model.end(verb, held.ref.id, held.token, counter=counter, delay=5_000))

    def _lose(self, held: list[str], worker: str, pid: int, *, forgotten: bool) -> None:
        if forgotten:
            moved = self.recovery.release_forgotten(worker, held)
        else:
            moved = self.recovery.release_process(worker, pid, why="it died")
        same(moved, len(held))
        counter = "" if forgotten else "crashes"
        wakes = [(job_id, self.model.recover(self.model.jobs[job_id], counter)) for job_id in held]
        same(self.postbox.emptied(), {(job_id, wake) for job_id, wake in wakes if wake})

    def _pass(self, milliseconds: int) -> None:
        self.world.passes(milliseconds)
        self.model.now = self.world.now
        for place in list(self.model.stale_keys()):
            self.world.ask("DEL", self.world.keys.idempotency(*place))

    # -- what must hold

    @invariant()
    def both_agree(self) -> None:
        """Compare every fact, and check what must hold in any history."""
        found = self.world.dump()
        same(differences(expected(self.model), observed(found)), [])
        same(check_state(found, max_attempts=99, max_crashes=LIMITS["max_crashes"]) + check_journal(found), [])

    @invariant()
    def keys_agree(self) -> None:
        """Compare the idempotency keys: whose each is, and until when."""
        places = [(scope, name, key) for scope in SCOPES for name in ("mail", "bill") for key in ("a", "b")]
        stored = [self.world.keys.idempotency(*place) for place in places]
        calls = [Call.command(word, key) for key in stored for word in ("GET", "PEXPIRETIME")]
        replies = self.world.port.execute(calls)
        for place, value, until in zip(places, replies[::2], replies[1::2], strict=True):
            key = self.model.keys.get(place)
            same(text(value), f"{key.job} {key.digest}" if key else "")
            same(until, -2 if key is None else -1 if key.until is None else key.until)

    def teardown(self) -> None:
        """Delete the namespace."""
        keys = self.world.ask("KEYS", f"{self.world.keys.tag}*")
        if keys:
            self.world.ask("DEL", *keys)


def model_of(job: NewJob) -> ModelJob:
    """Return a new job as the model keeps it."""
    ref = job.ref
    return ModelJob(ref.id, ref.name, ref.lane, ref.scope, ref.idempotency_key)


def said(answer: Any) -> str:
    """Return a verdict and its detail in one."""
    return f"{answer.verdict} {answer.detail}".strip()


def same(server: object, model: object) -> None:
    """Fail with both where they are not the same."""
    assert server == model, f"{server!r} from the server, {model!r} from the model"


def _nobody(*_: Any, **__: Any) -> None:
    """Observe nothing."""
