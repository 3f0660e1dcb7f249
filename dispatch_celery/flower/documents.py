"""What programs read: the records that pages show, as JSON, with what is secret masked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from dispatch_celery.cli.cron_entries import cron_record
from dispatch_celery.cli.masking import words
from dispatch_celery.cli.plain import plain
from dispatch_celery.events.model import EventRecord
from dispatch_celery.flower.desk import Desk
from dispatch_celery.flower.pages.dead_letters import LETTER_FILTERS, letter_filters
from dispatch_celery.flower.pages.model import PAGE_SIZE, Query
from dispatch_celery.flower.pages.work import WORK_FILTERS, page_of
from dispatch_celery.jobs.model import Job
from dispatch_celery.store.paging import Page
from dispatch_celery.workflows.model import Run

__all__ = ["DOCUMENTS", "Document"]

Document = Callable[..., Any]

_PAYLOADS: Final = ("arguments", "result", "progress", "payload")


def _overview(desk: Desk, _: Query) -> Any:
    dispatch = desk.dispatch
    return {
        "now": plain(desk.now()),
        "jobs": plain(dispatch.jobs.count()),
        "runs": plain(dispatch.runs.count()),
        "ready": dispatch.jobs.ready(),
        "dead_letters": dispatch.dlq.count(),
        "workers": plain(dispatch.workers.list().records),
    }


def _jobs(desk: Desk, query: Query) -> Any:
    query.only(*WORK_FILTERS, "cursor")
    return _paged(page_of(desk.dispatch.jobs, query), desk)


def _job(desk: Desk, _: Query, job_id: str) -> Any:
    return _record(desk.dispatch.jobs.get(job_id), desk)


def _runs(desk: Desk, query: Query) -> Any:
    query.only(*WORK_FILTERS, "cursor")
    return _paged(page_of(desk.dispatch.runs, query), desk)


def _run(desk: Desk, _: Query, run_id: str) -> Any:
    return _record(desk.dispatch.runs.get(run_id), desk)


def _timeline(desk: Desk, _: Query, run_id: str) -> Any:
    promises = desk.dispatch.runs.timeline(run_id)
    return {"records": [_record(promise, desk, without=("value",)) for promise in promises]}


def _events(desk: Desk, query: Query) -> Any:
    query.only("name", "key", "after", "before", "app", "org", "cursor")
    filters = query.filters("name", "key", times=("published_after", "published_before"))
    return _paged(desk.dispatch.events.list(limit=PAGE_SIZE, cursor=query.text("cursor"), **filters), desk)


def _event(desk: Desk, _: Query, event_id: str) -> Any:
    return _record(desk.dispatch.events.get(event_id), desk)


def _letters(desk: Desk, query: Query) -> Any:
    query.only(*LETTER_FILTERS, "cursor")
    page = desk.dispatch.dlq.list(limit=PAGE_SIZE, cursor=query.text("cursor"), **letter_filters(query))
    return _paged(page, desk)


def _letter(desk: Desk, _: Query, letter_id: str) -> Any:
    return _record(desk.dispatch.dlq.get(letter_id), desk)


def _workers(desk: Desk, _: Query) -> Any:
    return {"now": plain(desk.now()), "records": plain(desk.dispatch.workers.list().records)}


def _crons(desk: Desk, query: Query) -> Any:
    query.only("state", "target", "origin", "app", "org", "cursor")
    filters = query.filters("state", "target", "origin")
    page = desk.dispatch.crons.list(limit=PAGE_SIZE, cursor=query.text("cursor"), **filters)
    return {"records": [plain(cron_record(entry)) for entry in page], "next_cursor": page.next_cursor}


def _cron(desk: Desk, _: Query, cron_id: str) -> Any:
    entry = desk.dispatch.crons.get(cron_id)
    arguments = desk.masking.arguments(entry.template.name, entry.arguments, entry.template.version)
    return {**plain(cron_record(entry)), "arguments": arguments}


def _queues(desk: Desk, _: Query) -> Any:
    return {"records": plain(tuple(desk.dispatch.queues.list()))}


def _paged(page: Page[Any], desk: Desk) -> Any:
    return {"records": [_record(one, desk) for one in page], "next_cursor": page.next_cursor}


def _record(record: Any, desk: Desk, *, without: tuple[str, ...] = ()) -> Any:
    """Return a record with its payload masked; raw messages are left out, for nobody knows what is secret in them."""
    found = plain(record, without=("raw", *_PAYLOADS, *without))
    masking = desk.masking
    job = record if isinstance(record, Job | Run) else getattr(record, "job", None)
    if job is not None:
        version = job.version if isinstance(job, Run) else 0
        at = found if isinstance(record, Job | Run) else found["job"]
        at["arguments"] = masking.arguments(job.name, job.arguments, version)
        at["result"] = masking.result(job.name, job.result, version)
        at["progress"] = masking.value(job.progress)
    if isinstance(record, EventRecord):
        found["payload"] = masking.value(record.payload)
    return _without_passwords(found)


def _without_passwords(found: Any) -> Any:
    """Return errors and other words of a record without the passwords of URLs in them."""
    if isinstance(found, Mapping):
        return {name: _without_passwords(value) for name, value in found.items()}
    if isinstance(found, list):
        return [_without_passwords(value) for value in found]
    return words(found) if isinstance(found, str) else found


DOCUMENTS: Final[Mapping[str, tuple[int, Document]]] = {
    "overview": (0, _overview),
    "jobs": (0, _jobs),
    "jobs/": (1, _job),
    "runs": (0, _runs),
    "runs/": (1, _run),
    "timelines/": (1, _timeline),
    "events": (0, _events),
    "events/": (1, _event),
    "dead-letters": (0, _letters),
    "dead-letters/": (1, _letter),
    "crons": (0, _crons),
    "crons/": (1, _cron),
    "queues": (0, _queues),
    "workers": (0, _workers),
}
"""By their address below that of the API; with a slash at its end an id follows."""
