"""The one command line of every system: enqueue, probe, and start workers; results are one line of JSON.

python <system>.py enqueue noop 6000 [--many]     {"seconds": 1.2, "jobs": 5950}
python <system>.py latency 200 --gap 0.02         {"jobs": 200}, which note their delays themselves
python <system>.py roundtrip 200 --gap 0.02       {"milliseconds": [3.1, ...]}
python <system>.py worker --pool prefork          (becomes the worker)
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path

HOST = os.environ.get("BENCH_HOST", "127.0.0.1")
PORT = int(os.environ.get("BENCH_PORT", "0"))
URL = f"redis://{HOST}:{PORT}"
RESULTS = os.environ.get("BENCH_RESULTS") == "1"
"""Whether results are kept: for the round trip only. Ours keeps them always."""

WARM_UP = 50
WARM_TRIPS = 5
LONG_ENOUGH = 8.0
"""Seconds after which a slow system has been asked for enough round trips."""


class System:
    """One system under test. A subclass says how its jobs are sent, awaited and worked."""

    def send(self, kind: str, number: int) -> None:
        """Enqueue one job, as the documentation shows it."""
        raise NotImplementedError

    def send_each(self, kind: str, numbers: Sequence[int]) -> None:
        """Enqueue jobs one by one."""
        for number in numbers:
            self.send(kind, number)

    def send_many(self, kind: str, numbers: Sequence[int]) -> None:
        """Enqueue jobs in the best way the system documents for many; one by one where it has none."""
        self.send_each(kind, numbers)

    def round_trip(self, number: int) -> int:
        """Enqueue a job and wait for its result."""
        raise NotImplementedError

    def worker(self, pool: str, threads: int) -> list[str]:
        """Return the command that works the jobs."""
        raise NotImplementedError

    def close(self) -> None:
        """Close what this process used."""


def executable(name: str) -> str:
    """Return a program of the environment this runs in."""
    return str(Path(sys.executable).parent / name)


def enqueue(system: System, kind: str, count: int, *, many: bool) -> dict[str, float]:
    """Enqueue and time it. The jobs that warm the client up are real ones, and belong to the count."""
    warm = min(WARM_UP, count // 10)
    system.send_each(kind, range(warm))
    started = time.perf_counter()
    (system.send_many if many else system.send_each)(kind, range(warm, count))
    return {"seconds": time.perf_counter() - started, "jobs": count - warm}


def latency(system: System, count: int, gap: float) -> dict[str, int]:
    """Send jobs that note how old they are when they start."""
    system.send_each("noop", range(WARM_TRIPS))
    for pause in pauses(count, gap):
        time.sleep(pause)
        system.send_each("stamp", [time.monotonic_ns()])
    return {"jobs": count}


def round_trips(system: System, count: int, gap: float) -> dict[str, list[float]]:
    """Measure from enqueueing to having the result."""
    for number in range(WARM_TRIPS):
        system.round_trip(number)
    found: list[float] = []
    limit = time.monotonic() + LONG_ENOUGH
    for number, pause in enumerate(pauses(count, gap)):
        time.sleep(pause)
        started = time.perf_counter()
        answer = system.round_trip(number)
        found.append((time.perf_counter() - started) * 1000)
        if answer != number:
            raise SystemExit("a result differs from what the job returned")
        if time.monotonic() > limit:
            break
    return {"milliseconds": found}


def pauses(count: int, gap: float) -> list[float]:
    """Return pauses that fall in step with nobody's polling, the same for every system."""
    chance = random.Random(count)
    return [chance.uniform(0.5 * gap, 1.5 * gap) for _ in range(count)]


def main(system: System) -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=["enqueue", "latency", "roundtrip", "worker"])
    parser.add_argument("words", nargs="*")
    parser.add_argument("--many", action="store_true")
    parser.add_argument("--gap", type=float, default=0.02)
    parser.add_argument("--pool", default="processes")
    parser.add_argument("--threads", type=int, default=4)
    options = parser.parse_args()
    if options.command == "worker":
        command = system.worker(options.pool, options.threads)
        os.execv(command[0], command)  # noqa: S606 - a constant command of this benchmark
    count = int(options.words[-1])
    try:
        if options.command == "enqueue":
            answer: object = enqueue(system, options.words[0], count, many=options.many)
        elif options.command == "latency":
            answer = latency(system, count, options.gap)
        else:
            answer = round_trips(system, count, options.gap)
    finally:
        system.close()
    print(json.dumps(answer))
