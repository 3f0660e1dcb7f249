"""Runs the functions of steps and undos in this process, within their time, and interruptible by the worker."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from dispatch_celery.jobs.ports import Seat
from dispatch_celery.workflows.steps import StepCall, StepContext, in_step

__all__ = ["StepRunner"]


class StepRunner:
    """Runs the functions of steps in this process."""

    def __init__(self, seat: Seat, run_async: Callable[..., Any]) -> None:
        self._seat = seat
        self._run_async = run_async

    def run(self, call: StepCall, context: StepContext) -> Any:
        """Call a step's function, interruptible by the worker."""
        timeout_ms = call.definition.timeout_ms
        args, kwargs = call.definition.typed.call(call.arguments)
        with in_step(context), self._limited(timeout_ms), self._seat.interruptible():
            if call.definition.is_async:
                start = partial(call.definition.__wrapped__, *args, **kwargs)
                return self._run_async(start, self._seat.cancelled, timeout_ms)
            return call.definition.__wrapped__(*args, **kwargs)

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
