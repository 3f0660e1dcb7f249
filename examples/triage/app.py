"""Invoices that fail for three reasons: a bank that is closed, an address that cannot be, and an order that is gone."""

from __future__ import annotations

import os
from pathlib import Path

from celery import Celery

from dispatch_celery import Constant, Dispatch, Fail, Retry

QUEUE = "invoices"

app = Celery("triage", broker=os.environ.get("TRIAGE_BROKER", "redis://127.0.0.1:6379/0"))
app.conf.task_default_queue = QUEUE
dispatch = Dispatch(app)


class BankClosed(Exception):
    """The bank does not answer."""


@dispatch.job(name="invoices.send", retry=Retry(1, Constant(0)))
def send(number: int, to: str) -> str:
    """Send an invoice: each one that goes out is a line in the ledger."""
    folder = Path(os.environ["TRIAGE_FOLDER"])
    if number % 100 == 99:
        raise Fail(f"order {number} is gone")
    if "@" not in to:
        raise ValueError(f"{to!r} is no address")
    if not (folder / "bank-is-open").exists():
        raise BankClosed("nobody is there")
    with (folder / "ledger.txt").open("a") as ledger:
        ledger.write(f"{number}\n")
    return to
