"""The databases of the run, from the environment of a system that uses them. Results are one line of JSON.

python postgres.py settings                {"version": "15.20", "fsync": "on", ...}
python postgres.py create NAME [TEMPLATE]  instead of what has that name
python postgres.py drop NAME
python postgres.py size NAME               {"bytes": 9000000}
python postgres.py commits NAME            {"transactions": 1200} so far
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import psycopg
from psycopg.sql import SQL, Identifier

SHOWN = ("fsync", "synchronous_commit", "wal_sync_method", "full_page_writes")


def settings(connection: psycopg.Connection[Any]) -> dict[str, str]:
    """Return which server this is, and what it promises of a commit."""
    found = {name: _one(connection, f"SHOW {name}") for name in SHOWN}
    return {"version": _one(connection, "SHOW server_version").split()[0], **found}


def create(connection: psycopg.Connection[Any], name: str, template: str = "template1") -> dict[str, str]:
    """Make a database anew, as a copy of another one."""
    drop(connection, name)
    connection.execute(SQL("CREATE DATABASE {} TEMPLATE {}").format(Identifier(name), Identifier(template)))
    return {}


def drop(connection: psycopg.Connection[Any], name: str) -> dict[str, str]:
    """Drop a database, whoever uses it."""
    connection.execute(SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(Identifier(name)))
    return {}


def size(connection: psycopg.Connection[Any], name: str) -> dict[str, int]:
    """Return the bytes of all relations of a database."""
    return {"bytes": _one(connection, "SELECT pg_database_size(%s)", name)}


def commits(connection: psycopg.Connection[Any], name: str) -> dict[str, int]:
    """Return how many transactions a database has seen."""
    asked = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = %s"
    return {"transactions": _one(connection, asked, name)}


def _one(connection: psycopg.Connection[Any], asked: Any, *arguments: str) -> Any:
    row = connection.execute(asked, arguments or None).fetchone()
    assert row is not None  # noqa: S101 - each of these returns one row
    return row[0]


COMMANDS = {"settings": settings, "create": create, "drop": drop, "size": size, "commits": commits}

if __name__ == "__main__":
    with psycopg.connect(os.environ["BENCH_POSTGRES"], autocommit=True, connect_timeout=5) as connected:
        print(json.dumps(COMMANDS[sys.argv[1]](connected, *sys.argv[2:])))
