"""Recovery: how long until the job or run of a killed process goes on elsewhere, and timers: how late they are.

The workers are real ones; the jobs and runs are started in this process, by the product's own verbs.
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
from importlib import import_module
from pathlib import Path
from typing import Any

from systems.effects import STARTS

from harness.bench import Bench, Failed, end, eventually, tail
from harness.book import Book, quantile
from harness.contenders import OURS, SYSTEMS, Contender

_SEED = 20_261_121

_AHEAD = 4.0
_LOOK = 0.004
_APART = "timers"
_LANE = f"{_APART}\x06\x169"
"""Where messages of the default priority lie in that queue."""


class Fleet:
    """Two workers of ours, and the app as its callers see it."""

    def __init__(self, bench: Bench, contender: Contender, extra: dict[str, str]) -> None:
        self.bench = bench
        self.contender = contender
        self.extra = extra
        self.ours = import_ours(bench, contender.module)
        self.workers: dict[int, subprocess.Popen[bytes]] = {}
        self.logs: list[Path] = []
        self.number = 0

    def fill(self) -> None:
        """Have two registered workers, one of which leads and has nothing left to recover."""
        while len(self.workers) < 2:
            process, log = self.bench.start(self.contender, "prefork", extra=self.extra)
            self.workers[process.pid] = process
            self.logs = [*self.logs[-1:], log]

        def settled() -> bool:
            known = {worker.pid: worker for worker in self.ours.dispatch.workers.list().records}
            return set(known) == set(self.workers) and sum(worker.leads for worker in known.values()) == 1

        eventually(settled, within=60, what="two workers are registered and one leads", logs=self.logs)

    def leader(self) -> int:
        """Return the main process of the leader."""
        worker = self.ours.dispatch.workers.leader()
        return worker.pid if worker is not None else 0

    def hold_on(self, victim: int) -> tuple[int, int]:
        """Have a job run in one worker; return its number and the process it runs in.

        The other one stands still meanwhile, for less than a renewal: which of two idle workers takes a message is
        chance, and the one that won last is likelier to.
        """
        self.number += 1
        number, others = self.number, [pid for pid in self.workers if pid != victim]
        for pid in others:
            os.kill(pid, signal.SIGSTOP)
        try:
            self.ours.begin_to_hold(number)
            pid, parent, _ = eventually(partial(self.starts, number), within=5, what="a job starts", logs=self.logs)[0]
        finally:
            for pid_stopped in others:
                os.kill(pid_stopped, signal.SIGCONT)
        if parent != victim:
            raise Failed("the job began in another worker than it was meant for")
        return number, pid

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


def import_ours(bench: Bench, module: str) -> Any:
    """Return a module of our system, joined to this run's server."""
    if str(SYSTEMS) not in sys.path:
        os.environ.update(BENCH_HOST="127.0.0.1", BENCH_PORT=str(bench.server.port))
        sys.path.insert(0, str(SYSTEMS))
    return import_module(module)  # not before now: it reads where the server is when it is imported


def recovery(bench: Bench, contender: Contender, book: Book, trials: int, *, hint: bool) -> None:
    """Kill whole workers that execute a job, the leader and a follower in turn, and pool processes."""
    bench.flush()
    chance = random.Random(_SEED)
    fleet = Fleet(bench, contender, {"DISPATCH_LIVENESS_HINT": "1" if hint else "0"})
    try:
        _kill_workers(fleet, book, trials, chance, "recovery_hint" if hint else "recovery_lease")
        if hint:
            _kill_children(fleet, book, trials, chance)
    finally:
        fleet.close()


def takeover(bench: Bench, contender: Contender, book: Book, trials: int) -> None:
    """Kill whole workers that execute a run, the leader and a follower in turn."""
    bench.empty(contender)
    fleet = Fleet(bench, contender, {})
    try:
        _kill_workers(fleet, book, trials, random.Random(_SEED), "flow_takeover")
    finally:
        fleet.close()


def _kill_workers(fleet: Fleet, book: Book, trials: int, chance: random.Random, measure: str) -> None:
    for trial in range(trials):
        fleet.fill()
        leads = trial % 2 == 0
        victim = fleet.leader() if leads else next(pid for pid in fleet.workers if pid != fleet.leader())
        number, _ = fleet.hold_on(victim)
        # Any moment of the renewals' rhythm, and also what has only just begun.
        time.sleep(chance.uniform(0.05, 3.0))
        killed = time.monotonic_ns()
        end(fleet.workers.pop(victim))
        book.round = trial
        pool, taken = "leader" if leads else "follower", fleet.await_second_start(number, killed)
        book.add(measure, fleet.contender.key, taken, pool=pool)
        print(f"  {measure} {trial + 1}/{trials}", end="\r", flush=True)


def _kill_children(fleet: Fleet, book: Book, trials: int, chance: random.Random) -> None:
    fleet.fill()
    victims = sorted(fleet.workers)
    for trial in range(trials):
        number, pid = fleet.hold_on(victims[trial % 2])
        time.sleep(chance.uniform(0.0, 0.5))
        killed = time.monotonic_ns()
        os.kill(pid, signal.SIGKILL)
        book.round = trial
        book.add("recovery_child", OURS, fleet.await_second_start(number, killed))


def _timers(bench: Bench, contender: Contender, moments: Sequence[float]) -> list[float]:
    """Schedule a job for each moment, in seconds from now; return how many ms late each message was in its queue.

    Nobody takes from that queue. What is seen at a look had come since the look before: each is a little less late
    than it is called.
    """
    bench.flush()
    ours = import_ours(bench, contender.module)
    with bench.workers(contender, "prefork") as crew:
        eventually(ours.dispatch.workers.leader, within=60, what="a worker leads", logs=(crew.log,))
        first = datetime.now(UTC) + timedelta(seconds=_AHEAD)
        due = [first + timedelta(seconds=moment) for moment in moments]
        job = ours.TASKS["noop"]
        calls = [job.options(run_at=at, queue=_APART).bind(number) for number, at in enumerate(due)]
        ours.dispatch.enqueue_many(calls)
        if datetime.now(UTC) > first:
            raise Failed("the machine is too slow: the first timer was due before the last was set")
        late: list[float] = []
        limit = time.monotonic() + _AHEAD + moments[-1] + 30
        while len(late) < len(due):
            if time.monotonic() > limit:
                raise Failed(f"{len(late)} of {len(due)} timers have fired\n{tail(crew.log)}")
            time.sleep(_LOOK)
            there = min(int(bench.client.llen(_LANE)), len(due))
            now = time.time()
            late += [(now - at.timestamp()) * 1000 for at in due[len(late) : there]]
    return late


def timers(bench: Bench, contender: Contender, book: Book, count: int, spread: float) -> None:
    """Fire timers that are spread over some seconds, and as many in one instant."""
    late = _timers(bench, contender, [spread * number / count for number in range(count)])
    book.add("timers_p50", OURS, quantile(late, 0.5))
    book.add("timers_p99", OURS, quantile(late, 0.99))
    book.add("timers_instant", OURS, max(_timers(bench, contender, [0.0] * count)) / 1000)
