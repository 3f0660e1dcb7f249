"""Which dead letters are meant: the filters of every verb that takes more than one of them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime
from difflib import get_close_matches
from enum import StrEnum
from typing import Any, TypeVar

from dispatch_celery.dlq.model import DeadLetter, DeadLetterKind, DeadLetterOrigin
from dispatch_celery.errors import ConfigurationError
from dispatch_celery.scope import Scope
from dispatch_celery.store.paging import instant

__all__ = ["DeadLetterFilter"]

E = TypeVar("E", bound=StrEnum)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterFilter:
    """Which dead letters are meant; None means any.

    ``error``: text in the error's class or message, or in the reason of what has no error. ``error_class``: the
    whole class, or its last word. ``text``: anywhere in what is told of it: error, traceback, reason, notes. Texts are
    looked for in any case. ``fingerprint``: of one group; ``""`` means those that have none.
    """

    kind: DeadLetterKind | str | None = None
    origin: DeadLetterOrigin | str | None = None
    fingerprint: str | None = None
    name: str | None = None
    queue: str | None = None
    scope: Scope | None = None
    reason: str | None = None
    error: str | None = None
    error_class: str | None = None
    text: str | None = None
    died_after: datetime | None = None
    died_before: datetime | None = None
    replayed: bool | None = None

    @classmethod
    def of(cls, filters: dict[str, Any]) -> DeadLetterFilter:
        """Return the filter that a verb was given as keywords.

        Raises:
            ConfigurationError: there is no such filter, or a value is none of its values.
        """
        known = [field.name for field in fields(cls)]
        for name in filters:
            if name not in known:
                near = get_close_matches(name, known, n=1)
                hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
                raise ConfigurationError(f"dead letters have no filter {name!r}; {hint}")
        return cls(**filters)

    def __post_init__(self) -> None:
        if self.kind is not None:
            object.__setattr__(self, "kind", _one_of(DeadLetterKind, "kind", self.kind))
        if self.origin is not None:
            object.__setattr__(self, "origin", _one_of(DeadLetterOrigin, "origin", self.origin))
        instant("died_after", self.died_after)
        instant("died_before", self.died_before)

    @property
    def given(self) -> frozenset[str]:
        """The names of the filters that are set."""
        return frozenset(field.name for field in fields(self) if getattr(self, field.name) is not None)

    def keeps(self, letter: DeadLetter) -> bool:
        """Return whether a dead letter is wanted."""
        wanted: tuple[tuple[Any, Any], ...] = (
            (self.kind, letter.kind),
            (self.origin, letter.origin),
            (self.fingerprint, letter.fingerprint),
            (self.name, letter.name),
            (self.queue, letter.queue),
            (self.reason, letter.reason),
            (self.replayed, bool(letter.replayed_as)),
        )
        if self.scope is not None and not self.scope.covers(letter.job.scope if letter.job else Scope()):
            return False
        if any(value is not None and value != found for value, found in wanted):
            return False
        return self._is_of_class(letter) and self._tells(letter)

    def _is_of_class(self, letter: DeadLetter) -> bool:
        if self.error_class is None:
            return True
        kind = letter.failure.type if letter.failure else ""
        return kind == self.error_class or kind.endswith(f".{self.error_class}")

    def _tells(self, letter: DeadLetter) -> bool:
        failure = letter.failure
        told = f"{failure.type}: {failure.message}" if failure else letter.reason
        if self.error is not None and self.error.lower() not in told.lower():
            return False
        if self.text is None:
            return True
        parts = [told, letter.reason, failure.traceback if failure else "", *(note.text for note in letter.notes)]
        return any(self.text.lower() in part.lower() for part in parts)


def _one_of(kind: type[E], name: str, value: str) -> E:
    try:
        return kind(value)
    except ValueError:
        raise ConfigurationError(f"{name} must be one of {', '.join(kind)}, not {value!r}") from None
