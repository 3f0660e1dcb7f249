"""Where a worker of ours spends its time while it drains no-ops: py-spy's samples, sorted by whose code runs.

A sample belongs to the innermost frame that is somebody's. Only threads that use a processor are sampled, sending and
receiving included; waiting is left out. So the shares are shares of the processor time a job takes.
"""

from __future__ import annotations

import subprocess
from collections import Counter
from pathlib import Path

from harness.bench import Bench
from harness.book import Book
from harness.contenders import OURS, PROFILER, Contender, install, interpreter

_SECONDS = 4
_OTHER = "anything else"

OWNERS = (
    (
        "the claim and outcome round trips: packing, sending, receiving",
        ("dispatch_celery/store/", "redis/", "hiredis/"),
    ),
    ("the effect itself", ("systems/effects.py", "effects.py")),
    ("our transport: taking, decoding and acknowledging messages", ("dispatch_celery/transport/",)),
    ("our own code around the job: claim, codec, outcome, guards", ("dispatch_celery/",)),
    ("the pipes between the main process and its children", ("billiard/", "celery/concurrency/asynpool.py")),
    ("Celery's tracer", ("celery/app/",)),
    ("Celery's consumer, requests and pool", ("celery/worker/", "celery/concurrency/", "celery/utils/")),
    ("kombu's messages and event loop", ("kombu/",)),
)


def profile(bench: Bench, contender: Contender, book: Book, backlog: int) -> None:
    """Record one drain in each pool."""
    why = install(PROFILER, ("py-spy",))
    if why is not None:
        book.notes.append(f"no profile: py-spy cannot be installed: {why}")
        return
    spy = str(Path(interpreter(PROFILER)).with_name("py-spy"))
    for pool in ("solo", "prefork"):
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
