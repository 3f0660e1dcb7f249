"""The workflows of one app, by name and version. A version is one function; old ones can stay beside new ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dispatch_celery.errors import ConfigurationError, WorkflowNotFound
from dispatch_celery.workflows.definition import WorkflowDefinition

__all__ = ["WorkflowRegistry"]


class WorkflowRegistry:
    """Names and versions to definitions."""

    def __init__(self) -> None:
        self._versions: dict[str, dict[int, WorkflowDefinition[..., Any]]] = {}

    def add(self, definition: WorkflowDefinition[..., Any]) -> None:
        """Add a definition.

        Raises:
            ConfigurationError: another function is this version of this name.
        """
        versions = self._versions.setdefault(definition.name, {})
        known = versions.get(definition.version)
        if known is not None and known.__wrapped__.__code__ != definition.__wrapped__.__code__:
            raise ConfigurationError(
                f"version {definition.version} of the workflow {definition.name!r} is {known.__qualname__} already:"
                f" give {definition.__qualname__} another version= or name="
            )
        versions[definition.version] = definition

    def get(self, name: str, version: int) -> WorkflowDefinition[..., Any] | None:
        """Return one version of a name."""
        return self._versions.get(name, {}).get(version)

    def latest(self, name: str) -> WorkflowDefinition[..., Any]:
        """Return the version that new runs start with: the highest.

        Raises:
            WorkflowNotFound: this app declares none of that name.
        """
        versions = self._versions.get(name)
        if not versions:
            known = ", ".join(sorted(self._versions)) or "none"
            raise WorkflowNotFound(f"this app declares no workflow {name!r}; it has: {known}")
        return versions[max(versions)]

    def names(self) -> list[str]:
        """Return every name."""
        return list(self._versions)

    def __iter__(self) -> Iterator[WorkflowDefinition[..., Any]]:
        return iter([one for versions in self._versions.values() for one in versions.values()])
