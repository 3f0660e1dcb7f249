"""``dispatch queues``: list, get, limit, unlimit, pause, resume."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import click

from dispatch_celery.cli.explaining_limits import allowance, standing
from dispatch_celery.cli.jobs import print_page
from dispatch_celery.cli.moments import duration
from dispatch_celery.cli.output import Columns, text_column
from dispatch_celery.cli.session import Session, with_session
from dispatch_celery.cli.unfamiliar import doubt_of_limit, other_kind, stands, tell
from dispatch_celery.cli.unfamiliar_keys import doubt_of_key
from dispatch_celery.cli.values import json_weights
from dispatch_celery.queues.model import PerKey, Queue

__all__ = ["queues"]

_COLUMNS: Columns = [text_column("name"), "kind", "ready", "limited", "permits", text_column("limit")]

_job = click.option("--job", metavar="NAME", help="The jobs of one name, instead of a queue.")
_queue = click.argument("queue", metavar="[QUEUE]", required=False)


@click.group()
def queues() -> None:
    """Look at queues, limit what they may do, pause and resume them."""


@queues.command("list")
@with_session
def list_queues(session: Session) -> None:
    """List every queue in which something waits or that has a limit, and every job name that has one."""
    page = session.dispatch.queues.list()
    print_page(session.output, page, _COLUMNS, [_row(queue) for queue in page], without=())


@queues.command("get")
@_queue
@_job
@with_session
def get_queue(session: Session, queue: str | None, job: str | None) -> None:
    """Show how a queue stands, or the jobs of one name."""
    _print(session, session.dispatch.queues.get(queue, job=job))


@queues.command("limit")
@_queue
@_job
@click.option("--concurrency", type=int, help="How many run at once, in the whole fleet.")
@click.option("--rate", metavar="RATE", help="How many begin in a time: 100/m, 5/s, 10/30s.")
@click.option("--burst", type=int, help="How many may begin at once after a quiet time.")
@click.option("--per-key", "by", metavar="BY", help="What tells keys apart: scope.org_id, key, arguments.customer_id.")
@click.option("--key-concurrency", type=int, help="How many of each key run at once.")
@click.option("--key-rate", metavar="RATE", help="How many of each key begin in a time.")
@click.option("--key-burst", type=int, help="How many of each key may begin at once after a quiet time.")
@click.option(
    "--weights", type=json_weights, metavar="JSON", help='How many turns keys have where others have one: {"big": 3}.'
)
@with_session
def limit_queue(
    session: Session,
    /,
    *,
    queue: str | None,
    job: str | None,
    concurrency: int | None,
    rate: str | None,
    burst: int | None,
    by: str | None,
    key_concurrency: int | None,
    key_rate: str | None,
    key_burst: int | None,
    weights: Mapping[str, float] | None,
) -> None:
    """Limit a queue, or the jobs of one name, from now on. Replaces what was set before."""
    if by is None and (key_concurrency or key_rate or key_burst or weights):
        raise click.UsageError("--key-concurrency, --key-rate, --key-burst and --weights need --per-key")
    per_key = None
    if by is not None:
        per_key = PerKey(by=by, concurrency=key_concurrency, rate=key_rate, burst=key_burst, weights=weights or {})
    limit, doubt = session.dispatch.queues.limit, doubt_of_limit(session, queue, job)
    _print(session, limit(queue, job=job, concurrency=concurrency, rate=rate, burst=burst, per_key=per_key))
    tell(session, doubt or (doubt_of_key(session, queue, job, by) if by is not None else ""))


@queues.command("unlimit")
@_queue
@_job
@with_session
def unlimit_queue(session: Session, queue: str | None, job: str | None) -> None:
    """Lift a limit, and a pause with it: what waits for it may go."""
    doubt = doubt_of_limit(session, queue, job)
    before = stands(session, queue, job)
    session.dispatch.queues.unlimit(queue, job=job)
    is_lifted = before is not None and (before.limit is not None or before.paused)
    _say(session, "lifted" if is_lifted else "no limit was set", queue, job)
    tell(session, doubt if is_lifted else other_kind(session, "unlimit", queue, job) or doubt)


@queues.command("pause")
@_queue
@_job
@click.option("--for", "length", type=duration, help="How long: 90s, 15m, 2h, 3d. By default until it is resumed.")
@click.option("--reason", metavar="TEXT", default="", help="What is said to who asks why something waits.")
@with_session
def pause_queue(session: Session, queue: str | None, job: str | None, length: timedelta | None, reason: str) -> None:
    """Start nothing more of a queue, or of the jobs of one name; what runs runs on."""
    doubt = doubt_of_limit(session, queue, job)
    paused = session.dispatch.queues.pause(queue, job=job, until=length, reason=reason)
    _say(session, standing(paused), queue, job)
    tell(session, doubt)


@queues.command("resume")
@_queue
@_job
@with_session
def resume_queue(session: Session, queue: str | None, job: str | None) -> None:
    """Let a paused queue or job name go on."""
    doubt = doubt_of_limit(session, queue, job)
    before = stands(session, queue, job)
    session.dispatch.queues.resume(queue, job=job)
    is_resumed = before is not None and before.paused
    _say(session, "resumed" if is_resumed else "nothing was paused", queue, job)
    tell(session, doubt if is_resumed else other_kind(session, "resume", queue, job) or doubt)


def _say(session: Session, what: str, queue: str | None, job: str | None) -> None:
    if session.output.as_json:
        session.output.document({"queue": queue, "job": job, "state": what})
        return
    session.output.line(f"{queue or f'jobs named {job}'}: {what}")


def _print(session: Session, queue: Queue) -> None:
    if session.output.as_json:
        session.output.document(queue)
        return
    session.output.table(_COLUMNS, [_row(queue)], empty="None.")


def _row(queue: Queue) -> tuple[str, ...]:
    says = allowance(queue.limit) if queue.limit else ""
    counts = (str(queue.ready), str(queue.limited), str(queue.permits))
    return (queue.name, queue.kind, *counts, ", ".join(part for part in (standing(queue), says) if part))
