"""``dispatch workers`` and ``dispatch stats``: who works, and the whole at a glance."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import click

from dispatch_celery.cli.moments import span
from dispatch_celery.cli.output import Columns, Output, number_column, text_column
from dispatch_celery.cli.phrases import count_of
from dispatch_celery.cli.session import Session, with_session
from dispatch_celery.cluster.model import Worker

__all__ = ["stats", "workers"]


@click.command()
@click.argument("verb", required=False, type=click.Choice(["list"]), metavar="[list]")
@with_session
def workers(session: Session, verb: str | None) -> None:  # noqa: ARG001 - there is one, and it may be left out
    """List the workers: those registered, and the lost ones whose jobs are being recovered."""
    found = session.dispatch.workers.list().records
    if session.output.as_json:
        session.output.document({"records": found, "now": session.insight.now()})
    else:
        _print_workers(session.output, found, session.insight.now())


@click.command()
@with_session
def stats(session: Session) -> None:
    """Show how many jobs there are in each state, what waits in each queue, the dead letters, and the workers."""
    found = session.dispatch.stats()
    output = session.output
    if output.as_json:
        output.document(found)
        return
    output.table(["state", number_column("jobs")], [(state, f"{n:,}") for state, n in found.jobs.items()], empty="")
    output.table(
        ["queue", number_column("ready")],
        [(queue, f"{count:,}") for queue, count in sorted(found.ready.items())],
        empty="No job is ready.",
    )
    output.line(count_of(found.dead_letters, "dead letter"))
    _print_workers(output, found.workers, session.insight.now())


def _print_workers(output: Output, found: Sequence[Worker], now: datetime) -> None:
    columns: Columns = [
        "id",
        "name",
        "host",
        number_column("pid"),
        "pool",
        number_column("slots"),
        text_column("queues"),
        "state",
        number_column("lease left"),
        number_column("holds"),
        "leads",
    ]
    rows = [
        (
            worker.id,
            worker.name,
            worker.hostname,
            worker.pid,
            worker.pool,
            worker.concurrency,
            ", ".join(worker.queues),
            worker.state,
            _left(worker, now),
            f"{worker.holding:,}",
            "leader" if worker.leads else "",
        )
        for worker in found
    ]
    output.table(columns, rows, empty="No worker is live.")


def _left(worker: Worker, now: datetime) -> str:
    if worker.lease_until is None or worker.lease_until <= now:
        return "none"
    return span(worker.lease_until - now)
