"""Runs the functions of steps and undos in this process, within their time, and interruptible by the worker."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import copy_context
from typing import Any

from dispatch_celery.work.ports import Seat
from dispatch_celery.worker.team import Handler, ThreadTeam
from dispatch_celery.workflows.step_definition import StepCall, StepDefinition
from dispatch_celery.workflows.steps import StepContext, Team, in_step

__all__ = ["StepRunner"]


class StepRunner:
    """Runs the functions of steps in this process."""

    def __init__(self, seat: Seat, handler: Handler) -> None:
        self._seat = seat
        self._handler = handler

    def run(self, call: StepCall[Any], context: StepContext) -> Any:
        """Call a step's function in its middleware, interruptible by the worker."""
        # In a copy: a context variable set in a step would be seen by the body now, and on no replay.
        return copy_context().run(self._run, call.definition, context)

    def team(self) -> Team:
        """Return what runs several steps of one run at the same time."""
        return ThreadTeam(self._seat, self._handler)

    def _run(self, definition: StepDefinition[..., Any, Any], context: StepContext) -> Any:
        timeout_ms = definition.timeout_ms
        with in_step(context), self._limited(timeout_ms), self._seat.interruptible():
            return self._handler(definition, context, timeout_ms)

    @contextmanager
    def _limited(self, timeout_ms: int | None) -> Iterator[None]:
        """Let the worker end the block when its time is up."""
        if timeout_ms is None:
            yield
            return
        self._seat.limit(timeout_ms)
        try:
            yield
        finally:
            self._seat.limit(None)
