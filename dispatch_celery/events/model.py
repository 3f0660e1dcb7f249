"""What an event is: a declared topic, a stored event, and one that a run was given."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any, Final, Generic, TypeVar

from dispatch_celery.codec import Codec
from dispatch_celery.errors import ConfigurationError
from dispatch_celery.ids import EventId
from dispatch_celery.scope import Scope

__all__ = ["Event", "EventRecord", "Place", "Received", "StoredEvent", "check_event_name", "check_key"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

_LONGEST: Final = 200
_LARGEST: Final = 64 * 1024 * 1024
"""What any codec takes; ``dispatch_max_payload`` is the limit that holds."""


class Event(Generic[T]):
    """A declared topic: a name, and the type of what is published under it."""

    def __init__(self, name: str, payload: Any) -> None:
        self.name = check_event_name(name)
        self.type = payload
        self.codec = Codec(payload, subject=f"event {name}", limit=_LARGEST)

    def __repr__(self) -> str:
        return f"<event {self.name}: {self.type}>"


@dataclass(frozen=True, slots=True)
class Place:
    """Where an event is published: under a name and key in a scope, or in the inbox of one run."""

    name: str
    key: str = ""
    scope: str = ""
    run: str = ""
    digest: str = ""

    def __post_init__(self) -> None:
        if not self.digest:
            whole = f"{self.scope}\0{self.name}\0{self.key}\0{self.run}"
            object.__setattr__(self, "digest", sha256(whole.encode("utf-8", "surrogatepass")).hexdigest()[:32])

    @classmethod
    def of_digest(cls, digest: str) -> Place:
        """Return a place that is known by its digest only."""
        return cls("", digest=digest)


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """One event of a topic, as a run that looks for it reads it."""

    id: EventId
    place: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Received(Generic[T_co]):
    """What a wait for one of several was given."""

    event: Event[Any] | str
    """As it was given to ``wf.event``: the declared topic, or a name."""
    payload: T_co
    id: str
    """The event's id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRecord:
    """A published event as it was when it was read."""

    id: EventId
    name: str
    key: str
    scope: Scope
    published_at: datetime
    payload: Any


def check_event_name(name: str) -> str:
    """Refuse a name that people could not read.

    Raises:
        ConfigurationError: it is empty, too long, or has characters that cannot be printed.
    """
    if not isinstance(name, str) or not 1 <= len(name) <= _LONGEST or not name.isprintable():
        raise ConfigurationError(f"an event's name must be 1 to {_LONGEST} printable characters, not {name!r}")
    return name


def check_key(key: str | None) -> str:
    """Return a key as text; none is a key of its own.

    Raises:
        ConfigurationError: it is no text, or too long.
    """
    if key is None:
        return ""
    if not isinstance(key, str) or not 1 <= len(key) <= 500:
        raise ConfigurationError(f"an event's key must be text of 1 to 500 characters, not {key!r:.100}")
    return key
