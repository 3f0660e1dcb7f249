"""A middleware gives each job the database of its tenant, and takes back what a failed attempt has written.

    python examples/tenant_databases/run.py

Starts a server and a real worker of its own. Exits with 1 if a row is missing, doubled, or in another's database.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from afterwards import stay
from rich.console import Console

from dispatch_celery import JobFailed, scope
from dispatch_celery.store.embedded import EmbeddedServer

console = Console(highlight=False, soft_wrap=True)


def main() -> int:
    """Tell the story; return 0 if every database holds what it should."""
    with tempfile.TemporaryDirectory(prefix="tenants-") as folder, EmbeddedServer() as server:
        os.environ |= {"TENANTS_BROKER": server.url, "TENANTS_FOLDER": folder}
        command = [sys.executable, "-m", "celery", "-A", "app", "worker", "-n", "ada@tenants", "-c", "2", "-l", "INFO"]
        with (Path(folder) / "ada.log").open("wb") as log:
            worker = subprocess.Popen(command, cwd=HERE, stdout=log, stderr=log)
        try:
            code = story(Path(folder) / "ada.log")
        finally:
            worker.terminate()
            worker.wait(timeout=30)
        return stay(code, HERE, Path(folder))


def story(log: Path) -> int:
    """Book orders for two tenants and for nobody, and compare."""
    from app import book, dispatch, path_of

    expected = {"acme": [("a-1", 1), ("a-2", 3), ("a-3", 1)], "globex": [("g-1", 1), ("g-2", 1)]}
    handles = []
    for tenant, orders in expected.items():
        with scope(app_id=tenant):
            handles += [book.enqueue(order, attempts - 1) for order, attempts in orders]
    nobodys = book.enqueue("n-1")
    for handle in handles:
        handle.result(timeout=60)
    try:
        nobodys.result(timeout=60)
        refused = ""
    except JobFailed as failed:
        refused = failed.error_message
    dispatch.close()
    found = {}
    for tenant in expected:
        with closing(sqlite3.connect(path_of(tenant))) as connection:
            found[tenant] = sorted(connection.execute("SELECT id, attempt FROM orders").fetchall())
        console.print(
            f"[bold]{tenant}[/]: " + ", ".join(f"{order} by attempt {attempt}" for order, attempt in found[tenant])
        )
    console.print(f"[bold]nobody[/]: {refused}")
    lines = sum("job orders.book" in line for line in log.read_text().splitlines())
    console.print(f"{lines} lines of the log tell of executions")
    agree = found == expected and "no tenant" in refused and lines == 2 * (len(handles) + 2 + 1)
    console.print("[bold green]every database holds its own[/]" if agree else "[bold red]NOT as it should be[/]")
    return 0 if agree else 1


if __name__ == "__main__":
    sys.exit(main())
