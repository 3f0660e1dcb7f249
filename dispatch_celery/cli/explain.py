"""``dispatch explain WHAT``: what a thing waits for, by its id or its name, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import click

from dispatch_celery.cli.explaining import explain_job, explain_message
from dispatch_celery.cli.explaining_names import Topic, explain_topic
from dispatch_celery.cli.explaining_runs import explain_run
from dispatch_celery.cli.filters import scope_of, tenant
from dispatch_celery.cli.names import Names, Told, unknown
from dispatch_celery.cli.phrases import Explanation, Surroundings
from dispatch_celery.cli.session import Session, with_session
from dispatch_celery.errors import InvalidId, JobNotFound
from dispatch_celery.events.model import Place
from dispatch_celery.ids import CronId, DeadLetterId, EventId, JobId, RunId, TypedId, WorkerId

__all__ = ["explain"]


@click.command(short_help="Say what a thing waits for, and what to do.")
@click.argument("what", metavar="ID_OR_NAME")
@click.option("--key", help="Of an event's name: the key under which runs wait for it.")
@tenant
@with_session
def explain(session: Session, what: str, *, key: str | None, scope_app: str | None, scope_org: str | None) -> None:
    """Say what a thing waits for, since when, when it moves, and what to do.

    By id: a job, run, dead letter, cron entry, event or worker. By name: a cron entry, queue, job, workflow, event or
    worker; where a name is several of these, all of them are told.
    """
    names = Names(session, key=key, scope=scope_of(scope_app, scope_org))
    some_id = _id_of(what)
    if isinstance(some_id, TypedId):
        _print(session, _BY_ID[type(some_id)](session, names, some_id))
        return
    found = names.of(what)
    if not found:
        raise some_id or unknown(what, names.similar(what))
    if session.output.as_json:
        session.output.document({"name": what, "records": [_document(told) for told in found]})
        return
    for place, told in enumerate(found):
        session.output.line(f"{chr(10) * (place > 0)}{told.kind} {told.id}: {told.state}", style="dim")
        _print(session, told)


def _id_of(what: str) -> TypedId | InvalidId | None:
    """Return an id, or what is wrong with it; None where it does not begin as one does. A name may begin so, too."""
    kind = next((kind for kind in _BY_ID if what.startswith(f"{kind.prefix}_")), None)
    if kind is None:
        return None
    try:
        return kind.parse(what)
    except InvalidId as error:
        return error


def _job(session: Session, _: Names, some_id: TypedId) -> Told:
    is_letter = isinstance(some_id, DeadLetterId)
    try:
        job = session.dispatch.jobs.get(some_id.job_id if isinstance(some_id, DeadLetterId) else some_id)
    except JobNotFound:
        if not is_letter:
            raise
        letter = session.dispatch.dlq.get(some_id)
        around = Surroundings(now=session.insight.now(), command=session.command)
        return Told(id=some_id, kind=letter.kind, state="dead letter", found=explain_message(letter, around))
    around = session.insight.surroundings(job, command=session.command)
    return Told(id=some_id, kind="job", state=job.state, found=explain_job(job, around))


def _run(session: Session, _: Names, some_id: TypedId) -> Told:
    run = session.dispatch.runs.get(some_id)
    around = session.insight.run_surroundings(run, command=session.command)
    return Told(id=some_id, kind="run", state=run.state, found=explain_run(run, around))


def _entry(session: Session, names: Names, some_id: TypedId) -> Told:
    return names.entry(session.dispatch.crons.get(some_id))


def _worker(session: Session, names: Names, some_id: TypedId) -> Told:
    return names.worker(session.dispatch.workers.get(some_id))


def _event(session: Session, _: Names, some_id: TypedId) -> Told:
    event = session.dispatch.events.get(some_id)
    waiting, some = session.insight.waiters(Place(event.name, event.key, event.scope.path))
    topic = Topic(
        name=event.name, key=event.key, scope=event.scope.path, waiting=waiting, some=some, last=event, is_newest=False
    )
    around = Surroundings(now=session.insight.now(), command=session.command)
    return Told(id=some_id, kind="event", state="published", found=explain_topic(topic, around))


_BY_ID: Final[Mapping[type[TypedId], Callable[[Session, Names, TypedId], Told]]] = {
    JobId: _job,
    DeadLetterId: _job,
    RunId: _run,
    CronId: _entry,
    EventId: _event,
    WorkerId: _worker,
}


def _document(told: Told) -> Mapping[str, Any]:
    found: Explanation = told.found
    return {
        "id": told.id,
        "kind": told.kind,
        "state": told.state,
        "explanation": found.explanation,
        "detail": found.detail or None,
        "advice": found.advice,
        "since": found.since,
        "next_at": found.next_at,
        "worker": found.worker or None,
    }


def _print(session: Session, told: Told) -> None:
    if session.output.as_json:
        session.output.document(_document(told))
        return
    session.output.line(told.found.explanation)
    if told.found.detail:
        session.output.line(told.found.detail)
    session.output.line(told.found.advice, style="bold")
