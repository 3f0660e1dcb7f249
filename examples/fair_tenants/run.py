"""Forty reports of one tenant, a few of two others: nobody waits behind the forty, and the limits hold.

    python examples/fair_tenants/run.py

Starts a server and two real workers of its own. Exits with 1 if a limit was exceeded, or a small tenant had to wait.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from afterwards import stay
from rich.console import Console
from rich.table import Table

from dispatch_celery import JobHandle, scope
from dispatch_celery.store.embedded import EmbeddedServer

console = Console(highlight=False)

TENANTS = {"busy": 40, "small": 6, "tiny": 2}


class Report(NamedTuple):
    """When one report was built, and for whom."""

    tenant: str
    began: float
    ended: float


def start_worker(name: str, folder: Path) -> subprocess.Popen[bytes]:
    """Start a real `celery worker` with eight threads."""
    command = [sys.executable, "-m", "celery", "-A", "app", "worker", "-n", f"{name}@fair_tenants"]
    command += ["-P", "threads", "-c", "8", "-l", "INFO"]
    with (folder / f"{name}.log").open("wb") as log:
        return subprocess.Popen(command, cwd=HERE, stdout=log, stderr=log)


def most_at_once(reports: Sequence[Report]) -> int:
    """Return how many of some reports were being built at the same time, at most."""
    moments = sorted([(one.began, 1) for one in reports] + [(one.ended, -1) for one in reports])
    running = most = 0
    for _, change in moments:
        running += change
        most = max(most, running)
    return most


def main() -> int:
    """Tell the story; return 0 if the limits held and the small ones did not wait."""
    with tempfile.TemporaryDirectory(prefix="fair-tenants-") as name, EmbeddedServer() as server:
        folder = Path(name)
        os.environ.update(REPORTS_BROKER=server.url, REPORTS_LOG=str(folder / "reports.log"))
        return stay(story(folder), HERE, folder)


def story(folder: Path) -> int:
    """Enqueue tenant after tenant, wait for all, and look at who was served when."""
    from app import build, dispatch

    workers = [start_worker(name, folder) for name in ("ada", "bob")]
    try:
        handles: list[JobHandle[int]] = []
        for tenant, count in TENANTS.items():
            with scope(org_id=tenant):
                handles += build.enqueue_many((number,) for number in range(count))
        for handle in handles:
            handle.result(timeout=60)
    finally:
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.wait(timeout=30)
        dispatch.close()
    lines = [line.split() for line in (folder / "reports.log").read_text().splitlines()]
    return verdict([Report(tenant, float(began), float(ended)) for tenant, _, began, ended in lines])


def verdict(reports: Sequence[Report]) -> int:
    """Print who had what; return 0 if it was fair."""
    table = Table("tenant", "reports", "most at once", "the busy one had left when it was done")
    of = {tenant: [one for one in reports if one.tenant == tenant] for tenant in TENANTS}
    fair = most_at_once(reports) <= 4
    for tenant, count in TENANTS.items():
        done = max(one.ended for one in of[tenant])
        left = sum(one.began > done for one in of["busy"])
        table.add_row(tenant, str(len(of[tenant])), str(most_at_once(of[tenant])), str(left))
        fair &= len(of[tenant]) == count and most_at_once(of[tenant]) <= 2 and (tenant == "busy" or left >= 10)
    console.print(table)
    console.print(f"{most_at_once(reports)} at once, at most, in two workers with eight threads each")
    console.print("[bold green]nobody had to wait[/]" if fair else "[bold red]it was NOT fair[/]")
    return 0 if fair else 1


if __name__ == "__main__":
    sys.exit(main())
