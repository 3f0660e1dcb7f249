"""What a piece of work is, whether a job or a run: what names it, what wakes it, and why it failed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from dispatch_celery.ids import JobId, RunId, TypedId

__all__ = ["LIMITED", "PENDING", "SCHEMA", "Failure", "Parent", "WakeUp", "WorkRef"]

SCHEMA: Final = 1
"""The version of what is stored; a reader refuses a newer one by name instead of guessing."""

PENDING: Final = "pending"
"""Of both kinds the state of what is ready: a worker may take it at any moment."""
LIMITED: Final = "limited"
"""The state of a job that a limit holds back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parent:
    """The run that a job or another run belongs to, and the durable call by which it waits for it."""

    id: RunId
    name: str
    lane: str
    version: int
    at: str

    def dump(self) -> dict[str, Any]:
        """Return it as it is stored with its member."""
        return {"id": self.id, "name": self.name, "lane": self.lane, "version": self.version, "at": self.at}

    @classmethod
    def load(cls, data: Mapping[str, Any] | None) -> Parent | None:
        """Return what is stored with a member; None where it belongs to nobody."""
        if not data:
            return None
        return cls(
            id=RunId(data["id"]), name=data["name"], lane=data["lane"], version=int(data["version"]), at=data["at"]
        )

    @property
    def ref(self) -> WorkRef:
        """What names the run."""
        queue, _, priority = self.lane.rpartition(":")
        return WorkRef(id=self.id, name=self.name, queue=queue, priority=int(priority), version=self.version)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkRef:
    """What never changes about a piece of work, a job or a run: enough to find every key that names it."""

    id: TypedId
    name: str
    queue: str
    priority: int = 0
    scope: str = ""
    idempotency_key: str = ""
    unique: str = ""
    """Of a job of which there may be one: what is the same for them all, while it holds that key."""
    version: int = 0
    """Of a run, the version of its workflow."""
    parent: Parent | None = None

    @property
    def known_as(self) -> str:
        """What a worker registers that can execute it: a job's name; a workflow's name and version."""
        return f"{self.name}@{self.version}" if self.version else self.name

    @property
    def lane(self) -> str:
        """Where it waits when it is ready."""
        return f"{self.queue}:{self.priority}"

    @property
    def kind(self) -> str:
        """What the names of its indexes begin with: nothing for a job, ``run-`` for a run."""
        return "" if self.id[:3] == JobId.prefix else f"{self.id[:3]}-"


@dataclass(frozen=True, slots=True, kw_only=True)
class WakeUp:
    """A message to publish: this job or run is ready for the ``wake``-th time."""

    ref: WorkRef
    wake: str
    spec: Mapping[str, Any] = field(default_factory=dict)
    attempt: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why an attempt or a job ended: plain data, never a pickled exception."""

    type: str
    message: str
    traceback: str = ""
