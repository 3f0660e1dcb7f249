"""Where a worker of ours spends its time while it drains no-ops: py-spy's samples, sorted by whose code runs.

A sample belongs to the innermost frame that is somebody's. Samples count where a thread is active, waiting for an
answer of the server included as far as the system calls that send and receive are; idle waiting is left out.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

from harness.bench import Bench
from harness.book import Book
from harness.contenders import OURS, Contender

_SECONDS = 4
_OTHER = "anything else"

OWNERS = (
    ("the claim and outcome round trips: sending, receiving, redis-py's connection", ("dispatch_celery/store/client",)),
    ("the effect itself", ("systems/effects.py", "effects.py")),
    ("our transport: claiming, decoding and acknowledging messages", ("dispatch_celery/transport/",)),
    ("our own code around the job: claim, codec, outcome, guards", ("dispatch_celery/",)),
    ("the pipes between the main process and its children", ("billiard/", "celery/concurrency/asynpool.py")),
    ("Celery's tracer", ("celery/app/",)),
    ("Celery's consumer, requests and pool", ("celery/worker/", "celery/concurrency/", "celery/utils/")),
    ("kombu's messages and event loop", ("kombu/",)),
)


def profile(bench: Bench, contender: Contender, book: Book, backlog: int) -> None:
    """Record one drain in each pool."""
    spy = shutil.which("py-spy", path=str(Path(sys.executable).parent)) or shutil.which("py-spy")
    if spy is None:
        book.notes.append("no profile: py-spy is not installed")
        return
    for pool in contender.pools:
        bench.flush()
        bench.ask(contender, "enqueue", "noop", str(backlog), "--many")
        out = bench.folder / f"{pool}.raw"
        with bench.workers(contender, pool, count=1) as crew:
            bench.await_count(contender, 200, crew.log)
            words = ["record", "-f", "raw", "-r", "200", "-d", str(_SECONDS), "--subprocesses", "--nonblocking"]
            words += ["-o", str(out), "--pid", str(crew.pids[0])]
            done = subprocess.run([spy, *words], capture_output=True, check=False)
        if done.returncode or not out.exists():
            book.notes.append(f"no profile of {pool}: py-spy could not read the worker")
            continue
        for owner, share in _shares(out.read_text()).items():
            book.add(f"profile_{pool}", OURS, share, pool=owner)


def _shares(raw: str) -> dict[str, float]:
    """Return the share of each owner in the samples of the threads that work jobs, the largest first."""
    found: Counter[str] = Counter()
    for line in raw.splitlines():
        stack, _, count = line.rpartition(" ")
        if "lifeline.py" in stack and ("keeper_run" in stack or "Lifeline.run" in stack):
            continue
        found[_owner(stack.split(";"))] += int(count)
    total = sum(found.values())
    return {owner: count / total for owner, count in found.most_common()}


def _owner(frames: list[str]) -> str:
    for frame in reversed(frames):
        for owner, places in OWNERS:
            if any(place in frame for place in places):
                return owner
    return _OTHER
