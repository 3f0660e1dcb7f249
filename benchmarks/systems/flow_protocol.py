"""The one command line of every system of workflows; results are one line of JSON, as in ``protocol``.

python <system>.py prepare                       makes what must be there before anything else: tables, queues
python <system>.py backlog five 800              {"seconds": 0.3, "runs": 800}
python <system>.py steps ticks 20 50             {"milliseconds": [0.3, ...]} between the starts of consecutive steps
python <system>.py one 100 --gap 0.02            {"milliseconds": [5.1, ...]} to the result; its step notes its delay
python <system>.py fan map 1000                  {"seconds": 1.7}
python <system>.py events 50                     {"milliseconds": [7.0, ...]} to the result
python <system>.py replay 1000 5                 {"milliseconds": [41.0, ...]}
python <system>.py sleepers 10000 1765000000     {"seconds": 3.0, "runs": 10000}
python <system>.py worker --pool prefork         (becomes the workers)

The workflows have the same names and the same steps in every system:

single(sent)           one step that notes how old the run is
ticks(n)               n steps that return when they began; undone(n): with an undo each
five(number)           five steps, an effect each
fan, map, gather (n)   n members, an effect each, joined
waiter(n, number)      n steps, an effect, a wait, a step that notes how old the message is
sleeper(number, due)   an effect, a rest, an effect
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from effects import done
from protocol import LONG_ENOUGH, pauses

POSTGRES = os.environ.get("BENCH_POSTGRES", "")
"""The URL of the database of the systems that keep their state in PostgreSQL."""

PATIENCE = 60.0
_WARM = 10
_WARM_FOR = 2.0
"""Runs that are not measured, and the seconds after which a slow system has had enough of them."""

_SETTLE = 0.05


class FlowSystem:
    """One system under test. A subclass says how its workflows are started, told, awaited and worked."""

    pool = ""
    """Which of its pools this command is about."""

    def prepare(self) -> None:
        """Make what must be there before the first workflow."""

    def start(self, flow: str, *arguments: Any) -> Any:
        """Start a workflow in some worker, as the documentation shows it; return what its result is asked of."""
        raise NotImplementedError

    def result(self, started: Any) -> Any:
        """Wait for a workflow's result."""
        raise NotImplementedError

    def tell(self, started: Any, sent: int) -> None:
        """Send a workflow what it waits for: the moment it was sent."""
        raise NotImplementedError

    def rests(self, started: Any) -> bool:  # noqa: ARG002 - not every system can tell
        """Return whether a workflow is known to wait. Where nobody knows, it is given time to."""
        time.sleep(_SETTLE)
        return True

    def replays(self, length: int, times: int) -> list[float]:
        """Return the milliseconds from taking a run with so many recorded steps to its next step, each time."""
        raise NotImplementedError

    def worker(self, pool: str) -> list[str]:
        """Return the command that works the workflows."""
        raise NotImplementedError

    def close(self) -> None:
        """Close what this process used."""


def backlog(system: FlowSystem, flow: str, count: int) -> dict[str, float]:
    """Start runs one by one, and time it."""
    started = time.perf_counter()
    for number in range(count):
        system.start(flow, number)
    return {"seconds": time.perf_counter() - started, "runs": count}


def steps(system: FlowSystem, flow: str, runs: int, length: int) -> dict[str, list[float]]:
    """Run workflows one after the other, and return the time between the starts of consecutive steps."""
    system.result(system.start(flow, length))
    found: list[float] = []
    limit = time.monotonic() + LONG_ENOUGH
    for _ in range(runs):
        stamps = system.result(system.start(flow, length))
        if len(stamps) != length:
            raise SystemExit(f"{len(stamps)} of {length} steps were run")
        found += [(later - earlier) / 1e6 for earlier, later in pairwise(stamps)]
        if time.monotonic() > limit:
            break
    return {"milliseconds": found}


def one(system: FlowSystem, count: int, gap: float) -> dict[str, list[float]]:
    """Measure from before a run is started to having its result, one at a time."""
    _warm(lambda: system.result(system.start("single", time.monotonic_ns())))
    found: list[float] = []
    limit = time.monotonic() + LONG_ENOUGH
    for pause in pauses(count, gap):
        time.sleep(pause)
        sent = time.monotonic_ns()
        answer = system.result(system.start("single", sent))
        found.append((time.monotonic_ns() - sent) / 1e6)
        if answer != sent:
            raise SystemExit("a result differs from what the step returned")
        if time.monotonic() > limit:
            break
    return {"milliseconds": found}


def _warm(run: Callable[[], Any]) -> None:
    limit = time.monotonic() + _WARM_FOR
    for _ in range(_WARM):
        run()
        if time.monotonic() > limit:
            break


def fan(system: FlowSystem, flow: str, count: int) -> dict[str, float]:
    """Measure from before a run is started to having the result of all its members."""
    started = time.perf_counter()
    answer = system.result(system.start(flow, count))
    if answer != count:
        raise SystemExit(f"{answer} of {count} members were joined")
    return {"seconds": time.perf_counter() - started}


def awaited(system: FlowSystem, length: int) -> Any:
    """Start a run and return it when it waits, with so many steps recorded."""
    before, limit = done(), time.monotonic() + PATIENCE
    started = system.start("waiter", length, before)
    while done() == before or not system.rests(started):
        if time.monotonic() > limit:
            raise SystemExit("a run does not come to its wait")
        time.sleep(0.001)
    return started


def told(system: FlowSystem, length: int) -> float:
    """Return the milliseconds from before a waiting run is told to having its result."""
    started = awaited(system, length)
    sent = time.monotonic_ns()
    system.tell(started, sent)
    answer = system.result(started)
    took = (time.monotonic_ns() - sent) / 1e6
    if answer != sent:
        raise SystemExit("a run was told something else than was sent")
    return took


def events(system: FlowSystem, count: int) -> dict[str, list[float]]:
    """Tell waiting runs, one at a time."""
    _warm(lambda: told(system, 0))
    found: list[float] = []
    limit = time.monotonic() + LONG_ENOUGH
    while len(found) < count and time.monotonic() < limit:
        found.append(told(system, 0))
    return {"milliseconds": found}


def sleepers(system: FlowSystem, count: int, due: float) -> dict[str, float]:
    """Start runs that rest until one moment, in seconds since 1970."""
    started = time.perf_counter()
    for number in range(count):
        system.start("sleeper", number, due)
    return {"seconds": time.perf_counter() - started, "runs": count}


def main(system: FlowSystem, words: Sequence[str] | None = None) -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser()
    parser.add_argument("command")
    parser.add_argument("words", nargs="*")
    parser.add_argument("--gap", type=float, default=0.02)
    parser.add_argument("--pool", default="processes")
    parser.add_argument("--threads", type=int, default=0, help="not for workflows")
    options = parser.parse_args(words)
    if options.command == "worker":
        command = system.worker(options.pool)
        os.execv(command[0], command)  # noqa: S606 - a constant command of this benchmark
    given, system.pool = options.words, options.pool
    commands = {
        "prepare": system.prepare,
        "backlog": lambda: backlog(system, given[0], int(given[1])),
        "steps": lambda: steps(system, given[0], int(given[1]), int(given[2])),
        "one": lambda: one(system, int(given[0]), options.gap),
        "fan": lambda: fan(system, given[0], int(given[1])),
        "events": lambda: events(system, int(given[0])),
        "replay": lambda: {"milliseconds": system.replays(int(given[0]), int(given[1]))},
        "sleepers": lambda: sleepers(system, int(given[0]), float(given[1])),
    }
    try:
        answer = commands[options.command]()
    finally:
        system.close()
    print(json.dumps(answer))
