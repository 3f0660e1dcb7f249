"""Names that nobody knows: what is asked for is done all the same, and said beside it, for it may be misspelt.

A limit may be set before the first job, and a cron entry before the deploy that brings what it calls. So a notice goes
to the standard error, the exit code stays 0, and ``--json`` prints the one document it always prints.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from shlex import quote

import click

from dispatch_celery.cli.plain import printable
from dispatch_celery.cli.session import Session
from dispatch_celery.queues.model import Queue

__all__ = [
    "doubt_of_limit",
    "doubt_of_target",
    "doubt_of_workflow",
    "other_kind",
    "own_queues",
    "quiet",
    "stands",
    "tell",
]


def doubt_of_limit(session: Session, queue: str | None, job: str | None) -> str:
    """Return what is to be said of a queue or job name that is to be limited or paused; empty where it is known."""
    kind, name = ("queue", queue) if queue is not None else ("job", job)
    if name is None:  # the verb itself refuses what names neither, or both
        return ""
    limited = {one.name for one in session.dispatch.queues.list() if one.kind == kind}
    if kind == "job":
        told = f"neither this app nor a worker declares a job {name!r}"
        return _doubt(told, name, limited | _names(session, with_workflows=False))
    queues = limited | _queues(session)
    if name not in queues and name in _names(session, with_workflows=False):
        return f"{name!r} is the name of a job, and no queue is known by it: did you mean --job {quote(name)}?"
    told = f"nothing is ready in {name!r}, no worker consumes it, and no definition names it"
    return _doubt(told, name, queues)


def doubt_of_target(session: Session, target: str) -> str:
    """Return what is to be said of what a cron entry calls; empty where it is known."""
    told = f"neither this app nor a worker declares {target!r}: what is created waits for a worker that does"
    return _doubt(told, target, _names(session, with_workflows=True))


def doubt_of_workflow(session: Session, name: str) -> str:
    """Return what is to be said of a workflow's name; empty where it is known."""
    told = f"neither this app nor a worker declares a workflow {name!r}"
    return _doubt(told, name, _names(session, with_workflows=True))


def stands(session: Session, queue: str | None, job: str | None) -> Queue | None:
    """Return how a queue or job name stands; None where it has neither a limit nor a pause, nor anything ready."""
    wanted = ("queue", queue) if queue is not None else ("job", job)
    return next((one for one in session.dispatch.queues.list() if (one.kind, one.name) == wanted), None)


def other_kind(session: Session, verb: str, queue: str | None, job: str | None) -> str:
    """Return that a name was given as a queue's, and a job's has what the verb ends, or the reverse; else empty."""
    other = stands(session, job, None) if queue is None else stands(session, None, queue)
    if other is None or not (other.paused or (verb == "unlimit" and other.limit is not None)):
        return ""
    what, word = ("the queue", "") if other.kind == "queue" else ("the job name", "--job ")
    has = "has a limit" if other.limit is not None and verb == "unlimit" else "is paused"
    return f"{what} {other.name!r} {has}: `{session.command} queues {verb} {word}{quote(other.name)}`"


def own_queues(session: Session) -> set[str]:
    """Return the queues that this app names: its default, Celery's, those of definitions, those it limits."""
    app, parts = session.dispatch.app, session.dispatch._parts  # noqa: SLF001 - no service tells of declarations
    declared = {one.queue for one in (*parts.registry, *parts.workflows)}
    limited = {name.removeprefix("queue:") for name in parts.declared_limits}
    found = {app.conf.task_default_queue, *declared, *limited, *app.amqp.queues}
    return {str(queue) for queue in found if queue}


def tell(session: Session, doubt: str) -> None:
    """Say it on the standard error."""
    if doubt:
        colour = False if session.output.console.no_color else None
        click.echo(f"{click.style('notice', fg='yellow')}: {printable(doubt)}", err=True, color=colour)


@contextmanager
def quiet(name: str) -> Iterator[None]:
    """Keep what a logger warns of from being said twice."""
    logger = logging.getLogger(name)
    logger.addFilter(_nothing)
    try:
        yield
    finally:
        logger.removeFilter(_nothing)


def _nothing(_: logging.LogRecord) -> bool:
    return False


def _doubt(told: str, name: str, known: Iterable[str]) -> str:
    names = set(known)
    if name in names:
        return ""
    near = get_close_matches(name, sorted(names), n=1)
    return f"{told}; did you mean {near[0]!r}?" if near else told


def _names(session: Session, *, with_workflows: bool) -> set[str]:
    parts = session.dispatch._parts  # noqa: SLF001 - no service tells of declarations
    declared = {one.name for one in parts.registry} | set(parts.workflows.names() if with_workflows else ())
    return declared | {name for name in session.insight.catalogue() if " " not in name}


def _queues(session: Session) -> set[str]:
    dispatch = session.dispatch
    published = {entry.get("queue") for entry in session.insight.catalogue().values()}
    consumed = {queue for worker in dispatch.workers.list() for queue in worker.queues}
    found = {*own_queues(session), *published, *consumed, *dispatch.jobs.ready()}
    return {str(queue) for queue in found if queue}
