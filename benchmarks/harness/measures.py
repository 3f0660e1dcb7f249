"""The measurements that are taken of every contender, once a round each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from systems.effects import STAMPS

from harness.bench import Bench, Failed, eventually
from harness.book import Book, quantile
from harness.contenders import BASE, OURS, Contender
from harness.idle import idle

_SLOTS = 2


@dataclass(frozen=True)
class Sizes:
    """How much of everything; seconds where it is time."""

    one: int = 2_000
    backlog: int = 6_000
    naps: int = 600
    probes: int = 200
    gap: float = 0.012
    idle: float = 20.0
    timers: int = 10_000
    spread: float = 10.0
    letters: int = 100_000
    parked: int = 100_000
    crons: int = 10_000


class Drain(NamedTuple):
    """What emptying a queue took: jobs a second, microseconds of processor time a job in workers and server."""

    rate: float
    cpu: float
    server_cpu: float


Step = Callable[[Bench, Contender, Book, Sizes], None]


def enqueue_one(bench: Bench, contender: Contender, book: Book, sizes: Sizes) -> None:
    """Enqueue jobs one by one, nobody taking them."""
    bench.flush()
    answer = bench.ask(contender, "enqueue", "noop", str(sizes.one))
    book.add("enqueue_one", contender.key, answer["jobs"] / answer["seconds"])


def _preload(bench: Bench, contender: Contender, kind: str, count: int) -> tuple[float, float]:
    """Fill the queue; return the rate and the bytes one queued job takes."""
    bench.flush()
    before = bench.memory()
    answer = bench.ask(contender, "enqueue", kind, str(count), "--many")
    used = bench.memory() - before
    return answer["jobs"] / answer["seconds"], used / count


def drain_of(bench: Bench, contender: Contender, pool: str, count: int, threads: int) -> Drain:
    """Start the workers on a full queue; measure from when both slots are at work to the last effect."""
    with bench.workers(contender, pool, threads=threads) as crew:
        bench.await_slots(contender, _SLOTS, crew.log)
        started, first = bench.await_count(contender, count // 10, crew.log)
        if first > count // 2:
            raise Failed(f"{contender.label}: {first} of {count} jobs were done before its second slot was at work")
        before, server_before = crew.cpu(), bench.cpu()
        ended, last = bench.await_count(contender, count, crew.log)
        spent, server_spent = crew.cpu() - before, bench.cpu() - server_before
    done = last - first
    return Drain(done / (ended - started), spent / done * 1e6, server_spent / done * 1e6)


def drain_noops(bench: Bench, contender: Contender, book: Book, sizes: Sizes) -> None:
    """Enqueue many, weigh them, and drain them, in each pool."""
    for pool in contender.pools:
        rate, weight = _preload(bench, contender, "noop", sizes.backlog)
        if pool == contender.usual:
            book.add("enqueue_many", contender.key, rate)
            book.add("memory", contender.key, weight)
        drain = drain_of(bench, contender, pool, sizes.backlog, 4)
        book.add("drain_noop", contender.key, drain.rate, pool=pool)
        book.add("cpu_noop", contender.key, drain.cpu, pool=pool)
        book.add("cpu_server", contender.key, drain.server_cpu, pool=pool)


def drain_naps(bench: Bench, contender: Contender, book: Book, sizes: Sizes) -> None:
    """Drain jobs that wait 5 ms each, two at a time in every system."""
    _preload(bench, contender, "nap", sizes.naps)
    pool = contender.usual
    book.add("drain_nap", contender.key, drain_of(bench, contender, pool, sizes.naps, 1).rate, pool=pool)


def start_latency(bench: Bench, contender: Contender, book: Book, sizes: Sizes) -> None:
    """Send jobs one at a time to idle workers; each notes how old it is when it starts."""
    bench.flush()
    with bench.workers(contender, contender.usual) as crew:
        bench.warm(contender, crew.log)
        bench.ask(contender, "latency", str(sizes.probes), "--gap", str(sizes.gap))
        eventually(lambda: bench.effects.llen(STAMPS) >= sizes.probes, within=10, what="every probe has started")
        found = [int(value) / 1e6 for value in bench.effects.lrange(STAMPS, 0, -1)]
    book.add("start_p50", contender.key, quantile(found, 0.5))
    book.add("start_p99", contender.key, quantile(found, 0.99))


def round_trip(bench: Bench, contender: Contender, book: Book, sizes: Sizes) -> None:
    """Enqueue a job and wait for its result, again and again."""
    bench.flush()
    extra = {"BENCH_RESULTS": "1"}
    with bench.workers(contender, contender.usual, extra=extra) as crew:
        bench.warm(contender, crew.log, extra)
        answer = bench.ask(contender, "roundtrip", str(sizes.probes), "--gap", str(sizes.gap), extra=extra)
    book.add("trip_p50", contender.key, quantile(answer["milliseconds"], 0.5))
    book.add("trip_p99", contender.key, quantile(answer["milliseconds"], 0.99))


def rest(bench: Bench, contender: Contender, book: Book, sizes: Sizes) -> None:
    """Watch workers have nothing to do: plain Celery's and ours."""
    if contender.key in {BASE, OURS}:
        idle(bench, contender, book, sizes.idle)


STEPS: dict[str, tuple[Step, ...]] = {
    "throughput": (enqueue_one, drain_noops, drain_naps),
    "latency": (start_latency, round_trip),
}
"""What is done in each round; ``rest`` is done once, being a count and no time."""
