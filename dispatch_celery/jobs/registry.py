"""The jobs of one app, by name. A name belongs to one function; a second one is refused where it is declared."""

from __future__ import annotations

from collections.abc import Iterator
from types import CodeType
from typing import Any

from dispatch_celery.codec import Codec
from dispatch_celery.errors import ConfigurationError
from dispatch_celery.jobs.definition import JobDefinition

__all__ = ["Registry"]


class Registry:
    """Names to definitions."""

    def __init__(self) -> None:
        self._jobs: dict[str, JobDefinition[..., Any, Any]] = {}

    def add(self, definition: JobDefinition[..., Any, Any]) -> None:
        """Add a definition.

        Raises:
            ConfigurationError: another function has this name.
        """
        known = self._jobs.get(definition.name)
        if known is not None and _origin(known) != _origin(definition):
            raise ConfigurationError(
                f"the job name {definition.name!r} is taken by {_shown(known)}; give {_shown(definition)} another name="
            )
        self._jobs[definition.name] = definition

    def get(self, name: str) -> JobDefinition[..., Any, Any] | None:
        """Return the definition of a name, if this process can run it."""
        found = self._jobs.get(name)
        return None if found is None or found.is_remote else found

    def declared(self, name: str) -> JobDefinition[..., Any, Any] | None:
        """Return the definition of a name, also if only another process can run it."""
        return self._jobs.get(name)

    def result_codec(self, name: str) -> Codec | None:
        """Return the codec of a job's results; None if the job is not declared here."""
        found = self._jobs.get(name)
        return None if found is None else found.typed.result

    def __iter__(self) -> Iterator[JobDefinition[..., Any, Any]]:
        return iter(list(self._jobs.values()))


def _origin(definition: JobDefinition[..., Any, Any]) -> tuple[str, CodeType]:
    """Return what tells functions apart; a module imported twice (as ``__main__`` and by name) declares the same."""
    code = definition.__wrapped__.__code__
    return code.co_filename, code


def _shown(definition: JobDefinition[..., Any, Any]) -> str:
    code = definition.__wrapped__.__code__
    return f"{definition.__qualname__} ({code.co_filename}:{code.co_firstlineno})"
