"""Many sleeping runs: what one takes, what idle workers ask for meanwhile, and how long until all have woken.

The runs are started, and each leaves an effect before it rests. Then the workers are ended, the store is weighed, and
other workers watch over the sleepers until they are due, all in one moment.
"""

from __future__ import annotations

import time

from harness.bench import Bench, Failed
from harness.book import Book
from harness.contenders import ABSURD, DBOS, Contender
from harness.flows import FlowSizes
from harness.idle import SETTLE, sent_in

_SHARES = {DBOS: 10, ABSURD: 4}
"""Who gets a part of the sleepers only: DBOS holds a thread for each, and Absurd takes its time."""

_PROBE = 20
"""A twentieth of the sleepers tells how long it will be until all of them sleep."""

_BURIED = 12.0
"""Seconds until the workers that went before are known to be dead, and done with: their lease is eight."""

_REST = 2.0
_DAY = 86_400.0


def sleepers(bench: Bench, contender: Contender, book: Book, sizes: FlowSizes) -> None:
    """Have runs sleep, and wake up in one moment."""
    pool = "threads" if contender.key == DBOS else contender.usual
    count = sizes.sleepers // _SHARES.get(contender.key, 1)
    night = _falling_asleep(bench, contender, pool, count) + sizes.night
    bench.empty(contender)
    with bench.workers(contender, pool):
        time.sleep(SETTLE)
        book.add("flow_idle", contender.key, _rate(bench, contender, sizes.idle), pool="nothing there")
    before = _weight(bench, contender)
    due = time.time() + night
    bench.ask(contender, "sleepers", str(count), str(due), "--pool", pool)
    with bench.workers(contender, pool) as crew:
        bench.await_count(contender, count, crew.log)
        # Between its effect and its rest a run writes once more.
        time.sleep(_REST)
    book.add("flow_memory", contender.key, (_weight(bench, contender) - before) / count)
    with bench.workers(contender, pool) as crew:
        time.sleep(_BURIED)
        book.add("flow_idle", contender.key, _rate(bench, contender, sizes.idle), pool="runs asleep")
        if time.time() > due:
            raise Failed(f"{contender.label}: the machine is too slow, the night of {night:.0f} s was over too soon")
        bench.await_count(contender, 2 * count, crew.log, patience=120 + night)
        book.add("flow_sleepers", contender.key, time.time() - due, pool=f"{count:,}")


def _falling_asleep(bench: Bench, contender: Contender, pool: str, count: int) -> float:
    """Return the seconds it takes, on the safe side, to start so many runs and have them sleep."""
    bench.empty(contender)
    some = max(count // _PROBE, 20)
    answer = bench.ask(contender, "sleepers", str(some), str(time.time() + _DAY), "--pool", pool)
    with bench.workers(contender, pool) as crew:
        begun, first = bench.await_count(contender, 1, crew.log)
        ended, last = bench.await_count(contender, some, crew.log)
    each = answer["seconds"] / some + (ended - begun) / max(last - first, 1)
    return 2 * count * each


def _rate(bench: Bench, contender: Contender, seconds: float) -> float:
    """Return the commands, or transactions, that idle workers send each second."""
    if not contender.postgres:
        return len(sent_in(bench, seconds)) / seconds
    before = bench.postgres.transactions(contender)
    time.sleep(seconds)
    return (bench.postgres.transactions(contender) - before) / seconds


def _weight(bench: Bench, contender: Contender) -> int:
    return bench.postgres.size(contender) if contender.postgres else bench.memory()
