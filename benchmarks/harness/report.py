"""Writes RESULTS.md: the machine, the command, the targets, the tables, and what stands between us and huey."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from harness.book import Book, Place
from harness.contenders import BASE, EVERYBODY, FLOWS, HUEY, OURS, named, versions
from harness.idle import FLEETS
from harness.rows import FLOW_METHOD, METHOD, SECTIONS, Row
from harness.targets import TARGETS, Target


@dataclass(frozen=True)
class Circumstances:
    """Where, when and how a run was made."""

    command: str
    server: str
    took: float
    load: float
    sizes: str
    is_part: bool = False
    """Whether only some sections were asked for: then nothing is said of the others."""


def write(path: Path, book: Book, circumstances: Circumstances, skipped: Sequence[str]) -> None:
    """Write the whole page."""
    parts = ["# Benchmark results", _circumstances(circumstances), METHOD, FLOW_METHOD]
    if skipped:
        parts.append("\n".join(f"**Not measured: {line}**" for line in skipped))
    parts += [
        "## Targets",
        _targets(book, is_part=circumstances.is_part),
        "## Who takes part",
        _field(book, is_part=circumstances.is_part),
    ]
    for title, rows in SECTIONS:
        tables = [table for row in rows if (table := _table(book, row))]
        if tables:
            parts += [f"## {title}", *tables]
    parts += [text for text in (_between(book), _commands(book)) if text]
    if book.notes:
        parts += ["## Notes of the run", "\n".join(f"- {note}" for note in book.notes)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n\n".join(part.strip() for part in parts) + "\n")


def _circumstances(run: Circumstances) -> str:
    system = f"{platform.system()} {platform.release()}, CPython {platform.python_version()}"
    lines = [
        f"- made by `{run.command}` on {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, in {run.took / 60:.0f} minutes",
        f"- {os.cpu_count()} cores ({_processor()}), {system}; load average before the run {run.load:.1f}",
        f"- server: {run.server}",
        f"- sizes: {run.sizes}",
    ]
    if run.load > 0.5:
        lines.append("- **the machine was not idle when the run began**")
    return "\n".join(lines)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def _field(book: Book, *, is_part: bool) -> str:
    lines = ["| system | made of | after `kill -9` of a worker |", "|---|---|---|"]
    shown = [one for one in EVERYBODY if not is_part or book.knows(one.key)]
    lines += [f"| {one.label} | {versions(one) or 'not installed'} | {one.crash} |" for one in shown]
    return "\n".join(lines)


def _targets(book: Book, *, is_part: bool) -> str:
    lines = ["| measure | ours | against | ratio | to reach | |", "|---|---|---|---|---|---|"]
    lines += [_target(book, target) for target in TARGETS if not is_part or target.outcome(book) is not None]
    return "\n".join(lines)


def _target(book: Book, target: Target) -> str:
    found = target.outcome(book)
    if found is None:
        return f"| {target.text} | - | - | - | {target.mark} | not measured |"
    other = f"{named(target.base[0]).label}: {_spread(found.other, target.form)}" if target.base else "-"
    ratio = "-" if target.base is None else f"{found.judged:+.2f}" if target.beyond else f"{found.judged:.2f}"
    verdict = "met" if target.reached(found.judged) else "**short**"
    return f"| {target.text} | {_spread(found.mine, target.form)} | {other} | {ratio} | {target.mark} | {verdict} |"


def _table(book: Book, row: Row) -> str:
    places = book.places(row.measure)
    if not places:
        return ""
    compared = row.compared and any(place[0] == row.base for place in places)
    against = f" x {'plain' if row.base == BASE else named(row.base).label} |" if compared else ""
    lines = [f"### {row.title}", "", "| system | median (min..max) |" + against]
    lines.append("|---|---|" + ("---|" if compared else ""))
    for place in _ordered(places):
        line = f"| {_name(place)} | {_spread(book.samples(row.measure, *place), row.form)} |"
        if compared:
            own = (row.base, place[1] if row.base == BASE else named(row.base).usual)
            own = own if own in places else next(one for one in places if one[0] == row.base)
            line += f" {_spread(book.ratios(row.measure, place, own), '{:.2f}')} |"
        lines.append(line)
    lines += [f"| {named(key).label} | {words} |" + (" |" if compared else "") for key, words in row.words.items()]
    return "\n".join(lines)


def _between(book: Book) -> str:
    """Say what a no-op costs in processor time, here and there, and whose code takes ours."""
    peer, server = book.median("cpu_noop", HUEY, "processes"), book.median("cpu_server", HUEY, "processes")
    lines = ["## What stands between us and huey", ""]
    if peer is not None and server is not None:
        lines.append(f"huey takes {peer:,.0f} µs of its workers and {server:,.0f} µs of the server for a no-op.")
    for pool in ("solo", "prefork"):
        whole, apart = book.median("cpu_noop", OURS, pool), book.median("cpu_server", OURS, pool)
        places = book.places(f"profile_{pool}")
        if whole is None or apart is None or not places:
            continue
        shares = sorted(((book.samples(f"profile_{pool}", *place)[0], place[1]) for place in places), reverse=True)
        lines += [
            "",
            f"Ours, {named(OURS).pools[pool]}, takes {whole:,.0f} µs and {apart:,.0f} µs. The former are:",
            "",
        ]
        lines += [f"- {share * whole:,.0f} µs ({share:.0%}) {owner}" for share, owner in shares if share >= 0.01]
    return "\n".join(lines) if len(lines) > 2 else ""


def _commands(book: Book) -> str:
    """Say which commands idle workers send."""
    lines = ["## What idle workers send, per second and worker", ""]
    for fleet in FLEETS:
        measure = f"idle_commands_{fleet}"
        for key in dict.fromkeys(key for key, _ in book.places(measure)):
            places = [place for place in book.places(measure) if place[0] == key]
            rates = sorted(((book.samples(measure, *place)[0], place[1]) for place in places), reverse=True)
            told = ", ".join(f"{command} {rate:.2f}" for rate, command in rates)
            lines.append(f"- {named(key).label}, {fleet}: {told}")
    return "\n".join(lines) if len(lines) > 2 else ""


def _spread(samples: Sequence[float], form: str) -> str:
    if not samples:
        return "-"
    middle = form.format(statistics.median(samples))
    if len(samples) == 1:
        return middle
    return f"{middle} ({form.format(min(samples))}..{form.format(max(samples))})"


def _ordered(places: Sequence[Place]) -> list[Place]:
    keys = [contender.key for contender in EVERYBODY]
    usual = {contender.key: ("", contender.usual) for contender in EVERYBODY}
    return sorted(places, key=lambda place: (place[1] not in usual[place[0]], place[1], keys.index(place[0])))


def _name(place: Place) -> str:
    key, pool = place
    text = named(key).label + (f", {named(key).pools.get(pool, pool)}" if pool else "")
    return f"**{text}**" if key in {OURS, FLOWS} else text
