"""What a run rests for, and how far it has come by then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic_core import to_json

from dispatch_celery.workflows.held import Awaited

__all__ = ["Figure", "Wait"]


@dataclass(frozen=True, slots=True)
class Wait:
    """What a call rests for: so many of these promises, or the first that fails where it is ``fast``.

    Of nothing: steps under way here come first.
    """

    awaited: Sequence[Awaited] = ()
    need: int = 1
    fast: bool = False


@dataclass(frozen=True, slots=True)
class Figure:
    """How far a map has come."""

    identity: str
    done: int
    total: int

    def dump(self, *, more: int = 0, awaited: int | None = None) -> str:
        """Return it as a run's progress; ``awaited`` members of it are waited for, and count when they have ended."""
        facts = {"step": self.identity, "done": self.done + more, "total": self.total, "message": ""}
        return to_json(facts if awaited is None else {**facts, "awaited": awaited}).decode()
