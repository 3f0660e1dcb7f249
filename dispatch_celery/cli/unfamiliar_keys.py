"""Keys of limits that no job has: such a limit is set all the same, and said beside it, for all its jobs share one key.

A path is followed as far as the declarations of this app tell: into models, dataclasses and typed dictionaries.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass
from difflib import get_close_matches
from typing import Any, get_type_hints, is_typeddict

from pydantic import BaseModel

from dispatch_celery.cli.session import Session
from dispatch_celery.errors import ConfigurationError
from dispatch_celery.jobs.definition import JobDefinition

__all__ = ["doubt_of_key"]

_Job = JobDefinition[..., Any, Any]


def doubt_of_key(session: Session, queue: str | None, job: str | None, by: str) -> str:
    """Return what is to be said of what tells keys apart; empty where some job has it, or that cannot be known."""
    where, _, path = by.partition(".")
    jobs = _jobs(session, queue, job)
    if where == "scope" or not jobs:
        return ""
    if where == "key":
        missing = "" if any(one.limit_key is not None for one in jobs) else "limit_key="
        near = [f"arguments.{name}" for one in jobs for name in _fields_of(one) or () if name == "key"]
    else:
        missing, near = _missing(jobs, path.split("."))
    if not missing:
        return ""
    who = f"the job {job!r}" if job is not None else f"no job that this app declares for the queue {queue!r}"
    has = "has no" if job is not None else "has a"
    told = f"{who} {has} {missing}, so all of them share one key"
    return f"{told}; did you mean {near[0]}?" if near else told


def _jobs(session: Session, queue: str | None, job: str | None) -> list[_Job]:
    """Return the jobs that are limited; none where there may be some that this app does not declare."""
    parts = session.dispatch._parts  # noqa: SLF001 - no service tells of declarations
    if job is not None:
        found = parts.registry.declared(job)
        return [] if found is None else [found]
    default = session.dispatch.app.conf.task_default_queue
    own = {one.name for one in parts.registry} | set(parts.workflows.names())
    published = {name: entry.get("queue") or default for name, entry in session.insight.catalogue().items()}
    if any(where == queue and name.partition(" ")[0] not in own for name, where in published.items()):
        return []
    return [one for one in parts.registry if (one.queue or default) == queue]


def _missing(jobs: list[_Job], steps: list[str]) -> tuple[str, list[str]]:
    """Return what no job has of a path, and what may be meant; empty where one of them has it all."""
    lacks = [lack for one in jobs if (lack := _lack(one, steps)) is not None]
    if len(lacks) < len(jobs):
        return "", []
    furthest = max(place for place, _ in lacks)
    near = get_close_matches(
        steps[furthest], {name for place, some in lacks if place == furthest for name in some}, n=1
    )
    what = "parameter" if furthest == 0 else f"field in arguments.{'.'.join(steps[:furthest])}:"
    meant = [".".join(["arguments", *steps[:furthest], name, *steps[furthest + 1 :]]) for name in near]
    return f"{what} {steps[furthest]!r}", meant


def _lack(one: _Job, steps: list[str]) -> tuple[int, tuple[str, ...]] | None:
    """Return at which step a path leaves what a job takes, and what there is instead; None where it does not."""
    fields = _fields_of(one)
    for place, step in enumerate(steps):
        if fields is None:
            return None
        if step not in fields:
            return place, tuple(fields)
        fields = _fields_in(fields[step])
    return None


def _fields_of(one: _Job) -> Mapping[str, Any] | None:
    """Return a job's parameters with their annotations; None where it takes any."""
    parameters = inspect.signature(one.__wrapped__).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return None
    hints = dict(_hints_of(one))
    return {parameter.name: hints.get(parameter.name, Any) for parameter in parameters}


def _hints_of(one: _Job) -> Iterator[tuple[str, Any]]:
    try:
        yield from one.typed.hints.items()
    except ConfigurationError:  # an annotation cannot be resolved: its name is known all the same
        return


def _fields_in(hint: Any) -> Mapping[str, Any] | None:
    """Return the fields of a class with their annotations; None where they are not known."""
    if not isinstance(hint, type):
        return None
    if issubclass(hint, BaseModel):
        return {name: field.annotation for name, field in hint.model_fields.items()}
    return get_type_hints(hint) if is_dataclass(hint) or is_typeddict(hint) else None
