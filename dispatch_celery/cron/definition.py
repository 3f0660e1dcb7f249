"""Where users declare entries: a schedule above a job or workflow, registered when a worker or a beat starts."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from dispatch_celery.clock import Duration, to_ms
from dispatch_celery.cron.model import Misfire, Overlap, Timetable, check_name
from dispatch_celery.cron.schedule import Schedule
from dispatch_celery.errors import ConfigurationError
from dispatch_celery.jobs.definition import JobDefinition
from dispatch_celery.scope import Scope
from dispatch_celery.store.paging import instant
from dispatch_celery.workflows.definition import WorkflowDefinition

__all__ = ["CelerySchedule", "CronDeclarations", "CronOptions", "Declared", "Spelled", "Target"]


class CelerySchedule(Protocol):
    """A schedule object of Celery, such as ``crontab``; the worker's room knows how to spell it."""

    def remaining_estimate(self, last_run_at: Any) -> Any:
        """Return how long it is from a moment to the next run."""
        ...


Spelled = str | timedelta | Schedule | CelerySchedule
"""What a schedule may be given as."""

Target = JobDefinition[..., Any, Any] | WorkflowDefinition[..., Any]


@dataclass(frozen=True, kw_only=True)
class CronOptions:
    """What an entry is registered with, beside its name, its schedule and what it calls."""

    timezone: str | None = None
    arguments: Mapping[str, Any] | None = None
    scope: Scope | None = None
    misfire: str | Misfire = "once"
    overlap: str | Overlap = Overlap.ALLOW
    jitter: Duration = 0
    start: datetime | None = None
    end: datetime | None = None

    def __post_init__(self) -> None:
        Misfire.parse(self.misfire)
        if self.overlap not in tuple(Overlap):
            raise ConfigurationError(f"overlap must be one of {', '.join(Overlap)}, not {self.overlap!r}")
        if self.scope is not None and not isinstance(self.scope, Scope):
            raise ConfigurationError(f"scope must be a Scope(app_id=..., org_id=...), not {self.scope!r}")

    def timetable(self, schedule: str, default_zone: str) -> Timetable:
        """Return when an entry with these options fires.

        Raises:
            ConfigurationError: a date has no zone, or the jitter is no duration.
        """
        try:
            jitter = to_ms(self.jitter)
        except ValueError as error:
            raise ConfigurationError(f"jitter: {error}") from None
        if not 0 <= jitter <= 86_400_000:
            raise ConfigurationError(f"jitter must be 0 seconds to a day, not {jitter / 1000:,g} s")
        return Timetable(
            schedule=schedule,
            zone=default_zone if self.timezone is None else self.timezone,
            start=instant("start", self.start),
            end=instant("end", self.end),
            jitter=jitter,
        )


@dataclass(frozen=True, kw_only=True)
class Declared:
    """An entry as code declares it; its arguments are bound when it is registered."""

    name: str
    schedule: str
    target: Target
    options: CronOptions


class CronDeclarations:
    """The entries one app declares, by name."""

    def __init__(self) -> None:
        self._declared: dict[str, Declared] = {}

    def add(self, target: Target, schedule: str, name: str | None, options: CronOptions) -> None:
        """Take a declaration in. Without a name, it has that of what it calls, and from the second on a number.

        Raises:
            ConfigurationError: another one has its name, or the arguments are not those of what it calls.
        """
        if not isinstance(target, JobDefinition | WorkflowDefinition):
            raise ConfigurationError(
                f"@dispatch.cron stands above a job or workflow, not {target!r}: put it over @dispatch.job"
            )
        _check_arguments(target, options.arguments or {})
        chosen = self._free(target.name) if name is None else check_name(name)
        known = self._declared.get(chosen)
        if known is not None and known.target.__wrapped__.__code__ != target.__wrapped__.__code__:
            raise ConfigurationError(
                f"the cron entry {chosen!r} is declared for {known.target.name} already: give it another name="
            )
        if known is not None and name is not None and (known.schedule, known.options) != (schedule, options):
            raise ConfigurationError(f"the cron entry {chosen!r} is declared twice: give each a name= of its own")
        self._declared[chosen] = Declared(name=chosen, schedule=schedule, target=target, options=options)

    def _free(self, name: str) -> str:
        number, chosen = 1, name
        while chosen in self._declared:
            number += 1
            chosen = f"{name}#{number}"
        return chosen

    def __iter__(self) -> Iterator[Declared]:
        return iter(list(self._declared.values()))

    def __len__(self) -> int:
        return len(self._declared)


def _check_arguments(target: Target, arguments: Mapping[str, Any]) -> None:
    if not isinstance(arguments, Mapping) or not all(isinstance(name, str) for name in arguments):
        raise ConfigurationError(f"{target.name}: arguments are a mapping of parameter names to values")
    shape = inspect.signature(target.__wrapped__)
    if isinstance(target, WorkflowDefinition):
        shape = shape.replace(parameters=list(shape.parameters.values())[1:])
    try:
        shape.bind(**arguments)
    except TypeError as error:
        raise ConfigurationError(
            f"@dispatch.cron above {target.name}: {error}; what it is called with is given by arguments={{...}}"
        ) from None
