"""Where a journal is cut: what stays when a run is taken back to a durable call, or forked there.

What comes before a call is what the code asked for before it, in the order of the function. Of an async function,
whose tasks have no common order, it is what had been handed out before. A member of a gather or map can be cut out
alone: its siblings stay.
"""

from __future__ import annotations

from collections.abc import Sequence

from dispatch_celery.errors import PromiseNotFound
from dispatch_celery.workflows.journal import Entry, delivery_order

__all__ = ["kept_before"]


def kept_before(entries: Sequence[Entry], identity: str) -> list[Entry]:
    """Return what of a journal comes before a durable call, without that call.

    Raises:
        PromiseNotFound: the call is not recorded.
    """
    recorded = {entry.identity: entry for entry in entries}
    chosen = recorded.get(identity)
    if chosen is None:
        near = ", ".join(sorted(recorded)[-5:]) or "none"
        raise PromiseNotFound(f"no durable call {identity!r} is recorded; among those that are: {near}")
    if any("v" in entry.head for entry in entries):
        return [entry for entry in entries if _was_delivered_before(entry, chosen)]
    root = _root(identity)
    limit = _place(recorded, root)
    return [
        entry
        for entry in entries
        if (
            _can_stay(entry, identity)
            if _root(entry.identity) == root
            else _place(recorded, _root(entry.identity)) < limit
        )
    ]


def _was_delivered_before(entry: Entry, chosen: Entry) -> bool:
    if not _can_stay(entry, chosen.identity):
        return False
    return not chosen.is_resolved or delivery_order(entry) < delivery_order(chosen)


def _can_stay(entry: Entry, identity: str) -> bool:
    """Return whether a call has an outcome that neither holds the other's nor follows from it."""
    return entry.is_resolved and not _within(entry.identity, identity) and not _within(identity, entry.identity)


def _root(identity: str) -> str:
    return identity.partition("/")[0]


def _place(recorded: dict[str, Entry], root: str) -> float:
    """Return a call's place in the function; one that is not recorded, though its members are, comes last."""
    return int(recorded[root].head["o"]) if root in recorded else float("inf")


def _within(identity: str, other: str) -> bool:
    """Return whether a call is another one, or was made by it."""
    return identity == other or identity.startswith(f"{other}/")
