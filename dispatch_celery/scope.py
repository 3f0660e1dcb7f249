"""The tenant that work is done for: captured where a job is enqueued, restored around its handler.

A scope travels with the job through retries and replays. It lives in a context variable, so it follows
``async`` tasks and never leaks between threads.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from dispatch_celery.errors import ConfigurationError

__all__ = ["Scope", "current_scope", "restored", "scope"]

_LONGEST = 200


@dataclass(frozen=True, kw_only=True)
class Scope:
    """An application and an organisation within it; either may be empty."""

    app_id: str = ""
    org_id: str = ""

    def __post_init__(self) -> None:
        for name, value in (("app_id", self.app_id), ("org_id", self.org_id)):
            if not isinstance(value, str) or len(value) > _LONGEST or not value.isprintable() or "/" in value:
                raise ConfigurationError(
                    f"scope({name}=...) must be printable text without '/', of at most {_LONGEST} characters"
                )

    @property
    def path(self) -> str:
        """``app/org``; empty for the empty scope. This is the form in which it is stored."""
        return f"{self.app_id}/{self.org_id}" if self.app_id or self.org_id else ""

    def covers(self, other: Scope) -> bool:
        """Return whether ``other`` lies in this scope: an empty part stands for any."""
        return self.app_id in ("", other.app_id) and self.org_id in ("", other.org_id)

    @classmethod
    def from_path(cls, path: str) -> Scope:
        """Return the scope that was stored as ``path``."""
        app_id, _, org_id = path.partition("/")
        return cls(app_id=app_id, org_id=org_id)


_EMPTY = Scope()
_current: ContextVar[Scope] = ContextVar("dispatch_scope", default=_EMPTY)


def current_scope() -> Scope:
    """Return the scope that is in force here; the empty one if none is."""
    return _current.get()


@contextmanager
def scope(*, app_id: str = "", org_id: str = "") -> Iterator[Scope]:
    """Put a scope in force for a block: jobs enqueued in it carry it."""
    with restored(Scope(app_id=app_id, org_id=org_id)) as value:
        yield value


@contextmanager
def restored(value: Scope) -> Iterator[Scope]:
    """Put a captured scope in force for a block."""
    mark = _current.set(value)
    try:
        yield value
    finally:
        _current.reset(mark)
