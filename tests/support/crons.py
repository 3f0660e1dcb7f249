"""Cron over a real server, under a clock that only a test moves: an app, its verbs, and leaders that may die."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

from celery import Celery

from dispatch_celery import Dispatch, Workflow
from dispatch_celery.cron.firing import Firing
from dispatch_celery.cron.model import CronEntry
from dispatch_celery.ids import JobId, RunId, WorkerId
from dispatch_celery.store.client import RedisStore
from dispatch_celery.store.replies import ask, words
from dispatch_celery.store.scripts import Call
from tests.support.invariants import Dump, check_journal, check_state, clean, dump

START = datetime(2027, 3, 1, 12, 0, 30, tzinfo=UTC)
MINUTE = 60_000


def stamp(moment: datetime) -> int:
    """Return a moment in ms since 1970."""
    return int(moment.timestamp() * 1000)


class Died(BaseException):
    """The leader's process was killed."""


class Dying:
    """A way to the server that dies before or after its n-th command; what it has sent takes effect."""

    def __init__(self, store: RedisStore, *, at: int, after: bool) -> None:
        self._store = store
        self._left = at
        self._after = after
        self.sent = 0

    def execute(self, calls: Sequence[Call]) -> list[Any]:
        """Send calls one by one, and die where it was told."""
        replies: list[Any] = []
        for call in calls:
            self.sent += 1
            if self.sent == self._left and not self._after:
                raise Died
            replies += self._store.execute([call])
            if self.sent == self._left and self._after:
                raise Died
        return replies

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


class CronWorld:
    """One namespace with an app, and any number of leaders."""

    def __init__(self, url: str, namespace: str, *, broker: str = "", **settings: Any) -> None:
        self.app = Celery(namespace, broker=broker or url)
        self.app.conf.update(
            task_default_queue=namespace,
            dispatch_namespace=namespace,
            dispatch_redis_url=url,
            dispatch_journal=100_000,
            **{f"dispatch_{name}": value for name, value in settings.items()},
        )
        self.dispatch = dispatch = Dispatch(self.app)
        self.parts = dispatch._parts
        self.parts.time.now = stamp(START)
        self.heard: list[tuple[str, dict[str, Any]]] = []

        @dispatch.job(name="tick")
        def tick(n: int = 0) -> int:
            return n

        @dispatch.workflow(name="flow", timeout=600)
        def flow(wf: Workflow, n: int = 0) -> int:
            return n

        self.tick, self.flow = tick, flow
        self.leader = self.lead()

    # -- time

    @property
    def now(self) -> int:
        """The time that scripts are told."""
        return self.parts.time.now or 0

    def passes(self, milliseconds: int) -> None:
        """Let time pass."""
        self.parts.time.now = self.now + milliseconds

    def goes_to(self, moment: datetime) -> None:
        """Set the clock."""
        self.parts.time.now = stamp(moment)

    # -- doing

    def lead(self, store: Any = None) -> Firing:
        """Return another carrier of the duty."""
        return self.parts.make_firing(store or self.parts.store, self._hear)

    def _hear(self, moment: str, ref: Any, /, **facts: Any) -> None:
        self.heard.append((moment, facts))

    def register(self, schedule: Any = "* * * * *", target: Any = "tick", name: str = "e", **options: Any) -> CronEntry:
        """Register an entry."""
        return self.dispatch.crons.register(name, schedule, target, **options)

    def fire(self, leader: Firing | None = None) -> None:
        """Let a leader look until nothing is due any more."""
        carrier = leader or self.leader
        for _ in range(200):
            if carrier.run_once() > 0:
                return
        raise AssertionError("something is due for ever")

    def after(self, milliseconds: int) -> list[str]:
        """Let time pass and the leader fire; return the ids of what there is."""
        self.passes(milliseconds)
        self.fire()
        return self.work()

    def ends(self, work_id: str, state: str = "completed") -> None:
        """Say of a job that it has ended, for the scripts that look at it."""
        holder = self.parts.workers._store
        worker = WorkerId.mint()
        holder.register(worker, {"pid": 1, "name": "w"}, {})
        stored = self.parts.records.stored([work_id])[0]
        assert stored is not None
        _, claim = self.parts.job_store.claim(stored.ref, holder=worker, nonce="n", pid=1)
        token = claim.token  # type: ignore[union-attr]  # it is ready
        where = {"holder": worker, "token": token}
        if state == "completed":
            assert self.parts.job_store.complete(stored.ref, result=b"1", **where).verdict == "DONE"
        else:
            assert self.parts.job_store.obey(stored.ref, reason="asked", **where).verdict == "DONE"

    # -- looking

    def entry(self, name: str = "e") -> CronEntry:
        """Return an entry as it is."""
        return self.dispatch.crons.get(name)

    def work(self) -> list[str]:
        """Return the ids of every job and run there is, in the order of their slots."""
        jobs = [job.id for job in self.dispatch.jobs.list(limit=1_000)]
        runs = [run.id for run in self.dispatch.runs.list(limit=1_000)]
        return sorted([*jobs, *runs], key=lambda one: one[4:])

    def slots(self) -> list[datetime]:
        """Return the moments, as their ids tell them, of what there is."""
        return [datetime.fromtimestamp(_typed(one).time_ms / 1000, UTC) for one in self.work()]

    def outcomes(self, name: str = "e") -> list[str]:
        """Return what became of the last slots, the oldest first."""
        return [fire.outcome for fire in reversed(self.entry(name).fires)]

    def messages(self) -> int:
        """Return how many wake-ups the queue holds."""
        return self.parts.publisher.waiting(self.app.conf.task_default_queue) or 0

    def fired(self) -> list[dict[str, Any]]:
        """Return what listeners heard of fires."""
        return [facts for moment, facts in self.heard if moment == "cron_fired"]

    def problems(self) -> list[str]:
        """Return every invariant that does not hold."""
        state = dump(self.parts.store, self.parts.keys.tag)
        return [*check_state(state, max_attempts=99, max_crashes=99), *check_journal(state), *_unfired(state)]

    def close(self) -> None:
        """Delete the namespace and its queue, and close connections."""
        clean(self.parts.store, self.parts.keys.tag)
        queue = words(ask(self.parts.store, Call.command("KEYS", f"{self.app.conf.task_default_queue}*")))
        if queue:
            ask(self.parts.store, Call.command("DEL", *queue))
        self.dispatch.close()
        with suppress(Exception):
            self.app.close()


def _unfired(state: Dump) -> list[str]:
    """Return the entries that are not due when their record says so."""
    slots, problems = state.ordered.get("cron-slots", {}), []
    for cron_id in state.ordered.get("crons", {}):
        entry = state.hashes[f"cron:{cron_id}"]
        fires = entry["enabled"] == "1" and entry["next_slot"] and "orphaned_at" not in entry
        if (cron_id in slots) is not bool(fires):
            problems.append(f"{cron_id} is due or not, and its record says otherwise: {entry}")
    return problems


def _typed(work_id: str) -> JobId | RunId:
    return RunId(work_id) if work_id.startswith("run") else JobId(work_id)


@contextmanager
def cron_world(url: str, namespace: str, **settings: Any) -> Iterator[CronWorld]:
    """Give a test a world, and look at its invariants when the test has ended."""
    world = CronWorld(url, namespace, **settings)
    try:
        yield world
        assert world.problems() == []
    finally:
        world.close()
