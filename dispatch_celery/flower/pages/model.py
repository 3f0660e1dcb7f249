"""What pages are made of: where one is, what it was asked for, and the parts that several show."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

import click

from dispatch_celery.app import Dispatch
from dispatch_celery.cli.filters import given, scope_of
from dispatch_celery.cli.moments import moment
from dispatch_celery.errors import ConfigurationError
from dispatch_celery.scope import Scope

__all__ = ["PAGE_SIZE", "Choice", "Filters", "Page", "Query", "Row", "oldest"]

PAGE_SIZE: Final = 50
_LONGEST: Final = 500
_OLDEST: Final = timedelta(days=3650)
_CLOSE: Final = 1.05
"""How well the age of the oldest record is known: to five of a hundred."""


@dataclass(frozen=True, kw_only=True)
class Page:
    """A page: where it is, what it is called, and how it is read."""

    key: str
    """Its path below ours; empty for the first page."""
    title: str
    template: str
    read: Callable[..., Any]
    ids: int = 0
    """How many ids its path ends with."""
    menu: str = ""
    """The key of the entry of the menu that it belongs to."""
    service: str = ""
    """What of ``Dispatch`` it needs; it is shown only where that is."""

    @property
    def in_menu(self) -> bool:
        """Whether it is an entry of the menu by itself."""
        return not self.ids

    def is_served(self, dispatch: Dispatch) -> bool:
        """Return whether this app has what it shows."""
        return not self.service or hasattr(type(dispatch), self.service)


@dataclass(frozen=True)
class Query:
    """What was asked for in an address, each name once."""

    values: Mapping[str, str] = field(default_factory=dict)

    def text(self, name: str) -> str | None:
        """Return a value; None where there is none.

        Raises:
            ConfigurationError: nobody types so much, or that.
        """
        found = self.values.get(name, "").strip()
        if not found.isascii() and any("\ud800" <= letter <= "\udfff" for letter in found):
            raise ConfigurationError(f"{name} has half a character in it, which no UTF-8 can hold")
        if len(found) > _LONGEST:
            raise ConfigurationError(f"{name} has {len(found):,} characters; at most {_LONGEST} can be looked for")
        return found or None

    def moment(self, name: str) -> datetime | None:
        """Return a time: ISO 8601, or how long ago.

        Raises:
            ConfigurationError: it is neither.
        """
        found = self.text(name)
        try:
            return None if found is None else moment(found)
        except click.BadParameter as error:
            raise ConfigurationError(f"{name}: {error.message}") from None

    def only(self, *names: str) -> None:
        """Refuse a name that nothing is looked for by: who misspells a filter must not be given everything.

        Raises:
            ConfigurationError: there is one.
        """
        for name in self.values:
            if name not in names:
                raise ConfigurationError(f"there is no filter {name!r}; there are {', '.join(names)}")

    @property
    def scope(self) -> Scope | None:
        """The tenant that was asked for."""
        return scope_of(self.text("app"), self.text("org"))

    def filters(self, *names: str, times: tuple[str, str] | None = None) -> dict[str, Any]:
        """Return what was asked for, as the services name it."""
        found: dict[str, Any] = {name: self.text(name) for name in names}
        if times is not None:
            found |= {times[0]: self.moment("after"), times[1]: self.moment("before")}
        return given(scope=self.scope, **found)


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One field of a filter; with ``options``, one of several values."""

    name: str
    label: str
    value: str
    options: Sequence[str] = ()
    hint: str = ""
    is_further: bool = False
    """Whether it is shown only when somebody wants more fields."""


@dataclass(frozen=True, kw_only=True)
class Filters:
    """The fields of a list, as they are filled in, and what else goes with them."""

    choices: Sequence[Choice]
    now: datetime

    @property
    def chosen(self) -> dict[str, str]:
        """What is filled in, by name."""
        return {choice.name: choice.value for choice in self.choices if choice.value}

    @property
    def shows_further(self) -> bool:
        """Whether one of the further fields is filled in."""
        return any(choice.is_further and choice.value for choice in self.choices)


@dataclass(frozen=True, slots=True)
class Row:
    """A name and a value of a record, with what kind of value it is: text, time, id, state or code."""

    name: str
    value: Any
    kind: str = "text"

    @property
    def is_shown(self) -> bool:
        """Whether there is something to show."""
        return self.value not in (None, "", (), {})


def oldest(newest_before: Callable[[datetime], datetime | None], now: datetime) -> datetime | None:
    """Return when about the oldest of many records was made, where only the newest before a time can be asked for.

    Ages are doubled until nothing is older, then the last step is halved; some thirty questions at most.
    """
    found = newest_before(now + timedelta(seconds=1))
    if found is None:
        return None
    none_at = timedelta(seconds=1)
    while True:
        none_at = max(none_at, (now - found) * 2)
        older = newest_before(now - none_at) if none_at < _OLDEST else None
        if older is None:
            break
        found = older
    while (now - found) * _CLOSE < none_at and none_at > timedelta(seconds=1):
        middle = ((now - found) + none_at) / 2
        older = newest_before(now - middle)
        if older is None:
            none_at = middle
        else:
            found = older
    return found
