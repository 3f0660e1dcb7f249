"""The lanes that hold what is ready: looked through to the last, however many, in slices that no server feels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from dispatch_celery.store.client import Store
from dispatch_celery.store.keys import Keys
from dispatch_celery.store.replies import ask, ask_all, text, words
from dispatch_celery.store.scripts import Call

__all__ = ["count_ready", "lanes_from", "queue_of"]

_SLICE: Final = 1_000


def lanes_from(store: Store, keys: Keys, cursor: str = "0") -> tuple[str, list[str]]:
    """Return a slice of the lanes, and where the next begins: 0 at the end. A lane may come twice."""
    after, found = ask(store, Call.command("SSCAN", keys.lanes, cursor, "COUNT", _SLICE))
    return text(after), words(found)


def count_ready(store: Store, keys: Keys) -> dict[str, int]:
    """Return how many ids each lane holds, by its name, in their order."""
    found: dict[str, int] = {}
    for slice_ in _slices(store, keys):
        new = [lane for lane in slice_ if lane not in found]
        counts = ask_all(store, [Call.command("ZCARD", keys.lane(lane)) for lane in new])
        found |= {lane: int(count) for lane, count in zip(new, counts, strict=True)}
    return dict(sorted(found.items()))


def queue_of(lane: str) -> str:
    """Return the queue of a lane: it is named by its queue and its priority."""
    return lane.rpartition(":")[0]


def _slices(store: Store, keys: Keys) -> Iterator[list[str]]:
    cursor, slice_ = lanes_from(store, keys)
    yield slice_
    while cursor != "0":
        cursor, slice_ = lanes_from(store, keys, cursor)
        yield slice_
