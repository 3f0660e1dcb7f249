"""Where an app's jobs are declared: into the registry at once, and as Celery tasks as soon as there is an app."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from celery import Celery

from dispatch_celery.errors import ConfigurationError
from dispatch_celery.jobs.definition import Enqueuer
from dispatch_celery.jobs.eager import EagerJobs
from dispatch_celery.jobs.registry import Registry
from dispatch_celery.worker import shared
from dispatch_celery.worker.flows import register_workflow
from dispatch_celery.worker.task import Engine, Job, job_name, register_task
from dispatch_celery.workflows.definition import Starter, WorkflowDefinition
from dispatch_celery.workflows.registry import WorkflowRegistry

__all__ = ["Declarations"]


class Declarations:
    """The declarations of one ``Dispatch``."""

    def __init__(
        self,
        registry: Registry,
        workflows: WorkflowRegistry,
        *,
        enqueuer: Callable[[], Enqueuer],
        engine: Callable[[], Engine],
        eager: Callable[[], EagerJobs],
        starter: Callable[[], Starter],
    ) -> None:
        self._registry = registry
        self._workflows = workflows
        self._starter = starter
        self._engine = engine
        self._eager = eager
        self._app: Celery | None = None
        self.enqueuer = enqueuer

    @property
    def app(self) -> Celery:
        """The Celery app."""
        if self._app is None:
            raise ConfigurationError("this Dispatch has no Celery app yet: Dispatch(app), or dispatch.init_app(app)")
        return self._app

    def declare(self, fn: Any, options: dict[str, Any]) -> Job[..., Any, Any]:
        """Make a function a job of this app."""
        name = job_name(fn, options)
        definition: Job[..., Any, Any] = Job(fn, name=name, enqueuer=self.enqueuer, **options)
        self.add(definition)
        return definition

    def declare_workflow(self, fn: Any, options: dict[str, Any]) -> WorkflowDefinition[..., Any]:
        """Make a function one version of a workflow of this app."""
        name = options.pop("name", None) or f"{fn.__module__}.{fn.__qualname__}"
        definition: WorkflowDefinition[..., Any] = WorkflowDefinition(fn, name=name, starter=self._starter, **options)
        if self._registry.declared(name) is not None:
            raise ConfigurationError(f"the name {name!r} is a job already: give the workflow another name=")
        is_new = name not in self._workflows.names()
        self._workflows.add(definition)
        if self._app is not None and is_new:
            register_workflow(self._app, definition, self._engine)
        return definition

    def add(self, definition: Job[..., Any, Any]) -> None:
        """Take a definition in.

        Raises:
            ConfigurationError: another function has its name.
        """
        self._registry.add(definition)
        if self._app is not None:
            self._register(definition, self._app)

    def join(self, app: Celery) -> None:
        """Make tasks of what was declared, and of the jobs that reusable packages share.

        Raises:
            ConfigurationError: there is another app already.
        """
        if self._app is not None and self._app is not app:
            raise ConfigurationError("this Dispatch belongs to another Celery app already")
        self._app = app
        for definition in self._registry:
            if isinstance(definition, Job):
                self._register(definition, app)
        for name in self._workflows.names():
            register_workflow(app, self._workflows.latest(name), self._engine)
        shared.join(self)

    def _register(self, definition: Job[..., Any, Any], app: Celery) -> None:
        if not definition.is_remote:
            definition.task = register_task(app, definition, self._engine, self._eager)
