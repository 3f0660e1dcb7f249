"""Writes RESULTS.md: the machine, the command, the tables, the targets."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from harness.book import Book, Place
from harness.contenders import BASE, CONTENDERS, OURS, versions
from harness.targets import TARGETS


@dataclass(frozen=True)
class Row:
    """One measure as it is printed."""

    measure: str
    title: str
    form: str
    compared: bool = True


THROUGHPUT = (
    Row("enqueue_one", "Enqueue one, jobs/s", "{:,.0f}"),
    Row("enqueue_many", "Enqueue many, jobs/s", "{:,.0f}"),
    Row("drain_noop", "Drain a backlog of no-ops, jobs/s", "{:,.0f}"),
    Row("cpu_noop", "Processor time of the workers per no-op, µs (steadier than rates on a busy machine)", "{:,.0f}"),
    Row("cpu_server", "Processor time of the server per no-op, µs", "{:,.0f}"),
    Row("drain_nap", "Drain a backlog of 5 ms jobs, jobs/s", "{:,.0f}"),
    Row("memory", "Memory per queued small job, bytes", "{:,.0f}"),
)
LATENCY = (
    Row("start_p50", "Enqueue to start at low load, p50, ms", "{:.2f}"),
    Row("start_p99", "Enqueue to start at low load, p99, ms", "{:.2f}"),
    Row("trip_p50", "Result round trip, p50, ms", "{:.2f}"),
    Row("trip_p99", "Result round trip, p99, ms", "{:.2f}"),
)
IDLE = (
    Row("idle_sent", "Idle: commands sent, per second and worker", "{:.2f}", compared=False),
    Row("idle_processed", "Idle: commands processed, those inside scripts too", "{:.2f}", compared=False),
)
RECOVERY = (
    Row("recovery_hint", "Killed worker, liveness hint on, s", "{:.2f}", compared=False),
    Row("recovery_plain", "Killed worker, liveness hint off, s", "{:.2f}", compared=False),
    Row("recovery_child", "Killed pool process, s", "{:.2f}", compared=False),
    Row("timers_p50", "Timers over 10 s: lateness p50, ms", "{:.0f}", compared=False),
    Row("timers_p99", "Timers over 10 s: lateness p99, ms", "{:.0f}", compared=False),
    Row("timers_instant", "Timers of one instant: all ready after, s", "{:.2f}", compared=False),
    Row("timers_published", "Timers of one instant: all messages out after, s", "{:.2f}", compared=False),
)

METHOD = """Each figure is the median of the rounds with the least and the most in brackets; every round measures every
system in turn, in an order that rotates, on one server that is emptied before each measurement. "x plain" is the median
of the ratios to plain Celery in the same round and pool; systems without Celery's pools are compared with `prefork`.

- An effect is one `INCR` on another database of the same server, over a bare socket, for every system alike. Ours does
  a claim script and an outcome script besides. The row "counted by its own records" leaves the `INCR` out.
- Celery workers hold sixteen messages whatever the pool, without gossip, mingle and heartbeat. Peers run two processes.
- A drain is timed from a tenth of the effects to the last one. Jobs of 5 ms wait, two at a time in every system.
- "Enqueue many" is `enqueue_many`, a loop of `delay()`, dramatiq's group, huey's `map`, taskiq's coroutines
  by the hundred.
- Results are off but for the round trip, there with each system's Redis backend. Ours are on, always.
- Memory is the difference of `used_memory` with the backlog queued, messages included.
- Recovery is from `kill -9` to the second attempt's first line. Timers are late by the server's clock."""


def write(path: Path, book: Book, *, command: str, server: str, skipped: Sequence[str], took: float) -> None:
    """Write the whole page."""
    parts = ["# Benchmark results", _circumstances(command, server, took), METHOD]
    if skipped:
        parts.append("\n".join(f"**Not measured: {line}**" for line in skipped))
    parts.append(_targets(book))
    for title, rows in (
        ("Throughput and memory", THROUGHPUT),
        ("Latency", LATENCY),
        ("Idle", IDLE),
        ("Recovery and timers (ours, our transport)", RECOVERY),
    ):
        tables = [table for row in rows if (table := _table(book, row))]
        if tables:
            parts += [f"## {title}", *tables]
    if book.places("profile_solo") or book.places("profile_prefork"):
        parts += ["## What stands between us and huey", _between(book)]
    if book.notes:
        parts += ["## Notes of the run", "\n".join(f"- {note}" for note in book.notes)]
    path.write_text("\n\n".join(part.strip() for part in parts) + "\n")


def _circumstances(command: str, server: str, took: float) -> str:
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg()) if hasattr(os, "getloadavg") else "unknown"
    system = f"{platform.system()} {platform.release()}, CPython {platform.python_version()}"
    lines = [
        f"- made by `{command}` on {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, in {took / 60:.0f} minutes",
        f"- {os.cpu_count()} cores ({_processor()}), {system}; load average at the end {load}",
        f"- server: {server}",
    ]
    told: dict[str, str] = {}
    for contender in CONTENDERS:
        if (contender.python not in told.values()) and (known := versions(contender)):
            told[known] = contender.python
    return "\n".join([*lines, *(f"- {known}" for known in told)])


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def _targets(book: Book) -> str:
    lines = ["## Targets", "", "| what | to reach | measured | |", "|---|---|---|---|"]
    for target in TARGETS:
        value = target.figure(book)
        if value is None:
            lines.append(f"| {target.text} | {target.mark} | - | not measured |")
        else:
            verdict = "reached" if target.reached(value) else "**short**"
            lines.append(f"| {target.text} | {target.mark} | {value:,.3g} | {verdict} |".replace("e+03", "e3"))
    return "\n".join(lines)


def _table(book: Book, row: Row) -> str:
    places = book.places(row.measure)
    if not places:
        return ""
    base = next((place for place in places if place[0] == BASE), None)
    compared = row.compared and base is not None
    lines = [f"### {row.title}", "", "| system | median [least - most] |" + (" x plain |" if compared else "")]
    lines.append("|---|---|" + ("---|" if compared else ""))
    for place in _ordered(places):
        samples = book.samples(row.measure, *place)
        cell = _spread(samples, row.form)
        line = f"| {_name(place)} | {cell} |"
        if compared and base is not None:
            own = (BASE, place[1]) if (BASE, place[1]) in places else base
            line += f" {_spread(book.ratios(row.measure, place, own), '{:.2f}')} |"
        lines.append(line)
    return "\n".join(lines)


def _between(book: Book) -> str:
    """Say what a no-op costs in processor time, here and there, and whose code takes ours."""
    lines = ["Processor time per no-op, workers and server together:", ""]
    places = [(key, pool) for key in (OURS, BASE) for pool in ("prefork", "solo")]
    for contender, pool in [*places, ("huey", "processes")]:
        worker, server = book.median("cpu_noop", contender, pool), book.median("cpu_server", contender, pool)
        if worker is not None and server is not None:
            lines.append(f"- {_name((contender, pool))}: {worker:,.0f} µs + {server:,.0f} µs")
    for pool in ("solo", "prefork"):
        places = book.places(f"profile_{pool}")
        if places:
            lines += ["", f"Of the samples of our worker ({pool}), while it drains no-ops:", ""]
            shares = sorted(((book.samples(f"profile_{pool}", *place)[0], place[1]) for place in places), reverse=True)
            lines += [f"- {share:.0%} {owner}" for share, owner in shares if share >= 0.01]
    return "\n".join(lines)


def _spread(samples: Sequence[float], form: str) -> str:
    ordered = sorted(samples)
    if not ordered:
        return "-"
    count = len(ordered)
    middle = (ordered[(count - 1) // 2] + ordered[count // 2]) / 2
    if count == 1:
        return form.format(middle)
    return f"{form.format(middle)} [{form.format(ordered[0])} - {form.format(ordered[-1])}]"


def _ordered(places: Sequence[Place]) -> list[Place]:
    keys = [contender.key for contender in CONTENDERS]
    return sorted(places, key=lambda place: (place[1] == "solo", keys.index(place[0])))


def _name(place: Place) -> str:
    key, pool = place
    contender = next(contender for contender in CONTENDERS if contender.key == key)
    text = contender.label + (f", {contender.pools.get(pool, pool)}" if pool else "")
    return f"**{text}**" if key == OURS else text
