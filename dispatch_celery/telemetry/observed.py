"""What telemetry asks of a ``Dispatch``, which is a floor above."""

from __future__ import annotations

from typing import Any, Protocol

from dispatch_celery.extensions.base import Extension
from dispatch_celery.middleware.base import Middleware
from dispatch_celery.telemetry.picture import Counted

__all__ = ["Observed"]


class Observed(Counted, Protocol):
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
