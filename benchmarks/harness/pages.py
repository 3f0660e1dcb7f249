"""Pages of a real Flower over many records: how long each takes, for one visitor.

No worker is needed: everything is enqueued, started and buried through the services, then each page is asked for over
HTTP. Its first answer, which compiles its template, is left out.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from systems import flower_pages as own

from harness.bench import Bench, end, eventually
from harness.book import Book
from harness.contenders import OURS
from harness.rows import PAGES

_SYSTEMS = Path(__file__).parent.parent / "systems"


@dataclass(frozen=True)
class PageSizes:
    """How many records, and how often each page is asked for."""

    jobs: int = 100_000
    runs: int = 10_000
    letters: int = 10_000
    rounds: int = 20

    def __str__(self) -> str:
        return (
            f"pages over {self.jobs:,} jobs, {self.runs:,} runs and {self.letters:,} dead letters,"
            f" {self.rounds} times each"
        )


def pages(bench: Bench, book: Book, sizes: PageSizes) -> None:
    """Fill the server, and time every page; in ms."""
    bench.flush()
    own.app.conf.update(broker_url=bench.server.url, dispatch_redis_url=bench.server.url)
    try:
        own.fill(jobs=sizes.jobs, runs=sizes.runs, letters=sizes.letters)
        paths = own.places()
        with _flower(bench) as url:
            for page in PAGES:
                for number in range(sizes.rounds + 1):
                    took = _ask(url + paths[page])
                    if number:
                        book.add(f"pages_{page}", OURS, took)
    finally:
        own.dispatch.close()


@contextmanager
def _flower(bench: Bench) -> Iterator[str]:
    """Run a Flower; yield where its pages are."""
    log, app = bench.folder / "flower.log", "flower_pages:app"
    environment = {**os.environ, "DISPATCH_REDIS_URL": bench.server.url, "BENCH_BROKER": bench.server.url}
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", app, "flower", "--port=0", "--address=127.0.0.1"],
            cwd=_SYSTEMS,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        where = eventually(
            lambda: re.search(r"Visit me at (\S+)", log.read_text()), within=60, what="Flower listens", logs=(log,)
        )
        yield f"{where[1].rstrip('/')}/dispatch"
    finally:
        end(process)


def _ask(url: str) -> float:
    """Return how long a page takes, to its last byte; in ms."""
    began = time.perf_counter()
    with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310 - our own server
        answer.read()
    return (time.perf_counter() - began) * 1000
