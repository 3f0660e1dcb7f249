"""What telemetry asks of a ``Dispatch``, which is a floor above."""

from __future__ import annotations

from typing import Any, Protocol

from dispatch_celery.cluster.census import Census
from dispatch_celery.extensions.base import Extension
from dispatch_celery.middleware.base import Middleware

__all__ = ["Observed"]


class Observed(Protocol):
    """What telemetry asks of a ``Dispatch``."""

    @property
    def app(self) -> Any:
        """The Celery app."""
        ...

    def add_middleware(self, middleware: Middleware) -> None:
        """Wrap executions."""
        ...

    def add_extension(self, extension: Extension) -> None:
        """Hear of transitions."""
        ...

    def census(self) -> Census:
        """Look at the whole state."""
        ...
