"""The measurements that are taken of every contender, once a round each."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from systems.effects import STAMPS

from harness.bench import Bench
from harness.book import Book, quantile
from harness.contenders import SILENT, Contender

_SETTLE = 4.0


@dataclass(frozen=True)
class Sizes:
    """How much of everything."""

    one: int = 2_000
    backlog: int = 6_000
    naps: int = 1_000
    probes: int = 200
    gap: float = 0.02
    idle: float = 10.0
    timers: int = 10_000


class Drain(NamedTuple):
    """What emptying a queue took: jobs a second, microseconds of processor time a job in workers and server."""

    rate: float
    cpu: float
    server_cpu: float


Step = Callable[[Bench, Contender, Book, Sizes], None]


def enqueue_one(bench: Bench, contender: Contender, book: Book, sizes: Sizes) -> None:
    """Enqueue jobs one by one."""
    if contender.key == SILENT:
        return
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


def _drain(bench: Bench, contender: Contender, pool: str, count: int, threads: int) -> Drain:
    """Start the workers on a full queue; measure from a tenth of the effects to the last one.

    The first tenth is left out because two workers do not start at the same moment.
    """
    with bench.workers(contender, pool, threads=threads) as crew:
        started, first = bench.await_count(contender, max(1, count // 10), crew.log)
        before, server_before = crew.cpu(), bench.cpu()
        ended, last = bench.await_count(contender, count, crew.log)
        spent, server_spent = crew.cpu() - before, bench.cpu() - server_before
    done = last - first
    return Drain(done / (ended - started), spent / done * 1e6, server_spent / done * 1e6)


def drain_noops(bench: Bench, contender: Contender, book: Book, sizes: Sizes) -> None:
    """Enqueue many, weigh them, and drain them, in each pool."""
    for pool in contender.pools:
        rate, weight = _preload(bench, contender, "noop", sizes.backlog)
        if contender.key != SILENT:
            book.add("enqueue_many", contender.key, rate)
            book.add("memory", contender.key, weight)
        drain = _drain(bench, contender, pool, sizes.backlog, 4)
        book.add("drain_noop", contender.key, drain.rate, pool=pool)
        book.add("cpu_noop", contender.key, drain.cpu, pool=pool)
        book.add("cpu_server", contender.key, drain.server_cpu, pool=pool)


def drain_naps(bench: Bench, contender: Contender, book: Book, sizes: Sizes) -> None:
    """Drain jobs that wait 5 ms each, two at a time in every system."""
    if contender.key == SILENT:
        return
    for pool in contender.pools:
        _preload(bench, contender, "nap", sizes.naps)
        book.add("drain_nap", contender.key, _drain(bench, contender, pool, sizes.naps, 1).rate, pool=pool)


def start_latency(bench: Bench, contender: Contender, book: Book, sizes: Sizes) -> None:
    """Send jobs one at a time to idle workers; each notes how old it is when it starts."""
    if contender.key == SILENT:
        return
    bench.flush()
    with bench.workers(contender, next(iter(contender.pools))) as crew:
        bench.warm(contender, crew.log)
        bench.ask(contender, "latency", str(sizes.probes), "--gap", str(sizes.gap))
        limit = time.monotonic() + 10
        while bench.effects.llen(STAMPS) < sizes.probes and time.monotonic() < limit:
            time.sleep(0.01)
        found = [int(value) / 1e6 for value in bench.effects.lrange(STAMPS, 0, -1)]
    if len(found) < sizes.probes:
        book.notes.append(f"{contender.label}: {sizes.probes - len(found)} of {sizes.probes} probes never started")
    book.add("start_p50", contender.key, quantile(found, 0.5))
    book.add("start_p99", contender.key, quantile(found, 0.99))


def round_trip(bench: Bench, contender: Contender, book: Book, sizes: Sizes) -> None:
    """Enqueue a job and wait for its result, again and again."""
    if contender.key == SILENT:
        return
    bench.flush()
    extra = {"BENCH_RESULTS": "1"}
    with bench.workers(contender, next(iter(contender.pools)), extra=extra) as crew:
        bench.warm(contender, crew.log, extra)
        answer = bench.ask(contender, "roundtrip", str(sizes.probes), "--gap", str(sizes.gap), extra=extra)
    book.add("trip_p50", contender.key, quantile(answer["milliseconds"], 0.5))
    book.add("trip_p99", contender.key, quantile(answer["milliseconds"], 0.99))


def idle(bench: Bench, contender: Contender, book: Book, sizes: Sizes) -> None:
    """Count the commands of two idle workers: those the server processed, and those that were sent to it."""
    if contender.key == SILENT or not contender.is_celery:
        return
    bench.flush()
    with bench.workers(contender, "prefork", count=2) as crew:
        bench.warm(contender, crew.log)
        time.sleep(_SETTLE)
        before, started = bench.info("total_commands_processed"), time.monotonic()
        time.sleep(sizes.idle)
        # INFO itself is one of them.
        processed = bench.info("total_commands_processed") - before - 1
        book.add("idle_processed", contender.key, processed / 2 / (time.monotonic() - started))
        book.add("idle_sent", contender.key, _sent(bench, sizes.idle) / 2 / sizes.idle)


def _sent(bench: Bench, seconds: float) -> int:
    """Return how many commands clients send in so many seconds; what scripts call is not among them."""
    seen = b""
    limit = time.monotonic() + seconds
    with socket.create_connection(("127.0.0.1", bench.server.port)) as monitor:
        monitor.settimeout(0.2)
        monitor.sendall(b"MONITOR\r\n")
        while time.monotonic() < limit:
            with contextlib.suppress(TimeoutError):
                seen += monitor.recv(65536)
    lines = [line for line in seen.split(b"\r\n") if line.startswith(b"+") and line != b"+OK"]
    return sum(1 for line in lines if b" lua]" not in line)


STEPS: dict[str, tuple[Step, ...]] = {
    "throughput": (enqueue_one, drain_noops, drain_naps),
    "latency": (start_latency, round_trip),
    "idle": (idle,),
}
