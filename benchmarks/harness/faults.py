"""Recovery: how long until the job of a killed process runs elsewhere, and timers: how late they are.

Both read the state by the product's own verbs, in this process; the workers are real ones.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from systems.effects import STARTS

from dispatch_celery.store.keys import Keys
from harness.bench import Bench, Failed, end, eventually
from harness.book import Book, quantile
from harness.contenders import OURS, SYSTEMS, Contender

_SEED = 20_261_121
_TRIES = 300


class Fleet:
    """Two workers of ours, and the app as its callers see it."""

    def __init__(self, bench: Bench, contender: Contender, extra: dict[str, str]) -> None:
        self.bench = bench
        self.contender = contender
        self.extra = extra
        self.ours = import_ours(bench)
        self.workers: dict[int, subprocess.Popen[bytes]] = {}
        self.number = 0

    def fill(self) -> None:
        """Have two registered workers, one of which leads and has nothing left to recover."""
        while len(self.workers) < 2:
            process, _ = self.bench.start(self.contender, "prefork", extra=self.extra)
            self.workers[process.pid] = process

        def settled() -> bool:
            known = {worker.pid: worker for worker in self.ours.dispatch.workers.list().records}
            return set(known) == set(self.workers) and sum(worker.leads for worker in known.values()) == 1

        eventually(settled, within=60, what="two workers are registered and one leads")

    def leader(self) -> int:
        """Return the main process of the leader."""
        worker = self.ours.dispatch.workers.leader()
        return worker.pid if worker is not None else 0

    def hold_on(self, victim: int) -> tuple[int, int]:
        """Have a job run in one worker; return its number and the process it runs in."""
        for _ in range(_TRIES):
            self.number += 1
            number = self.number
            self.ours.holding.enqueue(number)
            pid, parent, _ = eventually(partial(self.starts, number), within=30, what="a job starts")[0]
            if parent == victim:
                return number, pid
            self.bench.effects.set(f"free:{number}", 1)
        raise Failed(f"one of the workers takes no more jobs: not one of {_TRIES} began in it")

    def starts(self, number: int) -> list[tuple[int, int, int]]:
        """Return where and when each attempt of a job began: process, its parent, nanoseconds."""
        lines = [line.decode().split() for line in self.bench.effects.lrange(STARTS, 0, -1)]
        return [(int(pid), int(parent), int(at)) for job, pid, parent, at in lines if int(job) == number]

    def await_second_start(self, number: int, killed: int) -> float:
        """Return the seconds from a kill to the second attempt."""
        starts = eventually(
            lambda: found if len(found := self.starts(number)) > 1 else None, within=60, what="the job runs again"
        )
        return (starts[1][2] - killed) / 1e9

    def close(self) -> None:
        """End what runs."""
        for process in self.workers.values():
            end(process)


def import_ours(bench: Bench) -> Any:
    """Return the module of our system, joined to this run's server."""
    if "ours" not in sys.modules:
        os.environ.update(BENCH_HOST="127.0.0.1", BENCH_PORT=str(bench.server.port))
        sys.path.insert(0, str(SYSTEMS))
    import ours  # noqa: PLC0415 - it reads where the server is when it is imported

    return ours


def recovery(bench: Bench, contender: Contender, book: Book, trials: int, *, hint: bool) -> None:
    """Kill whole workers, the leader and a follower in turn, and pool processes."""
    bench.flush()
    chance = random.Random(_SEED)
    fleet = Fleet(bench, contender, {"DISPATCH_LIVENESS_HINT": "1" if hint else "0"})
    name = "recovery_hint" if hint else "recovery_plain"
    try:
        for trial in range(trials):
            fleet.fill()
            leads = trial % 2 == 0
            victim = fleet.leader() if leads else next(pid for pid in fleet.workers if pid != fleet.leader())
            number, _ = fleet.hold_on(victim)
            # Any moment of the renewals' rhythm, and also jobs that have only just begun.
            time.sleep(chance.uniform(0.05, 3.0))
            killed = time.monotonic_ns()
            end(fleet.workers.pop(victim))
            book.add(name, OURS, fleet.await_second_start(number, killed), pool="leader" if leads else "follower")
            print(f"  {name} {trial + 1}/{trials}", end="\r", flush=True)
        if hint:
            _kill_children(fleet, book, trials, chance)
    finally:
        fleet.close()


def _kill_children(fleet: Fleet, book: Book, trials: int, chance: random.Random) -> None:
    fleet.fill()
    victims = sorted(fleet.workers)
    for trial in range(trials):
        number, pid = fleet.hold_on(victims[trial % 2])
        time.sleep(chance.uniform(0.0, 0.5))
        killed = time.monotonic_ns()
        os.kill(pid, signal.SIGKILL)
        book.add("recovery_child", OURS, fleet.await_second_start(number, killed))


def _timers(bench: Bench, contender: Contender, moments: Sequence[datetime]) -> tuple[list[float], float]:
    """Schedule a job for each moment; return how late each became ready in ms, and when the last message was out."""
    bench.flush()
    ours = import_ours(bench)
    lane = Keys("dispatch").lane("timers:0")
    with bench.workers(contender, "prefork"):
        eventually(ours.dispatch.workers.leader, within=60, what="a worker leads")
        job = ours.TASKS["noop"]
        shift = datetime.now(UTC) - moments[0] + timedelta(seconds=6)
        due = [moment + shift for moment in moments]
        calls = [job.options(run_at=at, queue="timers").bind(number) for number, at in enumerate(due)]
        handles = ours.dispatch.enqueue_many(calls)
        if datetime.now(UTC) > due[0]:
            raise SystemExit("the machine is too slow: the first timer was due before the last was set")
        eventually(lambda: _messages(bench, "timers") >= len(due), within=60, what="every timer has fired")
        published = time.time()
    ready = dict(bench.client.zrange(lane, 0, -1, withscores=True))
    late = [
        ready[str(handle.id).encode()] - int(at.timestamp() * 1000) for handle, at in zip(handles, due, strict=True)
    ]
    return late, published - due[-1].timestamp()


def _messages(bench: Bench, queue: str) -> int:
    """Return how many messages a queue holds: a list for each of its priorities."""
    return sum(int(bench.client.llen(key)) for key in bench.client.keys(f"{queue}*"))


def timers(bench: Bench, contender: Contender, book: Book, count: int) -> None:
    """Fire timers that are spread over ten seconds, and as many in one instant."""
    start = datetime.now(UTC)
    spread = [start + timedelta(seconds=10 * number / count) for number in range(count)]
    late, _ = _timers(bench, contender, spread)
    book.add("timers_p50", OURS, quantile(late, 0.5))
    book.add("timers_p99", OURS, quantile(late, 0.99))
    late, published = _timers(bench, contender, [start] * count)
    book.add("timers_instant", OURS, max(late) / 1000)
    book.add("timers_published", OURS, published)
