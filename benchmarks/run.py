"""Side by side with plain Celery and the peers, in one run: `make bench`. Writes RESULTS.md.

    python benchmarks/run.py [--rounds 5] [--recovery 20] [--quick] [--only throughput latency ...]

Nothing is asserted here: a run on a busy machine is a slower run, not a failed one. Peers live in virtual environments
of their own under benchmarks/.envs, made on demand.
"""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from harness import report
from harness.bench import Bench, Failed
from harness.book import Book
from harness.contenders import CONTENDERS, OURS, Contender, prepare
from harness.faults import recovery, timers
from harness.measures import STEPS, Sizes
from harness.profiling import profile

from dispatch_celery.store.embedded import EmbeddedServer

HERE = Path(__file__).parent
SECTIONS = (*STEPS, "recovery", "timers", "profile")
QUICK = Sizes(one=500, backlog=1_500, naps=300, probes=60, idle=4.0, timers=2_000)


def main() -> int:
    """Run what was asked for; write the page also when interrupted."""
    options = arguments()
    skipped: list[str] = []
    contenders: list[Contender] = []
    for contender in CONTENDERS:
        if options.systems and contender.key not in options.systems:
            continue
        why = prepare(contender)
        if why is None:
            contenders.append(contender)
        else:
            skipped.append(f"{contender.label}: {why}")
            print(f"SKIPPED {skipped[-1]}", flush=True)
    book, started = Book(), time.monotonic()
    # Workers live in sessions of their own: whoever ends this run must end them too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        EmbeddedServer(append_only=options.aof) as server,
    ):
        bench = Bench(server, Path(folder))
        try:
            measure(bench, contenders, book, options)
        except KeyboardInterrupt:
            book.notes.append("interrupted: the figures are what had been measured until then")
        finally:
            report.write(
                options.output,
                book,
                command=command_line(),
                server=describe(bench, aof=options.aof),
                skipped=skipped,
                took=time.monotonic() - started,
            )
    print(f"\nwrote {options.output}")
    return 0


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--recovery", type=int, default=20, metavar="TRIALS", help="kills of each kind")
    parser.add_argument("--quick", action="store_true", help="one small round: whether it works, not how fast")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=SECTIONS)
    parser.add_argument("--systems", nargs="+", choices=[contender.key for contender in CONTENDERS])
    parser.add_argument("--aof", action="store_true", help="with an append-only file, fsync every second")
    parser.add_argument("--output", type=Path, default=HERE / "RESULTS.md")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.recovery = 1, min(options.recovery, 4)
    return options


def measure(bench: Bench, contenders: Sequence[Contender], book: Book, options: argparse.Namespace) -> None:
    """Measure everything: what is compared, round by round; what only ours has, once."""
    sizes = QUICK if options.quick else Sizes()
    ours = next((one for one in contenders if one.key == OURS), None)
    for number in range(options.rounds):
        heading, turn = f"round {number + 1}/{options.rounds}", number % len(contenders)
        for step in (step for section in STEPS if section in options.only for step in STEPS[section]):
            for contender in [*contenders[turn:], *contenders[:turn]]:
                say(f"{heading}: {step.__name__} of {contender.label}")
                attempt(book, partial(step, bench, contender, book, sizes))
        if ours is not None and "timers" in options.only:
            say(f"{heading}: timers")
            attempt(book, partial(timers, bench, ours, book, sizes.timers))
    if ours is not None and "profile" in options.only:
        say("profile")
        attempt(book, partial(profile, bench, ours, book, 2 * sizes.backlog))
    if ours is not None and "recovery" in options.only:
        for hint in (True, False):
            say(f"recovery, hint {'on' if hint else 'off'}")
            attempt(book, partial(recovery, bench, ours, book, options.recovery, hint=hint))


def attempt(book: Book, action: Callable[[], None]) -> None:
    """Do one measurement; a failed one is written down, and the others go on."""
    try:
        action()
    except Failed as error:
        print(f"FAILED {error}", flush=True)
        book.notes.append(f"failed: {str(error).splitlines()[0]}")


def say(text: str) -> None:
    """Tell what is being done."""
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def describe(bench: Bench, *, aof: bool) -> str:
    """Return which server this was."""
    info = bench.client.info("server")
    name = f"Valkey {info['valkey_version']}" if "valkey_version" in info else f"Redis {info['redis_version']}"
    return f"{name} on loopback, {'append-only file, fsync every second' if aof else 'without persistence'}"


def command_line() -> str:
    """Return the command that makes this page again."""
    words = shlex.join(sys.argv[1:])
    return f"make bench ARGS='{words}'" if words else "make bench"


if __name__ == "__main__":
    sys.exit(main())
