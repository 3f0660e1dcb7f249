"""Compares records with what a test expects of them; a failure says all that differs, and why the work failed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from dispatch_celery.events.model import EventRecord
from dispatch_celery.jobs.handle import JobHandle
from dispatch_celery.jobs.model import Job
from dispatch_celery.workflows.handle import RunHandle
from dispatch_celery.workflows.model import Run

__all__ = ["ANYTHING", "check_event", "check_job", "check_run"]

ANYTHING: Final = object()
"""Stands for a result that is not compared."""


def check_job(
    job: Job,
    handle: JobHandle[Any],
    *,
    state: str | None,
    result: object,
    attempts: int | None,
    failure: str | None,
) -> None:
    """Compare one job."""
    wrong = _differences(job, handle, state, result, failure)
    if attempts is not None and len(job.attempts) != attempts:
        outcomes = ", ".join(f"{one.number} {one.outcome}" for one in job.attempts) or "none"
        wrong.append(f"attempts: {len(job.attempts)} ({outcomes}), expected {attempts}")
    _refuse(job, wrong)


def check_run(
    run: Run,
    handle: RunHandle[Any],
    found: Sequence[str],
    *,
    state: str | None,
    result: object,
    calls: Sequence[str] | None,
    failure: str | None,
) -> None:
    """Compare one run."""
    wrong = _differences(run, handle, state, result, failure)
    if calls is not None and list(found) != list(calls):
        wrong.append(f"durable calls: {', '.join(found) or 'none'}\n    expected: {', '.join(calls) or 'none'}")
    _refuse(run, wrong)


def check_event(
    found: Sequence[EventRecord], name: str | None, key: str | None, *, payload: object, times: int | None
) -> list[EventRecord]:
    """Return those of some events that have a payload, if there are as many as expected."""
    fits = [event for event in found if payload is ANYTHING or event.payload == payload]
    if len(fits) == times or (times is None and fits):
        return fits
    under = "" if key is None else f" under {key!r}"
    told = "" if payload is ANYTHING else f" with {payload!r}"
    expected = "at least once" if times is None else f"{times} times"
    others = "".join(f"\n  {event.key or 'no key'}: {event.payload!r}" for event in found[-10:])
    raise AssertionError(f"{name}{under}{told} was published {len(fits)} times, expected {expected}{others}")


def _differences(
    record: Job | Run, handle: JobHandle[Any] | RunHandle[Any], state: str | None, result: object, failure: str | None
) -> list[str]:
    wrong = []
    if state is not None and record.state != state:
        wrong.append(f"state: {record.state}, expected {state}")
    if result is not ANYTHING:
        if record.state != "completed":
            wrong.append(f"result: none, for it is {record.state}; expected {result!r}")
        elif (value := handle.result(timeout=1)) != result:
            wrong.append(f"result: {value!r}, expected {result!r}")
    if failure is not None and failure not in _why(record):
        wrong.append(f"failure: {_why(record) or 'none'}, expected {failure!r} in it")
    return wrong


def _why(record: Job | Run) -> str:
    """Return why something did not complete."""
    parts = [f"{record.failure.type}: {record.failure.message}"] if record.failure else []
    return "\n".join([*parts, *(text for text in (record.reason, getattr(record, "detail", "")) if text)])


def _refuse(record: Job | Run, wrong: Sequence[str]) -> None:
    if not wrong:
        return
    lines = [f"{record.id} ({record.name}) is not as expected", *(f"  {line}" for line in wrong)]
    if record.failure is not None and record.failure.traceback:
        lines.append(record.failure.traceback)
    elif _why(record):
        lines.append(f"  why: {_why(record)}")
    raise AssertionError("\n".join(lines))
