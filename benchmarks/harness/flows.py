"""The measurements of workflows that are taken of every system, once a round each."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from statistics import median

from systems.effects import STAMPS

from harness.bench import Bench, Failed
from harness.book import Book, quantile
from harness.contenders import ABSURD, CANVAS, DBOS, FLOWS, Contender

_SLOTS = 2
_STEPS = 5
_SHARES = {CANVAS: 3, ABSURD: 3, DBOS: 6}
"""Who gets a part of the backlog only: it takes them as long as the whole of it takes ours."""


@dataclass(frozen=True)
class FlowSizes:
    """How much of everything; seconds where it is time."""

    runs: int = 20
    length: int = 50
    probes: int = 100
    gap: float = 0.012
    backlog: int = 3_000
    members: int = 1_000
    events: int = 60
    recorded: int = 1_000
    replays: int = 5
    sleepers: int = 10_000
    night: float = 46.0
    """How long sleepers sleep once all of them do: they are weighed and watched meanwhile."""

    idle: float = 15.0


FlowStep = Callable[[Bench, Contender, Book, FlowSizes], None]


def extra_step(bench: Bench, contender: Contender, book: Book, sizes: FlowSizes) -> None:
    """Run long workflows one after the other; what lies between two steps' starts is what a step costs."""
    pool = contender.usual
    for flow, measure in _kinds(contender):
        bench.empty(contender)
        with bench.workers(contender, pool):
            words = ("steps", flow, str(sizes.runs), str(sizes.length), "--pool", pool)
            found = bench.ask(contender, *words)["milliseconds"]
        book.add(f"{measure}_p50", contender.key, quantile(found, 0.5), pool=pool)
        book.add(f"{measure}_p99", contender.key, quantile(found, 0.99), pool=pool)


def _kinds(contender: Contender) -> list[tuple[str, str]]:
    kinds = [("ticks", "flow_step")]
    return [*kinds, ("undone", "flow_undone")] if contender.module == "ours_flows" else kinds


def single_step(bench: Bench, contender: Contender, book: Book, sizes: FlowSizes) -> None:
    """Start workflows of one step, one at a time, the workers idle."""
    for pool in contender.pools:
        if pool == "threads":
            continue
        bench.empty(contender)
        with bench.workers(contender, pool):
            words = ("one", str(sizes.probes), "--gap", str(sizes.gap), "--pool", pool)
            found = bench.ask(contender, *words)["milliseconds"]
            late = [int(value) / 1e6 for value in bench.effects.lrange(STAMPS, -len(found), -1)]
        for measure, values in (("flow_one", found), ("flow_start", late)):
            book.add(f"{measure}_p50", contender.key, quantile(values, 0.5), pool=pool)
            book.add(f"{measure}_p99", contender.key, quantile(values, 0.99), pool=pool)


def drain_flows(bench: Bench, contender: Contender, book: Book, sizes: FlowSizes) -> None:
    """Start the workers on a backlog of workflows of five steps; measure from when both work to the last effect."""
    count = sizes.backlog // _SHARES.get(contender.key, 1)
    for pool in contender.pools:
        if pool in {"threads", "inline"}:
            continue
        bench.empty(contender)
        answer = bench.ask(contender, "backlog", "five", str(count), "--pool", pool)
        wanted = _STEPS * count
        with bench.workers(contender, pool) as crew:
            bench.await_slots(contender, _SLOTS, crew.log)
            started, first = bench.await_count(contender, wanted // 10, crew.log)
            if first > wanted // 2:
                raise Failed(f"{contender.label}: {first} of {wanted} steps were done before its second slot worked")
            ended, last = bench.await_count(contender, wanted, crew.log)
        if last != wanted:
            raise Failed(f"{contender.label}: {last} effects of {wanted} steps")
        book.add("flow_drain", contender.key, (last - first) / (ended - started), pool=pool)
        if pool == contender.usual:
            book.add("flow_enqueue", contender.key, answer["runs"] / answer["seconds"])


def fan_out(bench: Bench, contender: Contender, book: Book, sizes: FlowSizes) -> None:
    """Start one workflow of many members, and wait for what joins them."""
    places = [(pool, "fan") for pool in contender.pools if pool not in {"threads", "inline", "queue", "processes"}]
    if contender.key == FLOWS:
        places = [("prefork", "gather"), ("prefork", "map"), ("solo", "gather")]
    for pool, flow in places:
        bench.empty(contender)
        with bench.workers(contender, pool) as crew:
            bench.ask(contender, "fan", flow, "4", "--pool", pool)
            taken = bench.ask(contender, "fan", flow, str(sizes.members), "--pool", pool)["seconds"]
            bench.await_count(contender, sizes.members + 4, crew.log)
        book.add("flow_map" if flow == "map" else "flow_fan", contender.key, taken, pool=pool)


def event(bench: Bench, contender: Contender, book: Book, sizes: FlowSizes) -> None:
    """Tell waiting workflows, one at a time."""
    bench.empty(contender)
    pool = contender.usual
    with bench.workers(contender, pool):
        found = bench.ask(contender, "events", str(sizes.events), "--pool", pool)["milliseconds"]
        late = [int(value) / 1e6 for value in bench.effects.lrange(STAMPS, -len(found), -1)]
    book.add("flow_event_p50", contender.key, quantile(found, 0.5), pool=pool)
    book.add("flow_woken_p50", contender.key, quantile(late, 0.5), pool=pool)


def replay(bench: Bench, contender: Contender, book: Book, sizes: FlowSizes) -> None:
    """Have workflows with many recorded steps go on."""
    bench.empty(contender)
    pool = contender.usual
    # A worker of Absurd's is what asks here: nothing else could tell when a task is taken.
    with nullcontext() if contender.key == ABSURD else bench.workers(contender, pool):
        words = ("replay", str(sizes.recorded), str(sizes.replays), "--pool", pool)
        found = bench.ask(contender, *words)["milliseconds"]
    book.add("flow_replay", contender.key, median(found))


FLOW_STEPS: dict[str, FlowStep] = {
    "steps": extra_step,
    "one": single_step,
    "drain": drain_flows,
    "fan": fan_out,
    "events": event,
    "replay": replay,
}
"""What is done in each round, of those that take part in it."""
