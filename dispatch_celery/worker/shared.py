"""``@shared_job``: jobs of a reusable package, declared before, and without knowing, the apps that will run them.

Celery's ``shared_task``, for jobs. The definition joins every ``Dispatch`` of the process, those that are made
later too. Enqueued, it goes through the one there is; where there are several, through that of Celery's
current app.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final, ParamSpec, Protocol, TypeVar, overload
from weakref import WeakSet

from celery import Celery, current_app

from dispatch_celery.clock import Duration
from dispatch_celery.errors import ConfigurationError
from dispatch_celery.jobs.definition import Enqueuer
from dispatch_celery.retry import Retry
from dispatch_celery.worker.task import Job, JobDecorator, JobTask, job_name

__all__ = ["Host", "join", "shared_job"]

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
C_co = TypeVar("C_co", covariant=True)


class Host(Protocol):
    """What a shared job needs of an app's declarations."""

    @property
    def app(self) -> Celery:
        """The Celery app."""
        ...

    def enqueuer(self) -> Enqueuer:
        """Return where enqueued jobs go."""
        ...

    def add(self, definition: Job[..., Any, Any]) -> None:
        """Declare a job here."""
        ...


_jobs: Final[dict[str, Job[..., Any, Any]]] = {}
_hosts: Final[WeakSet[Host]] = WeakSet()


class _SharedJob(Job[P, R_co, C_co]):
    """A job of whichever app is current."""

    @property
    def task(self) -> JobTask:
        """The Celery task in the current app."""
        found: JobTask = _host(self.name).app.tasks[self.name]
        return found

    @task.setter
    def task(self, task: JobTask) -> None:
        """Keep nothing: each app has its own."""


def _host(name: str) -> Host:
    hosts = list(_hosts)
    if len(hosts) == 1:
        return hosts[0]
    if not hosts:
        raise ConfigurationError(f"the shared job {name} has no app yet: make Dispatch(app) before it is enqueued")
    here = current_app._get_current_object()  # noqa: SLF001 - Celery's way to see behind its proxy
    found = next((host for host in hosts if host.app is here), None)
    if found is None:
        raise ConfigurationError(
            f"the shared job {name} belongs to {len(hosts)} apps, and Celery's current app ({here.main!r}) is none of"
            " them: make one current with app.set_current()"
        )
    return found


def join(host: Host) -> None:
    """Declare every shared job in an app, and those that come later."""
    _hosts.add(host)
    for definition in list(_jobs.values()):
        host.add(definition)


@overload
def shared_job(fn: Callable[P, Coroutine[Any, Any, R]], /) -> Job[P, R, Coroutine[Any, Any, R]]: ...
@overload
def shared_job(fn: Callable[P, R], /) -> Job[P, R, R]: ...
@overload
def shared_job(
    *, name: str = ..., queue: str = ..., priority: int = ..., retry: Retry = ..., timeout: Duration = ...
) -> JobDecorator: ...
def shared_job(fn: Any = None, /, **options: Any) -> Any:
    """Make a function a job of every app in this process; takes what ``dispatch.job`` takes."""
    if fn is None:
        return lambda function: _declare(function, dict(options))
    return _declare(fn, options)


def _declare(fn: Any, options: dict[str, Any]) -> Job[..., Any, Any]:
    name = job_name(fn, options)
    definition: Job[..., Any, Any] = _SharedJob(fn, name=name, enqueuer=lambda: _host(name).enqueuer(), **options)
    for host in list(_hosts):
        host.add(definition)
    _jobs[name] = definition
    return definition
