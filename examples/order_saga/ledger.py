"""The world outside: what a bank, a warehouse, a carrier and a post office have booked. It knows nothing of workflows.

Whoever asks twice under one key is booked once, as payment providers do it. That is all the world has to offer for a
workflow's effects to happen exactly once.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

ACCOUNTS = ("money", "stock", "parcels", "receipts")

_TABLE = """
CREATE TABLE IF NOT EXISTS entries (
    place INTEGER PRIMARY KEY, key TEXT UNIQUE, account TEXT, order_id TEXT, amount INTEGER, asked INTEGER DEFAULT 1
)
"""


@dataclass(frozen=True)
class Entry:
    """One line of the book."""

    account: str
    amount: int
    asked: int
    """How often it was asked for; it is booked once all the same."""


class Ledger:
    """The book, in a SQLite file, so that every process sees the same."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._open() as book:
            book.execute(_TABLE)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self._path, timeout=30, isolation_level=None)) as book:
            book.execute("BEGIN IMMEDIATE")
            with book:
                yield book

    def book(self, key: str, account: str, order_id: str, amount: int) -> None:
        """Book an amount, once for each key."""
        with self._open() as book:
            book.execute(
                "INSERT INTO entries (key, account, order_id, amount) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (key) DO UPDATE SET asked = asked + 1",
                (key, account, order_id, amount),
            )

    def take_back(self, key: str, account: str, order_id: str) -> None:
        """Book the opposite of what an order has on an account; nothing where it has nothing."""
        with self._open() as book:
            (held,) = book.execute(
                "SELECT TOTAL(amount) FROM entries WHERE account = ? AND order_id = ?", (account, order_id)
            ).fetchone()
            if held:
                book.execute(
                    "INSERT INTO entries (key, account, order_id, amount) VALUES (?, ?, ?, ?)",
                    (key, account, order_id, -int(held)),
                )

    def entries(self, order_id: str) -> list[Entry]:
        """Return what was booked for an order, in the order in which it happened."""
        with self._open() as book:
            rows = book.execute(
                "SELECT account, amount, asked FROM entries WHERE order_id = ? ORDER BY place", (order_id,)
            )
            return [Entry(*row) for row in rows]

    def balance(self, account: str, order_id: str = "%") -> int:
        """Return what stands on an account: of one order, or of all."""
        with self._open() as book:
            (total,) = book.execute(
                "SELECT TOTAL(amount) FROM entries WHERE account = ? AND order_id LIKE ?", (account, order_id)
            ).fetchone()
            return int(total)
