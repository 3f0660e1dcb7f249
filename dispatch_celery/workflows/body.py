"""Calls a workflow's function as it stands, sync or async: once from the top."""

from __future__ import annotations

from typing import Any

from dispatch_celery.clock import from_ms
from dispatch_celery.ids import RunId
from dispatch_celery.scope import Scope, restored
from dispatch_celery.work.body import in_body
from dispatch_celery.workflows.async_context import AsyncWorkflow
from dispatch_celery.workflows.context import RunInfo, Workflow
from dispatch_celery.workflows.definition import WorkflowDefinition
from dispatch_celery.workflows.driver import Driver
from dispatch_celery.workflows.engine import Engine

__all__ = ["call_body"]


def call_body(definition: WorkflowDefinition[..., Any], engine: Engine) -> Any:
    """Run the function on what is recorded, and beyond as far as the engine lets it; return what it returns.

    Raises:
        Suspended, Unwound, Anew: it is to rest, to end or to begin anew.
    """
    claim = engine.claim
    args, kwargs = definition.typed.call(definition.typed.arguments.decode(claim.payload))
    info = RunInfo(
        id=RunId(claim.ref.id),
        name=definition.name,
        version=definition.version,
        created_at=from_ms(claim.created_at),
        generation=claim.generation,
    )
    with restored(Scope.from_path(claim.ref.scope)), in_body(definition.name):
        if not definition.is_async:
            return definition.__wrapped__(Workflow(engine, info), *args, **kwargs)
        driver = Driver(engine, definition.name)
        wf = AsyncWorkflow(engine, info, driver)
        return driver.run(definition.__wrapped__(wf, *args, **kwargs))
