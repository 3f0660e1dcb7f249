"""Five orders, five endings: shipped, refused, nobody decides, the carrier fails, and a worker killed in the middle.

    python examples/order_saga/run.py

Starts a server of its own and two real worker processes. Exits with 1 if the outside world disagrees with one order.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from afterwards import stay
from ledger import ACCOUNTS, Ledger
from rich.console import Console
from rich.live import Live
from rich.table import Table

from dispatch_celery import PromiseRecord, Run, RunHandle, RunState
from dispatch_celery.store.embedded import EmbeddedServer

if TYPE_CHECKING:
    from app import Ending

    Runs: TypeAlias = dict[str, RunHandle[Ending]]

console = Console(highlight=False)
ENDED = (RunState.COMPLETED, RunState.FAILED, RunState.CANCELLED, RunState.PARKED)
SHELF = 10

# Of each order: item, price, what the person says (None: nothing), and how it must end.
STORY = {
    "o-1": ("book", 12, "yes", "shipped as parcel-o-1"),
    "o-2": ("lamp", 30, "no", "refused by Ada: too bright"),
    "o-3": ("globe", 45, None, "nobody decided in time"),
    "o-4": ("aquarium", 80, "yes", "the carrier takes no aquarium"),
    "o-5": ("piano", 900, "yes", "shipped as parcel-o-5"),
}
UNDONE, KILLED = "o-4", "o-5"


def start_worker(name: str, log_dir: Path) -> subprocess.Popen[bytes]:
    """Start a real `celery worker` in a session of its own, so that all of it can be killed."""
    command = [sys.executable, "-m", "celery", "-A", "app", "worker", "-n", f"{name}@orders", "-c", "2", "-l", "INFO"]
    with (log_dir / f"{name}.log").open("wb") as log:
        return subprocess.Popen(command, cwd=HERE, stdout=log, stderr=log, start_new_session=True)


def main() -> int:
    """Tell the story; return 0 if money, stock, parcels and receipts agree with every order."""
    with tempfile.TemporaryDirectory(prefix="orders-") as folder, EmbeddedServer() as server:
        os.environ["ORDERS_BROKER"] = server.url
        os.environ["ORDERS_LEDGER"] = str(Path(folder) / "ledger.sqlite3")
        return stay(story(Path(folder)), HERE, Path(folder))


def story(folder: Path) -> int:
    """Place the orders, be the person who decides, kill a worker, and compare."""
    from app import Order, dispatch, place_order, world

    ledger, started = world(), time.monotonic()
    ledger.book("opening", "stock", "the shelf", SHELF)
    workers = [start_worker(name, folder) for name in ("ada", "grace")]
    try:
        runs = {
            # The key makes one run of an order that is sent twice.
            order_id: place_order.options(idempotency_key=order_id).start(Order(id=order_id, item=item, price=price))
            for order_id, (item, price, _, _) in STORY.items()
        }
        killed = follow(runs, ledger, workers)
        took = time.monotonic() - started
        for order_id, run in runs.items():
            print_timeline(order_id, run)
        wrong = compare(runs, ledger)
    finally:
        stop(workers)
        dispatch.close()
    console.print(f"{len(runs)} orders in {took:.1f} s; worker {killed} killed in the middle of {KILLED}")
    for words in wrong:
        console.print(f"[red]{words}[/]")
    console.print("[bold red]the world does NOT agree[/]" if wrong else "[bold green]the world agrees[/]")
    return 1 if wrong else 0


def follow(runs: Runs, ledger: Ledger, workers: list[subprocess.Popen[bytes]]) -> str:
    """Show where each order stands until all have ended; decide, and kill one worker. Return the killed one's name."""
    undecided = {order_id for order_id, (_, _, says, _) in STORY.items() if says}
    killed, limit = "", time.monotonic() + 60
    with Live(console=console, refresh_per_second=8) as live:
        while time.monotonic() < limit:
            states = {order_id: run.info() for order_id, run in runs.items()}
            table = Table("order", "item", "state", "last call", title="Orders")
            for order_id, record in states.items():
                calls = [call for call in calls_of(runs[order_id]) if call.kind != "undo" or call.resolved_at]
                last = f"{calls[-1].identity}: {calls[-1].status}" if calls else ""
                table.add_row(order_id, STORY[order_id][0], record.shown, last)
                if order_id in undecided and calls and calls[-1].status == "awaiting":
                    undecided.remove(order_id)
                    decide(order_id)
            live.update(table)
            if not killed and ledger.balance("stock", KILLED) and runs[KILLED].state() == RunState.RUNNING:
                killed = kill(runs[KILLED].info().worker, workers)
            if all(record.state in ENDED for record in states.values()):
                break
            time.sleep(0.05)
        else:
            raise SystemExit("the orders did not end in time")
    console.print()
    return killed


def calls_of(run: RunHandle[Ending]) -> list[PromiseRecord]:
    """Return the durable calls of a run."""
    from app import dispatch

    return dispatch.runs.timeline(run.id)


def decide(order_id: str) -> None:
    """Be the person who was asked; any process may publish this."""
    from app import Decision, decided, dispatch

    says_yes = STORY[order_id][2] == "yes"
    decision = Decision(by="Ada", approved=says_yes, why="" if says_yes else "too bright")
    dispatch.events.publish(decided, decision, key=order_id)


def kill(worker_id: str, workers: list[subprocess.Popen[bytes]]) -> str:
    """Kill the worker that holds a run, all its processes; return its name."""
    from app import dispatch

    for worker in dispatch.workers.list():
        if worker.id == worker_id and worker.pid in {process.pid for process in workers}:
            os.killpg(worker.pid, signal.SIGKILL)
            return worker.name
    return ""


def print_timeline(order_id: str, run: RunHandle[Ending]) -> None:
    """Print a run's durable calls as anybody can who has its id."""
    command = ["celery", "-A", "app", "dispatch", "runs", "timeline", run.id, "--values"]
    console.rule(f"{order_id}, {STORY[order_id][0]}")
    console.print(f"$ {' '.join(command)}", style="dim", soft_wrap=True)
    sys.stdout.flush()
    subprocess.run([sys.executable, "-m", *command], cwd=HERE, check=True)


def compare(runs: Runs, ledger: Ledger) -> list[str]:
    """Compare what each order says with what the world has booked for it; return what is wrong."""
    wrong = []
    paid = sold = 0
    table = Table("order", "item", "ending", *ACCOUNTS, "", title="The orders and the world")
    for order_id, (item, price, _, must) in STORY.items():
        ending, shipped = ending_of(runs[order_id].info())
        paid, sold = paid + price * shipped, sold + shipped
        expected = [price, -1, 1, 1] if shipped else [0, 0, 0, 0]
        booked = [ledger.balance(account, order_id) for account in ACCOUNTS]
        agrees = booked == expected and ending == must
        if booked != expected:
            wrong.append(f"{order_id}: {booked} is booked, not {expected}")
        if ending != must:
            wrong.append(f"{order_id}: {ending!r}, not {must!r}")
        table.add_row(order_id, item, ending, *map(str, booked), "agrees" if agrees else "[red]differs[/]")
    in_all = [ledger.balance(account) for account in ACCOUNTS]
    table.add_row("", "", "in all", *map(str, in_all), "")
    console.print(table)
    if in_all != [paid, SHELF - sold, sold, sold]:
        wrong.append(f"in all {in_all} is booked, not {[paid, SHELF - sold, sold, sold]}")
    return wrong + compare_entries(ledger)


def ending_of(record: Run) -> tuple[str, bool]:
    """Return what a run says of its order, and whether that was shipped."""
    if record.state == RunState.COMPLETED:
        return record.result["words"], record.result["shipped"]
    # The error of a child tells whose it was, up to its own words.
    return record.failure.message.rpartition(": ")[2] if record.failure else str(record.state), False


def compare_entries(ledger: Ledger) -> list[str]:
    """Check the order of the undos, and that the order whose worker died went on where it was."""
    wrong = []
    booked = [(entry.account, entry.amount) for entry in ledger.entries(UNDONE)]
    console.print(
        f"{UNDONE}, as it was booked: " + ", ".join(f"{account} {amount:+}" for account, amount in booked),
        soft_wrap=True,
    )
    if len(booked) != 6 or booked[3:] != [(account, -amount) for account, amount in reversed(booked[:3])]:
        wrong.append(f"{UNDONE} was not undone in reverse")
    asked = {entry.account: entry.asked for entry in ledger.entries(KILLED)}
    console.print(f"{KILLED}, asked for and booked once: " + ", ".join(f"{what} {n}x" for what, n in asked.items()))
    if (asked.get("money"), asked.get("stock")) != (1, 2):
        wrong.append(f"{KILLED} did not go on where it was: it asks for money once and for stock twice")
    return wrong


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
