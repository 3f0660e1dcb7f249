"""Random walks over limited queues: jobs come, run, end and are called off while the leader dies between any two calls.

``Walk(store, namespace, seed).play()`` walks exactly the same way again; it returns every broken invariant.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from typing import Any

from dispatch_celery.clock import monotonic_ms
from dispatch_celery.jobs.model import JobState
from dispatch_celery.queues.model import Limit, PerKey
from dispatch_celery.queues.permits import Permits
from dispatch_celery.queues.records import dump
from dispatch_celery.queues.store import LimitStore
from dispatch_celery.store.client import Store
from dispatch_celery.store.scripts import Call
from dispatch_celery.work.model import WakeUp
from dispatch_celery.work.records import WorkRecords
from dispatch_celery.work.store import WorkStore
from tests.lua.world import ENDS, Held, World
from tests.support.invariants import clean

__all__ = ["Broker", "Walk", "make_duty"]

_SCOPES = ("", "a/x", "b/y", "c/z")
_STEPS = 120


class Died(BaseException):
    """The leader is gone between two calls."""


class Broker:
    """Keeps what is published."""

    def __init__(self) -> None:
        self.published: list[WakeUp] = []

    def riders(self, wakeups: Sequence[WakeUp]) -> list[Call]:
        """Return nothing: it is no Redis."""
        return []

    def publish(self, wakeups: Sequence[WakeUp]) -> None:
        """Keep them."""
        self.published += wakeups

    def announce(self, wakeups: Sequence[WakeUp]) -> None:
        """Tell nobody."""

    def waiting(self, queue: str) -> int | None:
        """Return how many wait."""
        return sum(wakeup.ref.queue == queue for wakeup in self.published)


class Dying:
    """A port that fails before, or after, a call that is counted down to."""

    def __init__(self, inner: Store) -> None:
        self._inner = inner
        self.left = -1
        self.after = False

    def execute(self, calls: Sequence[Call]) -> list[Any]:
        """Send, or die."""
        self.left -= 1
        if self.left == 0 and not self.after:
            raise Died
        replies: list[Any] = self._inner.execute(calls)
        if self.left == 0:
            raise Died
        return replies


def make_duty(
    world: World,
    port: Any,
    broker: Broker,
    term: Callable[[], str] = lambda: "t",
    clock: Callable[[], int] = monotonic_ms,
) -> Permits:
    """Return the leader's duty over a port of its own."""
    parts = (port, world.keys, world.settings, world.time)
    return Permits(
        store=LimitStore(*parts),
        work=WorkStore(*parts),
        records=WorkRecords(port, world.keys),
        publisher=broker,
        term=term,
        clock=clock,
    )


class Walk:
    """One walk."""

    def __init__(self, store: Store, namespace: str, seed: int) -> None:
        self._random = random.Random(seed)
        self.world = World(store, namespace)
        self.limits = LimitStore(store, self.world.keys, self.world.settings, self.world.time)
        self.broker = Broker()
        self.port = Dying(store)
        self._duty = make_duty(self.world, self.port, self.broker)
        self._reigns = 0
        self._holder = self.world.register()
        self._running: list[Held] = []
        self._nonce = 0
        self.log: list[str] = []

    def play(self) -> list[str]:
        """Walk, then let everything come to its end; return what was broken."""
        try:
            self._set("queue:q")
            steps = (self._enqueue, self._enqueue, self._duty_round, self._claim, self._claim, self._end, self._end,
                     self._cancel, self._change, self._replace, self._wait)  # fmt: skip
            for _ in range(_STEPS):
                step = self._random.choice(steps)
                self.log.append(step.__name__)
                step()
                problems = self.world.problems()
                if problems:
                    return problems
            return self._finish()
        finally:
            clean(self.world.port, self.world.keys.tag)

    # -- steps

    def _set(self, limit: str) -> None:
        per_key = None
        if self._random.random() < 0.5:
            per_key = PerKey(
                by=self._random.choice(("scope", "scope.app_id", "arguments.to")),
                concurrency=self._random.choice((None, 1, 2)),
                weights={"a/x": 3},
            )
        rule = Limit(
            concurrency=self._random.choice((1, 2, 5)), rate=self._random.choice((None, "200/s")), per_key=per_key
        )
        (found,) = self.limits.read([limit])
        held = found.permits if found else 0
        if rule.concurrency is not None and held > rule.concurrency:
            return  # lowered below what is out: nothing is broken by it, but the invariant would say so
        if per_key is not None and per_key.concurrency is not None and held > per_key.concurrency:
            return  # the same, should they turn out to be of one key
        weights = {} if per_key is None else per_key.weights
        revision = self.limits.set(limit, {**dump(rule), "paused": ""}, weights=weights)
        self.limits.enforce([limit])
        self.limits.look(limit, revision)

    def _change(self) -> None:
        chance = self._random.random()
        if chance < 0.3:
            self._set(self._random.choice(("queue:q", "job:sms")))
        elif chance < 0.6:
            self._pause(self._random.choice(("1", "")))

    def _pause(self, paused: str) -> None:
        if self.limits.read(["queue:q"]) != [None]:
            self.limits.look("queue:q", self.limits.set("queue:q", {"paused": paused}))

    def _enqueue(self) -> None:
        options: dict[str, Any] = {"name": self._random.choice(("mail", "sms")), "scope": self._random.choice(_SCOPES)}
        options["payload"] = self._payload()
        if self._random.random() < 0.2:
            options["delay"] = 20
        self.world.jobs.enqueue(
            [
                self.world.job(queue=self._random.choice(("q", "q", "r")), **options)
                for _ in range(self._random.randint(1, 4))
            ]
        )

    def _payload(self) -> bytes:
        return json.dumps({"to": self._random.choice("ab")}).encode()

    def _replace(self) -> None:
        state = self._random.choice((JobState.LIMITED, JobState.LIMITED, JobState.PENDING, JobState.SCHEDULED))
        there = sorted(self.world.dump().ordered.get(f"state:{state}", {}))
        if there:
            (stored,) = self.world.records.stored([self._random.choice(there)])
            assert stored is not None
            job = self.world.job(scope=stored.ref.scope, payload=self._payload())
            assert self.world.jobs.replace(stored.ref.id, job).verdict == "DONE"

    def _duty_round(self) -> None:
        self.port.left = self._random.choice((-1, -1, -1, *range(1, 15)))
        self.port.after = self._random.random() < 0.5
        try:
            self._duty.run_once()
        except Died:
            self._reigns += 1
            reign = f"t{self._reigns}"
            self._duty = make_duty(self.world, self.port, self.broker, lambda: reign)
        finally:
            self.port.left = -1

    def _claim(self) -> None:
        ready = sorted(self.world.dump().ordered.get("state:pending", {}))
        if not ready:
            return
        (stored,) = self.world.records.stored([self._random.choice(ready)])
        assert stored is not None
        self._nonce += 1
        verdict, claim = self.world.jobs.claim(stored.ref, holder=self._holder, nonce=f"n{self._nonce}", pid=7)
        if verdict == "CLAIMED":
            self._running.append(Held(stored.ref, self._holder, claim))  # type: ignore[arg-type]  # as CLAIMED says

    def _end(self) -> None:
        if not self._running:
            return
        held = self._running.pop(self._random.randrange(len(self._running)))
        verb = self._random.choice([*ENDS, "complete", "complete"])
        self.world.end(verb, held)
        if self._random.random() < 0.3:
            self.world.end(verb, held)  # the reply was lost

    def _cancel(self) -> None:
        state = self._random.choice((JobState.LIMITED, JobState.PENDING, JobState.SCHEDULED))
        there = sorted(self.world.dump().ordered.get(f"state:{state}", {}))
        if there:
            (stored,) = self.world.records.stored([self._random.choice(there)])
            assert stored is not None
            self.world.jobs.cancel(stored.ref, state, "enough")

    def _wait(self) -> None:
        self.world.passes(self._random.choice((1, 10, 6_000)))
        self.world.renew(self._holder)
        _, due = self.world.jobs.due(self.world.keys.timers, 100)
        found = [stored for stored in self.world.records.stored(due) if stored is not None]
        self.world.jobs.promote([(stored.ref, stored.state) for stored in found])

    # -- the end

    def _finish(self) -> list[str]:
        self._pause("")
        for _ in range(400):
            self._duty.run_once()
            self.world.passes(50)
            self._wait()
            for _ in range(3):
                self._claim()
            while self._running:
                self.world.end("complete", self._running.pop())
            state = self.world.dump()
            left = [
                job_id
                for job_id, record in state.jobs.items()
                if record["state"] not in ("completed", "failed", "cancelled")
            ]
            rows = [*state.ordered.get("permits", {}), *state.ordered.get("grants", {})]
            if not left and not rows:
                return self._leaks(state)
        return [f"12: {job_id} never ends: {state.jobs[job_id]}" for job_id in left] + [
            f"12: {row} stays" for row in rows
        ]

    @staticmethod
    def _leaks(state: Any) -> list[str]:
        return [f"10: {name} is left: {held}" for name, held in state.hashes.items() if name.endswith(":known")]
