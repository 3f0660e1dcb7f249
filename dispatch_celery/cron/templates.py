"""Makes what an entry creates at each slot: its arguments are bound and checked once, where it is registered."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any, Final

from dispatch_celery.cron.definition import Target
from dispatch_celery.cron.model import Template
from dispatch_celery.errors import ConfigurationError
from dispatch_celery.jobs.definition import Enqueuer, JobDefinition, named_call
from dispatch_celery.jobs.registry import Registry
from dispatch_celery.jobs.writing import JobWriter
from dispatch_celery.scope import Scope, restored
from dispatch_celery.work.spans import TRACE
from dispatch_celery.workflows.definition import RunCall, WorkflowDefinition
from dispatch_celery.workflows.registry import WorkflowRegistry
from dispatch_celery.workflows.service import RunService

__all__ = ["Templates"]

_OF_ONE: Final = frozenset({TRACE, "unique", "unique_period"})
"""What belongs to one enqueue: where in which trace it was made, and the key of which there may be one."""


class Templates:
    """Turns a job or workflow, by definition or by name, and its arguments into what is stored."""

    def __init__(
        self,
        registry: Registry,
        workflows: WorkflowRegistry,
        writer: JobWriter,
        runs: RunService,
        enqueuer: Callable[[], Enqueuer],
    ) -> None:
        self._registry = registry
        self._workflows = workflows
        self._writer = writer
        self._runs = runs
        self._enqueuer = enqueuer

    def make(self, target: Target | str, arguments: Mapping[str, Any], scope: Scope) -> Template:
        """Return the template of a call. A job that is declared elsewhere is known by its name; its worker checks it.

        Raises:
            PayloadError: an argument is unknown, missing, or does not fit.
        """
        with restored(scope):
            if isinstance(target, str) and target in self._workflows.names():
                target = self._workflows.latest(target)
            if isinstance(target, WorkflowDefinition):
                return self._of_workflow(target, arguments)
            return self._of_job(target, arguments)

    def doubt(self, target: Target | str) -> str:
        """Return what is to be said of a name that neither this app nor any worker so far declares; empty of others."""
        if not isinstance(target, str) or target in self._workflows.names():
            return ""
        if self._registry.declared(target) is not None or self._writer.is_heard_of(target):
            return ""
        near = get_close_matches(target, [*(one.name for one in self._registry), *self._workflows.names()], n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return f"neither this app nor a worker declares {target!r}: what is created waits for a worker that does{hint}"

    def _of_workflow(self, definition: WorkflowDefinition[..., Any], arguments: Mapping[str, Any]) -> Template:
        payload = definition.typed.arguments.encode_plain(definition.typed.bind((), arguments))
        run = self._runs.new_run(RunCall(definition, payload, definition.summary(arguments)))
        ref = run.ref
        return Template(
            name=ref.name,
            queue=ref.queue,
            priority=ref.priority,
            scope=ref.scope,
            version=ref.version,
            spec=_of_every_fire(run.spec),
            payload=payload,
            timeout=run.timeout,
        )

    def _of_job(self, target: JobDefinition[..., Any, Any] | str, arguments: Mapping[str, Any]) -> Template:
        name = target if isinstance(target, str) else getattr(target, "name", None)
        if not isinstance(name, str) or not name or " " in name or not name.isprintable():
            raise ConfigurationError(f"a cron entry calls a job or workflow, or the name of one, not {target!r}")
        declared = self._registry.declared(name) if isinstance(target, str) else target
        job = self._writer.new_job(named_call(name, arguments, declared, enqueuer=self._enqueuer))
        ref = job.ref
        return Template(
            name=ref.name,
            queue=ref.queue,
            priority=ref.priority,
            scope=ref.scope,
            spec=_of_every_fire(job.spec),
            payload=job.payload,
        )


def _of_every_fire(spec: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in spec.items() if name not in _OF_ONE}
