"""How long pages take in a real Flower, over many jobs and runs: `python benchmarks/flower_pages.py`.

    python benchmarks/flower_pages.py [--jobs 100000] [--runs 10000] [--letters 10000] [--rounds 20] [--output FILE]

A server, a Flower, and no worker: everything is enqueued through the services, then each page is asked for over HTTP by
one visitor. The goal is 300 ms for every page, at the slowest of the rounds. Nothing is asserted here.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from celery import Celery

from dispatch_celery import Dispatch, Workflow
from dispatch_celery.store.embedded import EmbeddedServer

GOAL = 300.0
BATCH = 5_000

app = Celery("bench", broker=os.environ.get("BENCH_BROKER", "redis://127.0.0.1:1/0"))
dispatch = Dispatch(app)


@dispatch.job(name="bench.mail", queue="mail")
def mail(to: str, number: int) -> str:
    """Stand for a job with a small payload."""
    return f"{to} {number}"


@dispatch.job(name="bench.rare", queue="rare")
def rare(number: int) -> int:
    """Stand for one of few among many."""
    return number


@dispatch.workflow(name="bench.order")
def order(wf: Workflow, number: int) -> int:
    """Stand for a workflow."""
    return wf.step(abs, number)


def main() -> None:
    """Fill a server, ask for every page, and print a table."""
    options = arguments()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, EmbeddedServer(append_only=False) as server:
        os.environ |= {"BENCH_BROKER": server.url, "DISPATCH_REDIS_URL": server.url}
        app.conf.broker_url = server.url
        started = time.monotonic()
        fill(options)
        took = time.monotonic() - started
        with flower(Path(folder) / "flower.log") as url:
            lines = [*head(options, took), *(row(url, name, path, options.rounds) for name, path in places().items())]
        dispatch.close()
    text = "\n".join(lines)
    print(text)
    if options.output:
        options.output.write_text(text + "\n")


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--letters", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--output", type=Path)
    return parser.parse_args()


def fill(options: argparse.Namespace) -> None:
    """Enqueue, start and bury what was asked for."""
    for first in range(0, options.jobs, BATCH):
        numbers = range(first, min(first + BATCH, options.jobs))
        dispatch.enqueue_many(mail.bind(f"user{n}@example.org", n) if n % 1000 else rare.bind(n) for n in numbers)
    for number in range(options.runs):
        order.start(number)
    for number in range(options.letters):
        dispatch.dlq.bury(b"{", queue="mail", reason="it ends too early" if number % 100 else "it is no JSON")


def places() -> dict[str, str]:
    """Return what is asked for."""
    job, run = dispatch.jobs.list(limit=1)[0], dispatch.runs.list(limit=1)[0]
    older = dispatch.jobs.list(limit=50).next_cursor
    return {
        "overview": "",
        "jobs": "/jobs",
        "jobs, older": f"/jobs?cursor={older}",
        "jobs, by state and name": "/jobs?state=pending&name=bench.rare",
        "jobs, by queue (sifted)": "/jobs?queue=rare",
        "jobs, by error (sifted, none)": "/jobs?error=nobody",
        "a job": f"/jobs/{job.id}",
        "runs": "/runs",
        "a run": f"/runs/{run.id}",
        "events": "/events",
        "dead letters": "/dead-letters",
        "dead letters, by reason": "/dead-letters?reason=it+is+no+JSON",
        "workers": "/workers",
    }


@contextmanager
def flower(log: Path) -> Iterator[str]:
    """Run a Flower; yield where its pages are."""
    command = [sys.executable, "-m", "celery", "-A", "flower_pages:app", "flower", "--port=0", "--address=127.0.0.1"]
    with log.open("wb") as out:
        process = subprocess.Popen(command, cwd=Path(__file__).parent, stdout=out, stderr=out)
    try:
        found, limit = None, time.monotonic() + 60
        while found is None and time.monotonic() < limit:
            time.sleep(0.1)
            found = re.search(r"Visit me at (\S+)", log.read_text())
        if found is None:
            raise SystemExit(log.read_text())
        yield f"{found[1].rstrip('/')}/dispatch"
    finally:
        process.terminate()
        process.wait(20)


def head(options: argparse.Namespace, took: float) -> list[str]:
    """Return what the table is about."""
    sizes = f"{options.jobs:,} jobs, {options.runs:,} runs, {options.letters:,} dead letters"
    machine = f"filled in {took:.0f} s, load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    return [
        f"Pages over {sizes}; {options.rounds} rounds each, in ms; the goal is {GOAL:.0f}; {machine}.",
        "",
        "| page | median | slowest | size, KiB |",
        "|---|---|---|---|",
    ]


def row(url: str, name: str, path: str, rounds: int) -> str:
    """Return the line of one page; the first answer, which compiles its template, is left out."""
    times, size = [], 0
    for number in range(rounds + 1):
        started = time.perf_counter()
        with urllib.request.urlopen(url + path, timeout=60) as answer:  # noqa: S310 - our own server
            size = len(answer.read())
        times += [(time.perf_counter() - started) * 1000] if number else []
    slow = " (!)" if max(times) > GOAL else ""
    return f"| {name} | {statistics.median(times):.0f} | {max(times):.0f}{slow} | {size / 1024:.0f} |"


if __name__ == "__main__":
    main()
