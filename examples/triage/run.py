"""Three hundred dead letters of three causes, and what is done about each.

    python examples/triage/run.py

Starts a server and a real worker of its own. Exits with 1 if an invoice was lost, or sent twice.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from afterwards import stay
from rich.console import Console
from rich.table import Table

from dispatch_celery.store.embedded import EmbeddedServer

console = Console(highlight=False)

INVOICES = 300
GONE = [number for number in range(INVOICES) if number % 100 == 99]
WRONG = [number for number in range(INVOICES) if number % 50 == 7]


def start_worker(folder: Path) -> subprocess.Popen[bytes]:
    """Start a real `celery worker`."""
    command = [sys.executable, "-m", "celery", "-A", "app", "worker", "-n", "ada@triage", "-c", "2", "-l", "INFO"]
    with (folder / "ada.log").open("wb") as log:
        return subprocess.Popen(command, cwd=HERE, stdout=log, stderr=log)


def wait(what: str, until: Callable[[], bool]) -> None:
    """Wait until something is so, for a minute at most."""
    limit = time.monotonic() + 60
    while not until():
        if time.monotonic() > limit:
            raise SystemExit(f"{what} has not come within a minute")
        time.sleep(0.05)


def main() -> int:
    """Tell the story; return 0 if every invoice went out once."""
    with tempfile.TemporaryDirectory(prefix="triage-") as name, EmbeddedServer() as server:
        os.environ.update(TRIAGE_BROKER=server.url, TRIAGE_FOLDER=name)
        return stay(story(Path(name)), HERE, Path(name))


def story(folder: Path) -> int:
    """Let a night go wrong, and put it right in the morning."""
    from app import dispatch, send

    worker = start_worker(folder)
    try:
        send.enqueue_many((number, "ann" if number in WRONG else f"{number}@example.com") for number in range(INVOICES))
        wait("the end of the night", lambda: dispatch.dlq.count() == INVOICES)
        show_causes(dispatch)
        mend(dispatch, folder)
        sent = INVOICES - len(GONE)
        wait("the last invoice", lambda: len(ledger(folder)) >= sent)
    finally:
        worker.terminate()
        worker.wait(timeout=30)
    (left,) = dispatch.dlq.list(replayed=False)
    dispatch.close()
    numbers = ledger(folder)
    right = sorted(numbers) == [number for number in range(INVOICES) if number not in GONE]
    console.print(f"{len(numbers)} invoices went out; left is {left.job_id}, noted: {left.notes[-1].text}")
    console.print("[bold green]each once, none lost[/]" if right else "[bold red]the ledger is NOT right[/]")
    return 0 if right else 1


def ledger(folder: Path) -> list[int]:
    """Return the numbers of the invoices that went out."""
    path = folder / "ledger.txt"
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def show_causes(dispatch: Any) -> None:
    """Print the causes: hundreds of dead letters, three things to think about."""
    table = Table("cause", "dead letters", "the latest says")
    for group in dispatch.dlq.groups():
        failure = group.sample.failure
        table.add_row(failure.type, str(group.count), failure.message)
    console.print(table)


def mend(dispatch: Any, folder: Path) -> None:
    """Open the bank, correct the addresses, give up what is gone."""
    (folder / "bank-is-open").touch()
    closed = dispatch.dlq.select(error_class="BankClosed", replayed=False)
    console.print(f"dry run: {closed.preview().count} would be replayed")
    done = closed.replay(rate="200/s")
    console.print(f"the bank is open again: {done.changed} replayed, 200 a second")

    wrong = list(dispatch.dlq.list(error_class="ValueError", replayed=False, limit=100))
    for letter in wrong:
        number = letter.job.arguments["number"]
        dispatch.dlq.replay(letter.id, arguments={"number": number, "to": f"{number}@example.com"})
    console.print(f"the addresses are corrected: {len(wrong)} replayed with other arguments")

    gone = list(dispatch.dlq.list(text="is gone", limit=100))
    dispatch.dlq.note(gone[0].id, "asked accounting", by="ada")
    for letter in gone[1:]:
        dispatch.dlq.purge(letter.id)
    console.print(f"{len(gone)} orders are gone: one is noted, the others are purged")


if __name__ == "__main__":
    sys.exit(main())
