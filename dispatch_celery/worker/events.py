"""Tells Flower how jobs ended that could not tell it themselves.

Celery's request sends the events of what its own process ran to an end. A job that was settled from outside, because
its process died, did not stop in time or was lost with its worker, would be shown as STARTED for ever. Events are
handed to the consumer's own thread, so that a slow broker delays no lease.
"""

from __future__ import annotations

from typing import Any, Final

from dispatch_celery.work.model import WorkRef
from dispatch_celery.work.ports import Observer

__all__ = ["EventTeller"]

_EVENTS: Final = {"failed": "task-failed", "retrying": "task-retried", "cancelled": "task-revoked"}


class EventTeller:
    """An observer for those who settle jobs in a worker's main process: passes on, and sends Celery's event."""

    def __init__(self, observer: Observer, worker: Any) -> None:
        self._observer = observer
        self._worker = worker

    def __call__(self, moment: str, ref: WorkRef | None, /, **facts: Any) -> None:
        """Pass a transition on, and tell Flower if it is an end of an attempt."""
        self._observer(moment, ref, **facts)
        consumer = getattr(self._worker, "consumer", None)
        dispatcher = getattr(consumer, "event_dispatcher", None)
        if ref is None or moment not in _EVENTS or consumer is None or dispatcher is None or not dispatcher.enabled:
            return
        fields: dict[str, Any] = {"uuid": facts.get("task_id") or str(ref.id)}
        if moment == "cancelled":
            fields |= {"terminated": True, "signum": None, "expired": False}
        else:
            failure = facts.get("failure")
            words = f"{failure.type}: {failure.message}" if failure is not None else repr(facts.get("error"))
            fields |= {"exception": words, "traceback": ""}
        consumer.call_soon(dispatcher.send, _EVENTS[moment], **fields)
