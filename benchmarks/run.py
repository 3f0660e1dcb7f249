"""Side by side with plain Celery and the peers, in one run: `make bench`. Writes RESULTS.md.

    python benchmarks/run.py [--rounds 5] [--recovery 20] [--quick] [--only throughput latency ...]

Nothing is asserted here: a run on a busy machine is a slower run, not a failed one. Peers live in virtual environments
of their own under benchmarks/.environments, made on demand. `--quick` shows in a few minutes that everything works;
its figures mean nothing, so they go to a file of their own.
"""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from harness import report
from harness.bench import Bench
from harness.book import Book
from harness.contenders import CONTENDERS, EVERYBODY, FLOWS, OPERATED, OURS, WORKFLOWS, Contender, named, prepare
from harness.crons import crons
from harness.faults import recovery, takeover, timers
from harness.flows import FLOW_STEPS, FlowSizes
from harness.letters import letters
from harness.measures import STEPS, Sizes, rest
from harness.operated import drain_operated, parked
from harness.pages import PageSizes, pages
from harness.postgres import Postgres
from harness.profiling import profile
from harness.sleepers import sleepers

from dispatch_celery.store.embedded import EmbeddedServer

HERE = Path(__file__).parent
SECTIONS = (*STEPS, "timers", "idle", "profile", "recovery", "workflows", "letters", "pages", "operated", "crons")
OWN = {"workflows", "letters", "pages"}
"""Sections in which no contender of the jobs takes part."""
QUICK = Sizes(
    one=300,
    backlog=1_500,
    naps=100,
    probes=40,
    idle=10.0,
    timers=1_000,
    spread=3.0,
    letters=2_000,
    parked=2_000,
    crons=300,
)
FEW = FlowSizes(
    runs=3, probes=15, backlog=500, members=100, events=8, recorded=200, replays=2, sleepers=300, night=36.0, idle=5.0
)


FEW_PAGES = PageSizes(jobs=2_000, runs=100, letters=200, rounds=3)


def main() -> int:
    """Run what was asked for; write the page also when interrupted."""
    options = arguments()
    load = os.getloadavg()[0]
    postgres = Postgres()
    contenders, skipped = field(options, postgres)
    book, started = Book(), time.monotonic()
    # Workers live in sessions of their own: whoever ends this run must end them too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        EmbeddedServer(append_only=not options.no_aof) as server,
    ):
        bench = Bench(server, Path(folder), postgres)
        named = describe(bench, contenders, aof=not options.no_aof)
        try:
            measure(bench, contenders, book, options)
        except KeyboardInterrupt:
            book.notes.append("interrupted: the figures are what had been measured until then")
        finally:
            postgres.close()
        took = time.monotonic() - started
        is_part = set(options.only) != set(SECTIONS)
        run = report.Circumstances(command_line(), named, took, load, amounts(options), is_part)
        options.output.parent.mkdir(parents=True, exist_ok=True)
        report.write(options.output, book, run, skipped)
    print(f"\nwrote {options.output} after {took:.0f} s")
    return 0


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--recovery", type=int, default=20, metavar="TRIALS", help="kills; half as many, hint off")
    parser.add_argument("--quick", action="store_true", help="one small round: whether it works, not how fast")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=SECTIONS)
    parser.add_argument("--systems", nargs="+", choices=[contender.key for contender in EVERYBODY])
    parser.add_argument("--no-aof", action="store_true", help="without an append-only file (else: fsync every second)")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.recovery = 1, 2
    options.output = options.output or (HERE / ".environments" / "QUICK.md" if options.quick else HERE / "RESULTS.md")
    return options


def field(options: argparse.Namespace, postgres: Postgres) -> tuple[list[Contender], list[str]]:
    """Return who takes part, and who cannot, with the reason."""
    contenders, skipped = [], []
    asked = [
        *(CONTENDERS if set(options.only) - OWN else ()),
        *(WORKFLOWS if "workflows" in options.only else ()),
    ]
    for contender in asked:
        if options.systems and contender.key not in options.systems:
            continue
        if options.no_aof and contender.appendfsync == "always":
            continue
        why = prepare(contender) or (postgres.why_not(contender) if contender.postgres else None)
        if why is None:
            contenders.append(contender)
        else:
            skipped.append(f"{contender.label}: {why}")
            print(f"SKIPPED {skipped[-1]}", flush=True)
    return contenders, skipped


def measure(bench: Bench, contenders: Sequence[Contender], book: Book, options: argparse.Namespace) -> None:
    """Measure everything: what is compared, round by round; what is counted or only ours has, at the end."""
    sizes = chosen(options)
    of_jobs = [contender for contender in contenders if not contender.flows]
    of_workflows = [contender for contender in contenders if contender.flows]
    ours = [contender for contender in contenders if contender.key == OURS]
    for number in range(options.rounds):
        book.round = number
        heading = f"round {number + 1}/{options.rounds}"
        for step in (step for section in STEPS if section in options.only for step in STEPS[section]):
            for contender in turned(of_jobs, number):
                name = f"{heading}: {step.__name__} of {contender.key}"
                attempt(book, name, partial(step, bench, contender, book, sizes))
        measure_ours(bench, ours, book, options, heading)
        for what, flow_step in FLOW_STEPS.items():
            for contender in turned([one for one in of_workflows if what in one.flows], number):
                name = f"{heading}: {flow_step.__name__} of {contender.key}"
                attempt(book, name, partial(flow_step, bench, contender, book, flow_sizes(options)))
    for contender in of_jobs if "idle" in options.only else []:
        attempt(book, f"idle of {contender.key}", partial(rest, bench, contender, book, sizes))
    for contender in ours if "profile" in options.only else []:
        attempt(book, "profile", partial(profile, bench, contender, book, 2 * sizes.backlog))
    for contender in ours if "recovery" in options.only else []:
        trials = options.recovery
        attempt(book, "recovery", partial(recovery, bench, contender, book, trials, hint=True))
        half = (trials + 1) // 2
        attempt(book, "recovery, hint off", partial(recovery, bench, contender, book, half, hint=False))
    measure_rests(bench, of_workflows, book, options)


def measure_ours(
    bench: Bench, ours: Sequence[Contender], book: Book, options: argparse.Namespace, heading: str
) -> None:
    """Measure in one round what only ours has: timers, and the cost of limits, extensions and measures."""
    sizes = chosen(options)
    for contender in ours if "timers" in options.only else []:
        attempt(book, f"{heading}: timers", partial(timers, bench, contender, book, sizes.timers, sizes.spread))
    operated = [one for one in OPERATED if not options.systems or one.key in options.systems]
    for contender in turned([*ours, *operated], book.round) if "operated" in options.only else []:
        name = f"{heading}: drain_operated of {contender.key}"
        attempt(book, name, partial(drain_operated, bench, contender, book, sizes))


def measure_rests(bench: Bench, contenders: Sequence[Contender], book: Book, options: argparse.Namespace) -> None:
    """Measure what takes its time, and is done once: dead letters, pages, crons, sleeping runs, killed workers."""
    sizes = chosen(options)
    if "letters" in options.only:
        attempt(book, "dead letters", partial(letters, bench, book, sizes.letters))
    if "operated" in options.only:
        attempt(book, "parked jobs", partial(parked, bench, named(OURS), book, sizes.parked, sizes.idle))
    if "crons" in options.only:
        attempt(book, "cron entries", partial(crons, bench, named(OURS), book, sizes.crons))
    if "pages" in options.only:
        attempt(book, "pages in Flower", partial(pages, bench, book, page_sizes(options)))
    for contender in [one for one in contenders if "sleepers" in one.flows]:
        book.round = 0
        attempt(book, f"sleepers of {contender.key}", partial(sleepers, bench, contender, book, flow_sizes(options)))
    for contender in [one for one in contenders if one.key == FLOWS]:
        half = (options.recovery + 1) // 2
        attempt(book, "takeover of runs", partial(takeover, bench, contender, book, half))


def turned(contenders: Sequence[Contender], number: int) -> list[Contender]:
    """Return the contenders in this round's order."""
    turn = number % len(contenders) if contenders else 0
    return [*contenders[turn:], *contenders[:turn]]


def chosen(options: argparse.Namespace) -> Sizes:
    """Return how much of everything this run does."""
    return QUICK if options.quick else Sizes()


def flow_sizes(options: argparse.Namespace) -> FlowSizes:
    """Return how much of everything workflows do in this run."""
    return FEW if options.quick else FlowSizes()


def page_sizes(options: argparse.Namespace) -> PageSizes:
    """Return over how many records this run asks Flower for its pages."""
    return FEW_PAGES if options.quick else PageSizes()


def amounts(options: argparse.Namespace) -> str:
    """Say how much this run did."""
    sizes, flows = chosen(options), flow_sizes(options)
    of_flows = (
        f"; {flows.runs} workflows of {flows.length} steps, {flows.probes} of one, {flows.backlog:,} of five; "
        f"{flows.members:,} members; {flows.events} events; {flows.replays} replays of {flows.recorded:,} steps; "
        f"{flows.sleepers:,} sleepers; {(options.recovery + 1) // 2} kills of workers that execute a run"
    )
    return (
        f"{options.rounds} rounds; {sizes.one:,} jobs enqueued one by one, {sizes.backlog:,} in a backlog of no-ops, "
        f"{sizes.naps:,} of 5 ms; {sizes.probes} probes of latency; {sizes.idle:g} s of idleness; {sizes.timers:,} "
        f"timers over {sizes.spread:g} s and in one instant; {options.recovery} kills of each kind, half without "
        f"hint; {sizes.letters:,} dead letters; {sizes.parked:,} jobs that wait for a permit; "
        f"{sizes.crons:,} cron entries"
        + (of_flows if "workflows" in options.only else "")
        + (f"; {page_sizes(options)}" if "pages" in options.only else "")
    )


def attempt(book: Book, name: str, action: Callable[[], None]) -> None:
    """Take one measurement; one that fails is written down, and the others go on."""
    print(f"{time.strftime('%H:%M:%S')} {name}", flush=True)
    try:
        action()
    except Exception as error:  # noqa: BLE001 - whatever it was, the page must say so
        print(f"FAILED {name}: {type(error).__name__}: {error}", flush=True)
        book.notes.append(f"failed: {name}: {(str(error).splitlines() or [type(error).__name__])[0]}")


def describe(bench: Bench, contenders: Sequence[Contender], *, aof: bool) -> str:
    """Return which servers these were."""
    info = bench.client.info("server")
    name = f"Valkey {info['valkey_version']}" if "valkey_version" in info else f"Redis {info['redis_version']}"
    told = f"{name} on loopback, {'append-only file, fsync every second' if aof else 'without persistence'}"
    other = next((bench.postgres.settings(contender) for contender in contenders if contender.postgres), "")
    return f"{told}; {other}" if other else told


def command_line() -> str:
    """Return the command that makes this page again."""
    words = shlex.join(sys.argv[1:])
    return f"make bench ARGS='{words}'" if words else "make bench"


if __name__ == "__main__":
    sys.exit(main())
