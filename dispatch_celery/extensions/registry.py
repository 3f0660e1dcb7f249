"""Tells extensions, signals and the log of every transition; none of them can hurt it."""

from __future__ import annotations

import logging
from typing import Any, Final

from dispatch_celery.errors import ConfigurationError
from dispatch_celery.extensions.base import Extension
from dispatch_celery.jobs.signals import SIGNALS
from dispatch_celery.work.model import WorkRef
from dispatch_celery.workflows.signals import RUN_SIGNALS

__all__ = ["ExtensionRegistry"]

logger = logging.getLogger("dispatch_celery.lifecycle")

_WORKER_MOMENTS: Final = frozenset({"worker_joined", "worker_lost", "leader_changed", "event_published", "shutdown"})


class ExtensionRegistry:
    """The extensions of one app, in the order they were added. Is the ``Observer`` of every floor below."""

    def __init__(self) -> None:
        self._extensions: list[Extension] = []

    def add(self, extension: Extension) -> None:
        """Add one."""
        if not isinstance(extension, Extension):
            raise ConfigurationError(f"an extension is an instance of a subclass of Extension, not {extension!r}")
        self._extensions.append(extension)

    def __call__(self, moment: str, ref: WorkRef | None, /, **facts: Any) -> None:
        """Log a transition, send its signal, call its hooks."""
        self._log(moment, ref, facts)
        is_run = ref is not None and bool(ref.kind)
        signal, names = (RUN_SIGNALS if is_run else SIGNALS).get(moment, (None, ()))
        carried = {name: facts[name] for name in names if name in facts}
        subject = {} if ref is None else {"run" if is_run else "job": ref}
        if signal is not None and signal.receivers:
            signal.send(sender=ref.name if ref else next(iter(carried.values()), ""), **subject, **carried)
        kind = "run" if is_run else "job"
        hook = f"on_{moment}" if moment in _WORKER_MOMENTS else f"on_{kind}_{moment}"
        for extension in self._extensions:
            method = getattr(extension, hook, None)
            if method is not None:
                self._call(method, f"{type(extension).__name__}.{hook}", subject, carried)

    def _call(self, method: Any, hook: str, subject: dict[str, Any], carried: dict[str, Any]) -> None:
        arguments = {name: value for name, value in carried.items() if name != "attempt" or "retrying" in hook}
        try:
            method(**subject, **arguments)
        except Exception:
            logger.exception("the hook %s failed", hook)

    @staticmethod
    def _log(moment: str, ref: WorkRef | None, facts: dict[str, Any]) -> None:
        level = logging.WARNING if moment in ("failed", "fenced", "recovered", "worker_lost") else logging.INFO
        if not logger.isEnabledFor(level):
            return
        kind = "" if ref is None else ref.id[:3]
        fields: dict[str, Any] = {"event": f"dispatch.{kind}.{moment}" if kind else f"dispatch.{moment}"}
        if ref is not None:
            fields |= {f"{kind}_id": ref.id, f"{kind}_name": ref.name, "queue": ref.queue, "scope": ref.scope}
        fields |= {name: facts[name] for name in ("attempt", "elapsed", "holder", "worker", "leader") if name in facts}
        shown = " ".join(f"{name}={value}" for name, value in fields.items() if value != "")
        logger.log(level, "%s", shown, extra={"dispatch": fields})
