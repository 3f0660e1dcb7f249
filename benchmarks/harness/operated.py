"""What operating costs: limits, extensions and measures against the bare drain, and a hundred thousand that wait."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from celery import Celery

from dispatch_celery import Dispatch, JobState, PerKey
from harness.bench import Bench, Failed, eventually
from harness.book import Book
from harness.contenders import ELSEWHERE, KEYED, NOTHING, OURS, PARKED, SPREAD, WIDE, Contender
from harness.measures import Sizes, drain_of

_QUEUE = "celery"
_LIMITS: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    ELSEWHERE: ("another", {"concurrency": 10}),
    WIDE: (_QUEUE, {"concurrency": 100}),
    SPREAD: (_QUEUE, {"rate": "1000000/s", "burst": 1_000}),
    KEYED: (_QUEUE, {"concurrency": 100, "per_key": PerKey(by="scope", concurrency=50)}),
}
_RELEASED = 500


@contextmanager
def operator(bench: Bench) -> Iterator[Dispatch]:
    """Yield what a person who operates the fleet works with."""
    app = Celery("operator", broker=f"redis://127.0.0.1:{bench.server.port}/0", set_as_current=False)
    dispatch = Dispatch(app)
    try:
        yield dispatch
    finally:
        dispatch.close()
        app.close()


def drain_operated(bench: Bench, contender: Contender, book: Book, sizes: Sizes) -> None:
    """Drain no-ops under a limit that holds nobody up, or with everything told to somebody, in each pool."""
    for pool in contender.pools:
        bench.flush()
        with operator(bench) as dispatch:
            if contender.key in _LIMITS:
                queue, limit = _LIMITS[contender.key]
                dispatch.queues.limit(queue, **limit)
        bench.ask(contender, "enqueue", "noop", str(sizes.backlog), "--many")
        drain = drain_of(bench, contender, pool, sizes.backlog, 4)
        book.add("operated_noop", contender.key, drain.rate, pool=pool)
        book.add("operated_cpu", contender.key, drain.cpu, pool=pool)
        book.add("operated_server", contender.key, drain.server_cpu, pool=pool)


def parked(bench: Bench, contender: Contender, book: Book, count: int, seconds: float) -> None:
    """Let many wait behind one that holds the only permit; count what they cost, then let them go."""
    bench.flush()
    with operator(bench) as dispatch, bench.workers(contender, "solo", count=1) as crew:
        bench.warm(contender, crew.log)
        book.add("parked_commands", OURS, _executed(bench, seconds), pool=NOTHING)
        dispatch.queues.limit(_QUEUE, concurrency=1)
        dispatch.queues.pause(_QUEUE)
        done = bench.count()
        bench.ask(contender, "enqueue", "noop", str(count), "--many")
        waits = lambda: dispatch.queues.get(_QUEUE).limited == count  # noqa: E731
        eventually(waits, within=120, what=f"{count:,} jobs wait for a permit", logs=(crew.log,))
        book.add("parked_commands", OURS, _executed(bench, seconds), pool=PARKED)
        began = time.perf_counter()
        dispatch.queues.resume(_QUEUE)
        bench.await_count(contender, done + _RELEASED, crew.log)
        book.add("parked_released", OURS, _RELEASED / (time.perf_counter() - began))
        dispatch.queues.pause(_QUEUE)
        _check_order(dispatch)


def _executed(bench: Bench, seconds: float) -> float:
    """Return the commands the server executes in a second, those inside scripts too, but for these two looks."""
    before = bench.info("total_commands_processed")
    time.sleep(seconds)
    return (bench.info("total_commands_processed") - before - 1) / seconds


def _check_order(dispatch: Dispatch) -> None:
    """Refuse the figure of a release that was not in the order of arrival: with one permit, strictly one by one."""
    ended = dispatch.jobs.list(state=JobState.COMPLETED, limit=1_000)
    first = max(job.arguments["number"] for job in ended)
    if first > len(ended):
        raise Failed(f"job {first} was let go before {first - len(ended)} that came earlier")
