"""The typed stores over a real server, under a clock that only a test moves, and short ways to any state."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import pytest

from dispatch_celery.cluster.model import Pulse, WorkerState
from dispatch_celery.cluster.store import ClusterStore
from dispatch_celery.config import Settings
from dispatch_celery.dlq.store import DeadLetterStore
from dispatch_celery.errors import StoreUnavailable
from dispatch_celery.ids import JobId, WorkerId
from dispatch_celery.jobs.keeping import JobKeeping
from dispatch_celery.jobs.model import Claim, JobRef, JobState, NewJob
from dispatch_celery.jobs.records import JobRecords
from dispatch_celery.jobs.store import JobStore
from dispatch_celery.queues.model import Limit
from dispatch_celery.queues.records import dump as dump_limit
from dispatch_celery.queues.store import LimitStore
from dispatch_celery.store.client import Store
from dispatch_celery.store.keys import Keys
from dispatch_celery.store.replies import ask, text
from dispatch_celery.store.scripts import Call
from dispatch_celery.store.servertime import ServerTime
from dispatch_celery.work.ports import Keeping
from dispatch_celery.work.scripts import Answer
from dispatch_celery.workflows.keeping import RunKeeping
from dispatch_celery.workflows.store import RunStore
from tests.support.invariants import Dump, check_journal, check_state, dump
from tests.support.limit_invariants import check_limits

START = 4_000_000_000_000
ERROR = json.dumps({"type": "ValueError", "message": "bad", "traceback": ""})
LINE = '"number":1,"outcome":"x","type":"","message":""}'


def nobody(*_: Any, **__: Any) -> None:
    """Observe nothing."""


@dataclass(frozen=True)
class Held:
    """A running job, and what it is held by."""

    ref: JobRef
    holder: WorkerId
    claim: Claim

    @property
    def token(self) -> str:
        """The token of the claim."""
        return self.claim.token


class World:
    """One namespace."""

    def __init__(self, port: Store, namespace: str, **settings: Any) -> None:
        self.port = port
        self.settings = Settings(namespace=namespace, journal=100_000, **settings)
        self.keys = Keys(namespace)
        self.time = ServerTime(START)
        parts = (port, self.keys, self.settings, self.time)
        self.jobs = JobStore(*parts)
        self.letters = DeadLetterStore(*parts)
        self.cluster = ClusterStore(*parts)
        self.records = JobRecords(port, self.keys)
        self.runs = RunStore(*parts)
        self.limits = LimitStore(*parts)
        self.kinds: dict[str, Keeping] = {
            "": JobKeeping(self.jobs, self.settings, nobody),
            "run-": RunKeeping(self.runs, self.settings, nobody),
        }

    # -- looking

    @property
    def now(self) -> int:
        """The time that scripts are told."""
        return self.time.now or 0

    def passes(self, milliseconds: int) -> None:
        """Let time pass."""
        self.time.now = self.now + milliseconds

    def ask(self, *words: Any) -> Any:
        """Send a plain command."""
        return ask(self.port, Call.command(*words))

    def dump(self) -> Dump:
        """Return everything the namespace holds."""
        return dump(self.port, self.keys.tag)

    def record(self, ref: JobRef) -> dict[str, str]:
        """Return a job's record; empty if there is none."""
        return {name: text(value) for name, value in self.records.raw(ref.id).items()}

    def problems(self) -> list[str]:
        """Return every invariant that does not hold."""
        state = self.dump()
        return check_state(state, max_attempts=99, max_crashes=99) + check_journal(state) + check_limits(state)

    # -- doing

    def fill(self) -> None:
        """Let the server's memory be full from now on."""
        self.ask("CONFIG", "SET", "maxmemory", 1)
        with pytest.raises(StoreUnavailable, match="maxmemory"):
            self.ask("SET", "k", "v")

    def make_room(self) -> None:
        """Let the server have as much memory as it likes again."""
        self.ask("CONFIG", "SET", "maxmemory", 0)

    def refuses_whole(self, act: Callable[[], object]) -> None:
        """Fail unless a full server answers "not now" and keeps nothing of it. There is room again afterwards."""
        self.fill()
        before = self.dump()
        with pytest.raises(StoreUnavailable, match=r"refuses for now: .*maxmemory"):
            act()
        assert self.dump() == before
        self.make_room()

    def job(self, *, key: str = "", scope: str = "", payload: bytes = b"{}", **options: Any) -> NewJob:
        """Return a job that is not written yet."""
        name, queue = options.pop("name", "mail"), options.pop("queue", "q")
        spec = {"schema": 1, **({"scope": scope} if scope else {}), **({"idempotency_key": key} if key else {})}
        ref = JobRef(
            id=options.pop("job_id", None) or JobId.mint(time_ms=START),
            name=name,
            queue=queue,
            priority=options.pop("priority", 0),
            scope=scope,
            idempotency_key=key,
        )
        digest = sha256(payload).hexdigest()[:32] if key else ""
        return NewJob(ref=ref, spec=spec, payload=payload, digest=digest, **options)

    def enqueue(self, **options: Any) -> JobRef:
        """Write a new job."""
        job = self.job(**options)
        assert self.jobs.enqueue([job])[0][0] == "CREATED"
        return job.ref

    def limit(self, limit: str = "queue:q", **amounts: Any) -> None:
        """Set a limit, and put it in force; the leader has heard of it."""
        rule = Limit(**amounts)
        revision = self.limits.set(limit, dump_limit(rule), weights=rule.per_key.weights if rule.per_key else {})
        self.limits.enforce([limit])
        self.limits.done([f"look set {revision} {limit}"], [])

    def settle(self, limit: str = "queue:q", *, told: Sequence[tuple[str, str, str, str]] | None = None) -> list[str]:
        """Take in what was left for a limit, or what is given; return who has been granted a permit since, in order."""
        rows = [row.split(" ", 3) for row in self.limits.told(1_000)]
        mine = [(verb, job_id, number, "") for verb, job_id, number, name in rows if name == limit]
        self.tell(mine if told is None else told, limit, batch=1_000)
        if told is None:
            self.limits.done([" ".join(row) for row in rows if row[3] == limit], [])
        return [row.split(" ")[0] for row in self.limits.granted(1_000)]

    def tell(self, told: Sequence[tuple[str, str, str, str]], limit: str = "queue:q", *, batch: int = 0) -> None:
        """Tell a limit what is asked of it and given back, with keys that are as it wants them."""
        (by,) = self.limits.by([limit])
        self.limits.settle(limit, told, by=by, batch=batch)

    def register(self, **names: str) -> WorkerId:
        """Register a worker."""
        worker = WorkerId.mint()
        self.cluster.register(worker, {"pid": 100, "name": "w"}, names)
        return worker

    def claim(self, ref: JobRef, holder: WorkerId, *, nonce: str = "nonce", pid: int = 7) -> Held:
        """Claim a ready job."""
        verdict, claim = self.jobs.claim(ref, holder=holder, nonce=nonce, pid=pid)
        assert isinstance(claim, Claim), verdict
        return Held(ref, holder, claim)

    def running(self, *, nonce: str = "nonce", **options: Any) -> Held:
        """Return a new job, held by a new worker."""
        return self.claim(self.enqueue(**options), self.register(), nonce=nonce)

    def asked_to_cancel(self, **options: Any) -> Held:
        """Return a running job with the cancel flag."""
        held = self.running(**options)
        assert self.jobs.flag(held.ref, held.holder, "enough").verdict == "ASKED"
        return held

    def at(self, state: str, **options: Any) -> JobRef:
        """Return a new job in a state."""
        if state == JobState.SCHEDULED:
            return self.enqueue(delay=10_000, **options)
        if state == JobState.PENDING:
            return self.enqueue(**options)
        held = self.running(**options)
        verb = {"retrying": "retry", "completed": "complete", "failed": "fail", "cancelled": "obey"}.get(state)
        if verb is not None:
            assert self.end(verb, held).verdict == "DONE"
        return held.ref

    def end(self, verb: str, held: Held, *, token: str | None = None) -> Answer:
        """End a claim in one of the five ways."""
        where: dict[str, Any] = {"holder": held.holder, "token": held.token if token is None else token}
        if verb == "complete":
            return self.jobs.complete(held.ref, result=b"1", **where)
        if verb == "retry":
            return self.jobs.retry(held.ref, delay=5_000, counter="attempts", error=ERROR, attempt=LINE, **where)
        if verb == "release":
            return self.jobs.release(held.ref, attempt=LINE, **where)
        if verb == "fail":
            return self.jobs.fail(held.ref, error=ERROR, reason="why", counter="attempts", attempt=LINE, **where)
        return self.jobs.obey(held.ref, reason="asked", attempt=LINE, **where)

    def renew(self, worker: WorkerId, **options: Any) -> Pulse | None:
        """Renew a lease."""
        asked = {"nonce": "n", "volunteer": False, "state": WorkerState.ACTIVE, "with_held": True, **options}
        return self.cluster.renew(worker, **asked)

    def leader(self) -> tuple[WorkerId, str]:
        """Return a new worker that leads, and its term."""
        worker = self.register()
        pulse = self.renew(worker, volunteer=True, nonce=worker[-8:])
        assert pulse is not None
        assert pulse.leader == worker
        return worker, pulse.term


ENDS = {"complete": "completed", "retry": "retrying", "release": "pending", "fail": "failed", "obey": "cancelled"}
"""The five ways to end a claim, and the states they lead to."""
