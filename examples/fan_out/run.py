"""One workflow maps a job over a real directory tree; a worker is killed; the digest equals that of a direct walk.

    python examples/fan_out/run.py [--root FOLDER] [--files N] [--max-parallel N]

Starts a server of its own and two real worker processes. Exits with 1 if a single number differs.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from afterwards import stay
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from tree import LIBRARY, TreeDigest, files_under, join, measure

from dispatch_celery import JobState, RunHandle, RunState
from dispatch_celery.store.embedded import EmbeddedServer

if TYPE_CHECKING:
    from dispatch_celery import Dispatch

console = Console(highlight=False)


def start_worker(name: str, log_dir: Path) -> subprocess.Popen[bytes]:
    """Start a real `celery worker` in a session of its own, so that all of it can be killed."""
    command = [sys.executable, "-m", "celery", "-A", "app", "worker", "-n", f"{name}@fan_out", "-c", "2", "-l", "INFO"]
    with (log_dir / f"{name}.log").open("wb") as log:
        return subprocess.Popen(command, cwd=HERE, stdout=log, stderr=log, start_new_session=True)


def main() -> int:
    """Tell the story; return 0 if the digests are equal."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--root", type=Path, default=LIBRARY, help="the tree (default: the standard library)")
    parser.add_argument("--files", type=int, default=None, help="how many files of it (default: all)")
    parser.add_argument("--max-parallel", type=int, default=200, help="how many jobs at a time (default: 200)")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fan-out-") as folder, EmbeddedServer() as server:
        os.environ["FAN_OUT_BROKER"] = server.url
        return stay(story(Path(folder), asked.root.resolve(), asked.files, asked.max_parallel), HERE, Path(folder))


def story(folder: Path, root: Path, limit: int | None, max_parallel: int) -> int:
    """Let the workflow digest the tree, walk it in here, and compare."""
    from app import digest_tree, dispatch

    files = files_under(root, limit)
    started = time.monotonic()
    workers = [start_worker(name, folder) for name in ("ada", "grace")]
    try:
        run = digest_tree.start(root, limit, max_parallel)
        console.print(f"[bold]{run.id}[/] digests {len(files):,} files under {root}, {max_parallel} at a time")
        killed_at = watch(dispatch, run, len(files), workers[0])
        mapped = run.result(timeout=60)
        took = time.monotonic() - started
        calls = Counter(call.kind for call in dispatch.runs.timeline(run.id) if call.status == "value")
    finally:
        stop(workers)
        dispatch.close()
    walked = join(measure(path) for path in files)
    print_table(mapped, walked)
    console.print(
        f"{len(files):,} files in {took:.1f} s; one worker killed after {killed_at:,};"
        f" the run has recorded {calls['step']} step, {calls['job']:,} jobs, {calls['map']} map"
    )
    equal = mapped == walked and calls["job"] == len(files) and killed_at > 0
    console.print("[bold green]equal[/]" if equal else "[bold red]NOT equal[/]")
    return 0 if equal else 1


def watch(dispatch: Dispatch, run: RunHandle[TreeDigest], total: int, victim: subprocess.Popen[bytes]) -> int:
    """Show progress until the run has ended; kill one worker, all its processes, half-way. Return when."""
    killed_at = 0
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("two workers", total=total)
        limit = time.monotonic() + 110
        while time.monotonic() < limit:
            done = dispatch.jobs.count()[JobState.COMPLETED]
            progress.update(bar, completed=done)
            if not killed_at and done >= total // 2:
                killed_at = done
                os.killpg(victim.pid, signal.SIGKILL)
                progress.update(bar, description="[red]one killed (-9)[/], one left")
            if run.state() not in (RunState.PENDING, RunState.RUNNING, RunState.WAITING):
                progress.update(bar, completed=dispatch.jobs.count()[JobState.COMPLETED])
                return killed_at
            time.sleep(0.05)
    raise SystemExit("the run did not end in time")


def print_table(mapped: TreeDigest, walked: TreeDigest) -> None:
    """Print both digests side by side."""
    table = Table("", "mapped over jobs", "walked directly", title="The tree")
    for name, theirs in asdict(walked).items():
        mine = asdict(mapped)[name]
        shown = [value[:16] if isinstance(value, str) else f"{value:,}" for value in (mine, theirs)]
        table.add_row(name, *shown, style="" if mine == theirs else "red")
    console.print(table)


def stop(workers: list[subprocess.Popen[bytes]]) -> None:
    """Stop what still runs: gently first, by force after a while."""
    for worker in workers:
        if worker.poll() is None:
            worker.terminate()
    for worker in workers:
        try:
            worker.wait(timeout=15)
        except subprocess.TimeoutExpired:
            os.killpg(worker.pid, signal.SIGKILL)
            worker.wait()


if __name__ == "__main__":
    sys.exit(main())
