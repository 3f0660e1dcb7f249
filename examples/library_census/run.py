"""The whole story: enqueue, work, a killed worker, retries, a dead letter, its replay, and equal totals.

    python examples/library_census/run.py [--files N]

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
from dataclasses import astuple
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from afterwards import stay
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from dispatch_celery.store.embedded import EmbeddedServer

console = Console()


def start_worker(name: str, log_dir: Path) -> subprocess.Popen[bytes]:
    """Start a real `celery worker` in a session of its own, so that all of it can be killed."""
    log = (log_dir / f"{name}.log").open("wb")
    command = [sys.executable, "-m", "celery", "-A", "app", "worker", "-n", f"{name}@census", "-c", "2", "-l", "INFO"]
    return subprocess.Popen(command, cwd=HERE, stdout=log, stderr=log, start_new_session=True)


def main() -> int:
    """Tell the story; return 0 if the totals are equal."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=None, help="how many files to count (default: all)")
    limit = parser.parse_args().files
    with tempfile.TemporaryDirectory(prefix="census-") as folder, EmbeddedServer() as server:
        os.environ["CENSUS_BROKER"] = server.url
        os.environ["CENSUS_BUG"] = str(Path(folder) / "bug.txt")
        return stay(story(Path(folder), limit), HERE, Path(folder))


def story(folder: Path, limit: int | None) -> int:
    """Run the census in workers and in here, and compare."""
    from app import count, dispatch
    from census import FileCensus, library_files, measure

    files = library_files(limit)
    broken, shaky = files[len(files) // 3], set(files[::50])
    shaky.discard(broken)
    Path(os.environ["CENSUS_BUG"]).write_text(str(broken))
    started = time.monotonic()
    workers = [start_worker(name, folder) for name in ("ada", "grace")]
    try:
        handles = count.enqueue_many(count.bind(path, shaky=path in shaky) for path in files)
        console.print(f"[bold]{len(handles):,}[/] durable jobs enqueued in {time.monotonic() - started:.1f} s")
        killed_at = watch(dispatch, len(files), workers[0])
        letters = dispatch.dlq.list(limit=10)
        for letter in letters:
            console.print(
                f"dead letter [bold]{letter.id}[/]: {letter.failure.message if letter.failure else letter.reason}"
            )
        Path(os.environ["CENSUS_BUG"]).unlink()
        replayed = dispatch.dlq.replay_all()
        console.print(f"the bug is fixed; {len(replayed)} dead letter replayed as {replayed[0].id}")
        results = dict(zip(files, handles, strict=True))
        results[broken] = replayed[0]
        by_jobs = sum((results[path].result(timeout=60) for path in files), FileCensus())
        retried = sum(1 for path in shaky if len(results[path].info().attempts) > 1)
        took = time.monotonic() - started
    finally:
        stop(workers)
        dispatch.close()
    direct = sum((measure(path) for path in files), FileCensus())
    table = Table("", "counted by jobs", "counted directly", title="The standard library")
    for name, mine, theirs in zip(
        ("lines", "definitions", "documented", "unreadable"), astuple(by_jobs), astuple(direct), strict=True
    ):
        table.add_row(name, f"{mine:,}", f"{theirs:,}", style="" if mine == theirs else "red")
    share = by_jobs.documented / max(1, by_jobs.definitions)
    table.add_row("docstring coverage", f"{share:.1%}", f"{direct.documented / max(1, direct.definitions):.1%}")
    console.print(table)
    console.print(
        f"{len(files):,} files in {took:.1f} s; one worker killed after {killed_at:,};"
        f" {retried} jobs retried, {len(letters.records)} dead-lettered and replayed; nothing lost"
    )
    equal = by_jobs == direct and len(letters.records) == 1 and len(replayed) == 1
    console.print("[bold green]equal[/]" if equal else "[bold red]NOT equal[/]")
    return 0 if equal else 1


def watch(dispatch: object, total: int, victim: subprocess.Popen[bytes]) -> int:
    """Show progress until every job has ended; kill one worker, all its processes, half-way. Return when."""
    killed_at = 0
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("two workers", total=total)
        limit = time.monotonic() + 110
        while time.monotonic() < limit:
            counts = dispatch.jobs.count()  # type: ignore[attr-defined]  # a Dispatch, imported only once its broker is known
            ended = counts["completed"] + counts["failed"]
            progress.update(bar, completed=ended)
            if not killed_at and ended >= total // 2:
                killed_at = ended
                os.killpg(victim.pid, signal.SIGKILL)
                progress.update(bar, description="[red]one killed (-9)[/], one left")
            if ended == total:
                return killed_at
            time.sleep(0.05)
    raise SystemExit("the jobs did not end in time")


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
