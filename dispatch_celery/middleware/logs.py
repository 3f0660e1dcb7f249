"""Logs each execution, of jobs, steps and undos: its begin, its end, its time."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from dispatch_celery.jobs.context import JobContext
from dispatch_celery.jobs.outcome import Cancel, Snooze
from dispatch_celery.middleware.base import ExecutionContext

__all__ = ["LogExecutions"]


class LogExecutions:
    """Writes to a logger, with every field in ``record.dispatch``; never an argument or a result."""

    def __init__(self, logger: logging.Logger | str = "dispatch_celery.executions", level: int = logging.INFO) -> None:
        self._logger = logging.getLogger(logger) if isinstance(logger, str) else logger
        self._level = level

    def __call__(self, context: ExecutionContext, call_next: Callable[[], Any]) -> Any:
        """Wrap one execution."""
        began = time.monotonic()
        self._log(self._level, "begins", context)
        try:
            value = call_next()
        except (Snooze, Cancel) as choice:
            self._log(self._level, f"ends by {type(choice).__name__}", context, began)
            raise
        except Exception as error:
            self._log(logging.WARNING, f"fails with {type(error).__name__}", context, began)
            raise
        self._log(self._level, "succeeds", context, began)
        return value

    def _log(self, level: int, what: str, context: ExecutionContext, began: float | None = None) -> None:
        if not self._logger.isEnabledFor(level):
            return
        kind = "job" if isinstance(context, JobContext) else "undo" if context.is_undo else "step"
        fields = {"kind": kind, "name": context.name, "id": str(context.id), "queue": context.queue}
        fields |= {"attempt": str(context.attempt), "scope": context.scope.path}
        if not isinstance(context, JobContext):
            fields["run"] = context.run_id
        took = ""
        if began is not None:
            fields["elapsed"] = f"{time.monotonic() - began:.3f}"
            took = f" after {fields['elapsed']} s"
        shown = f"{kind} {context.name} {context.id} attempt {context.attempt}"
        self._logger.log(level, "%s %s%s", shown, what, took, extra={"dispatch": fields})
