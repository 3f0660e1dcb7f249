"""Lists and counts of jobs or runs: one index serves (state; name and state; scope), the other filters sift."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from dispatch_celery.errors import ConfigurationError
from dispatch_celery.scope import Scope
from dispatch_celery.store.client import Store
from dispatch_celery.store.keys import Keys
from dispatch_celery.store.paging import Page, Pager, instant
from dispatch_celery.store.replies import ask_all
from dispatch_celery.store.scripts import Call
from dispatch_celery.work.model import Failure

__all__ = ["WorkFilter", "WorkListing"]

S = TypeVar("S", bound=StrEnum)


class Listed(Protocol):
    """What a filter asks of a record."""

    @property
    def name(self) -> str:
        """What was called."""
        ...

    @property
    def queue(self) -> str:
        """Where it waits when it is ready."""
        ...

    @property
    def scope(self) -> Scope:
        """For whom."""
        ...

    @property
    def state(self) -> Any:
        """Where it is."""
        ...

    @property
    def failure(self) -> Failure | None:
        """Why it failed."""
        ...


R = TypeVar("R", bound=Listed)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkFilter(Generic[S, R]):
    """What to list; None means any. ``error`` is text looked for in what is told of its failure."""

    states: ClassVar[type[StrEnum]]
    kind: ClassVar[str] = ""

    state: S | str | None = None
    name: str | None = None
    queue: str | None = None
    scope: Scope | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    error: str | None = None

    def __post_init__(self) -> None:
        if self.state is not None:
            object.__setattr__(self, "state", _state(self.states, self.state))
        for name in ("created_after", "created_before"):
            instant(name, getattr(self, name))

    def told(self, record: R) -> str:
        """Return what is told of why a record has not completed; empty where nothing is."""
        failure = record.failure
        return "" if failure is None else f"{failure.type}: {failure.message}"

    def keeps(self, record: R) -> bool:
        """Return whether a record is wanted."""
        wanted = ((self.state, record.state), (self.name, record.name), (self.queue, record.queue))
        if self.scope is not None and not self.scope.covers(record.scope):
            return False
        if any(value is not None and value != found for value, found in wanted):
            return False
        if self.error is None:
            return True
        told = self.told(record)
        return bool(told) and self.error.lower() in told.lower()

    def indexes(self, keys: Keys) -> list[str]:
        """Return the indexes that hold every record that is wanted."""
        states = list(self.states) if self.state is None else [self.states(self.state)]
        if self.name is not None:
            return [keys.name(state, self.name, self.kind) for state in states]
        if self.scope is not None and self.scope.app_id and self.scope.org_id:
            return [keys.scope(self.scope.path, self.kind)]
        return [keys.state(state, self.kind) for state in states]


class WorkListing(Generic[S, R]):
    """Reads of many records of one kind."""

    def __init__(
        self,
        store: Store,
        keys: Keys,
        read: Callable[[Sequence[str]], list[R | None]],
        states: type[S],
        kind: str = "",
    ) -> None:
        self._store = store
        self._keys = keys
        self._read = read
        self._states = states
        self._kind = kind
        self._pager = Pager(store)

    def page(self, chosen: WorkFilter[S, R], *, limit: int, cursor: str | None) -> Page[R]:
        """Return one page of records, newest first."""
        return self._pager.page(
            chosen.indexes(self._keys),
            self._read,
            keep=chosen.keeps,
            limit=limit,
            cursor=cursor,
            until=instant("created_before", chosen.created_before),
            since=instant("created_after", chosen.created_after),
        )

    def count(self, state: S | str | None, name: str | None) -> dict[S, int]:
        """Return how many records there are in each state, of one name or of all."""
        keys, kind = self._keys, self._kind
        states = list(self._states) if state is None else [_state(self._states, state)]
        calls = [
            Call.command("ZCARD", keys.state(one, kind) if name is None else keys.name(one, name, kind))
            for one in states
        ]
        return {one: int(count) for one, count in zip(states, ask_all(self._store, calls), strict=True)}


def _state(states: type[S], state: S | str) -> S:
    try:
        return states(state)
    except ValueError:
        raise ConfigurationError(f"state must be one of {', '.join(states)}, not {state!r}") from None
