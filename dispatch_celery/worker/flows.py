"""The Celery face of a workflow: the task by which workers are woken for its runs, one for all versions of a name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from celery import Celery, Task
from celery.app.trace import TraceInfo, build_tracer
from celery.exceptions import Retry

from dispatch_celery.errors import ConfigurationError
from dispatch_celery.jobs.catalogue import CatalogueEntry
from dispatch_celery.worker.task import Engine
from dispatch_celery.worker.tracing import Tracing
from dispatch_celery.workflows.definition import WorkflowDefinition

__all__ = ["WorkflowTask", "register_workflow", "workflow_entry"]


class _Rest(TraceInfo):  # type: ignore[misc]  # Celery ships no types
    """Tells Celery of a run at rest, which is no error of anybody's, without the frames that led there.

    Celery copies each frame of what was raised with all positions of its code, its own tracer's 2,300 among them, and
    sends 50 kB of that to the main process: a millisecond and a half for every rest (measured).
    """

    __slots__ = ()

    def handle_retry(self, *args: Any, **options: Any) -> Any:
        """Do as Celery does, with a traceback of this one frame."""
        try:
            raise self.retval.with_traceback(None)
        except Retry:
            return super().handle_retry(*args, **options)


class WorkflowTask(Task):  # type: ignore[misc]  # Celery ships no types
    """The task of a workflow. Its message names a run; the record and the journal hold the rest."""

    abstract = True
    typing = False
    acks_late = False
    max_retries = None
    reject_on_worker_lost = False
    track_started = False
    Request = "dispatch_celery.worker.task:JobRequest"
    Strategy = "dispatch_celery.worker.strategy:run_strategy"

    engine: Callable[[], Engine]
    _tracer: Any = None

    @property
    def __trace__(self) -> Any:
        return None if self._tracer is None else self._traced

    @__trace__.setter
    def __trace__(self, tracer: Any) -> None:
        self._tracer = tracer and build_tracer(self.name, self, self.app.loader, Info=_Rest, app=self.app)

    def _traced(self, uuid: str, args: Any, kwargs: Any, request: Any = None) -> Any:
        return self.engine().tracing().trace(self._tracer, self.name, uuid, args, kwargs, request)

    def apply_async(self, *_args: Any, **_options: Any) -> Any:
        """Refuse: a run is started, typed and with its version, by its definition."""
        raise ConfigurationError(f"{self.name} is a workflow: start() it, or dispatch.start({self.name!r}, ...)")


def register_workflow(app: Celery, definition: WorkflowDefinition[..., Any], engine: Callable[[], Engine]) -> None:
    """Make the Celery task of a workflow's name, if it has none yet.

    Raises:
        ConfigurationError: a job or a plain task has this name.
    """
    known = app._tasks.get(definition.name)  # noqa: SLF001 - `tasks` would finalise the app while it is being written
    if isinstance(known, WorkflowTask):
        return
    if known is not None:
        raise ConfigurationError(f"the name {definition.name!r} is a task already: give the workflow another name=")
    base = type("WorkflowTask", (WorkflowTask, app.Task), {"abstract": True})

    def body(*_args: Any, **_kwargs: Any) -> Any:
        execution = Tracing.claimed()
        if execution is None:
            raise ConfigurationError(f"{definition.name} is a workflow: start() it")
        return engine().tracing().perform(execution)

    for name in ("__name__", "__qualname__", "__module__", "__doc__"):
        setattr(body, name, getattr(definition, name))
    app.task(name=definition.name, base=base, shared=False, engine=staticmethod(engine))(body)


def workflow_entry(definition: WorkflowDefinition[..., Any]) -> CatalogueEntry:
    """Return what by-name callers need of a workflow."""
    return CatalogueEntry(
        queue=definition.queue, priority=definition.priority, max_attempts=0, timeout=definition.timeout_ms
    )
