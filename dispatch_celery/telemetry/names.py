"""The names of attributes: those of the semantic conventions for messaging, and ours; and labels that stay few."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

__all__ = ["OTHER", "SYSTEM", "Labels"]

SYSTEM: Final = "dispatch_celery"

# https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/
MESSAGING_SYSTEM: Final = "messaging.system"
OPERATION_NAME: Final = "messaging.operation.name"
OPERATION_TYPE: Final = "messaging.operation.type"
DESTINATION: Final = "messaging.destination.name"
MESSAGE_ID: Final = "messaging.message.id"
CONVERSATION: Final = "messaging.message.conversation_id"
PROCESS_DURATION: Final = "messaging.process.duration"
ERROR_TYPE: Final = "error.type"

NAME: Final = "dispatch.name"
ATTEMPT: Final = "dispatch.attempt"
SCOPE: Final = "dispatch.scope"
PARENT: Final = "dispatch.parent.id"
VERSION: Final = "dispatch.workflow.version"
OUTCOME: Final = "dispatch.outcome"
TRANSITION: Final = "dispatch.transition"
STEP: Final = "dispatch.step.id"
STATE: Final = "dispatch.state"
KIND: Final = "dispatch.kind"
LIMIT: Final = "dispatch.limit"

OTHER: Final = "other"
"""What stands for every value beyond the bound."""


class Labels:
    """The values that one attribute of a measure may have: what is declared, and a bounded number of others."""

    def __init__(self, is_declared: Callable[[str], bool] = lambda _: False, *, cap: int = 100) -> None:
        self._is_declared = is_declared
        self._cap = cap
        self._known: set[str] = set()
        self._others = 0
        self._lock = threading.Lock()

    def of(self, value: str) -> str:
        """Return a value, or ``other`` where it is one too many."""
        if value in self._known:
            return value
        declared = self._is_declared(value)
        with self._lock:
            if not declared and self._others >= self._cap:
                return OTHER
            if value not in self._known:
                self._known.add(value)
                self._others += not declared
        return value
