"""What a run needs of the floor of events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from dispatch_celery.events.model import Event, Place, StoredEvent
from dispatch_celery.ids import EventId

__all__ = ["Topics", "waiter_of"]


def waiter_of(run_id: str, identity: str, generation: int) -> str:
    """Return under what name a durable call is registered where it waits for events.

    Each generation has one of its own: who strikes off what an older one has left strikes off nobody else, however
    late he comes.
    """
    return f"{run_id} {identity}" + (f" {generation}" if generation else "")


class Topics(Protocol):
    """What an inbox needs of the store of events."""

    def look(self, places: Sequence[tuple[Place, int]], *, waiter: str = "", run: str = "") -> list[list[StoredEvent]]:
        """Return what each topic holds after a place; register who waits first."""
        ...

    def forget(self, places: Sequence[Place], waiter: str) -> None:
        """Strike off who waits no longer."""
        ...

    def encoded(self, event: Event[Any] | str, payload: Any) -> tuple[str, bytes]:
        """Return an event's name, and its payload as checked JSON."""
        ...

    def publish_at(self, place: Place, data: bytes, *, event_id: EventId | None = None) -> EventId:
        """Store an event where it belongs, and tell who waits. The same id again is the same event."""
        ...

    @property
    def max_payload(self) -> int:
        """The largest payload, in bytes."""
        ...
