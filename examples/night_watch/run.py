"""An entry that fires every second, while the worker that leads is killed: each second once, none lost.

    python examples/night_watch/run.py

Starts a server and two real workers of its own. Exits with 1 if a second was missed, or fired twice.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from afterwards import stay
from rich.console import Console

from dispatch_celery import JobState
from dispatch_celery.store.embedded import EmbeddedServer

console = Console(highlight=False)

BEFORE, ROUNDS = 4, 12


def start_worker(name: str, folder: Path) -> subprocess.Popen[bytes]:
    """Start a real `celery worker`, in a process group of its own, to be killed whole."""
    command = [sys.executable, "-m", "celery", "-A", "app", "worker", "-n", f"{name}@night_watch", "-c", "1"]
    with (folder / f"{name}.log").open("wb") as log:
        return subprocess.Popen(command, cwd=HERE, stdout=log, stderr=log, start_new_session=True)


def wait(what: str, until: Callable[[], Any]) -> None:
    """Wait until something is so, for a minute at most."""
    limit = time.monotonic() + 60
    while not until():
        if time.monotonic() > limit:
            raise SystemExit(f"{what} has not come within a minute")
        time.sleep(0.05)


def main() -> int:
    """Tell the story; return 0 if every second was fired once."""
    with tempfile.TemporaryDirectory(prefix="night-watch-") as name, EmbeddedServer() as server:
        os.environ["WATCH_BROKER"] = server.url
        return stay(story(Path(name)), HERE, Path(name))


def story(folder: Path) -> int:
    """Watch, lose the leader, watch on, and count."""
    from app import dispatch

    workers = {name: start_worker(name, folder) for name in ("ada", "bob")}
    try:
        wait("the first rounds", lambda: dispatch.crons.list().records and len(fires(dispatch)) >= BEFORE)
        entry = dispatch.crons.get("rounds")
        console.print(f"{entry.name}: {entry.schedule} in {entry.timezone}, next {entry.next_fires[0]:%H:%M:%S}")
        leader = dispatch.workers.leader().name.partition("@")[0]
        os.killpg(workers[leader].pid, signal.SIGKILL)
        console.print(f"{leader}, who leads, is killed")
        wait("the rest of the rounds", lambda: len(fires(dispatch)) >= ROUNDS)
        dispatch.crons.disable("rounds")
        wait("their end", lambda: all(job.state == JobState.COMPLETED for job in dispatch.jobs.list(limit=200)))
        jobs = len(list(dispatch.jobs.list(limit=200)))
    finally:
        for worker in workers.values():
            worker.terminate()
            worker.wait(timeout=30)
    slots = sorted(fires(dispatch))
    dispatch.close()
    gaps = [after - before for before, after in pairwise(slots)]
    right = jobs == len(slots) and set(gaps) == {timedelta(seconds=1)}
    console.print(f"{len(slots)} seconds on record, {jobs} jobs, from {slots[0]:%H:%M:%S} to {slots[-1]:%H:%M:%S}")
    console.print("[bold green]each once, none lost[/]" if right else f"[bold red]the watch has gaps: {gaps}[/]")
    return 0 if right else 1


def fires(dispatch: Any) -> list[Any]:
    """Return the slots that were fired."""
    return [fire.slot for fire in dispatch.crons.get("rounds").fires if fire.slot is not None]


if __name__ == "__main__":
    sys.exit(main())
