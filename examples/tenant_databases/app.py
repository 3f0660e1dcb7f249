"""The Celery app: jobs that know one database only, their tenant's. Run by: celery -A app worker."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from celery import Celery

from dispatch_celery import Constant, Dispatch, Fail, Retry, current_job
from dispatch_celery.middleware import ExecutionContext, LogExecutions

app = Celery("tenant_databases", broker=os.environ.get("TENANTS_BROKER", "redis://127.0.0.1:6379/0"))
dispatch = Dispatch(app)

database: ContextVar[sqlite3.Connection] = ContextVar("database")


def path_of(tenant: str) -> Path:
    """Return where a tenant's database lies."""
    return Path(os.environ.get("TENANTS_FOLDER", ".")) / f"{tenant}.sqlite"


def tenant_database(context: ExecutionContext, call_next: Callable[[], Any]) -> Any:
    """Give each execution the database of its tenant, as one transaction."""
    tenant = context.scope.app_id
    if not tenant:
        raise Fail("it belongs to no tenant: enqueue it in `with scope(app_id=...)`")
    with closing(sqlite3.connect(path_of(tenant), timeout=10)) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS orders (id TEXT, attempt INTEGER)")
        mark = database.set(connection)
        try:
            with connection:  # commits, or rolls back where the handler raises
                return call_next()
        finally:
            database.reset(mark)


dispatch.add_middleware(LogExecutions())  # the outermost: it also sees what the next one refuses
dispatch.add_middleware(tenant_database)


@dispatch.job(name="orders.book", retry=Retry(3, Constant(0.1)))
def book(order: str, failures: int = 0) -> int:
    """Write an order down; fail after that as often as asked."""
    attempt = current_job().attempt
    database.get().execute("INSERT INTO orders VALUES (?, ?)", (order, attempt))
    if attempt <= failures:
        raise ConnectionError("the power is gone")
    return attempt
