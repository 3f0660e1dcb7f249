"""How a limit is stored, and read again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from dispatch_celery.clock import from_ms
from dispatch_celery.queues.model import Limit, PerKey, Queue, Rate
from dispatch_celery.store.replies import text
from dispatch_celery.store.scripts import Word

__all__ = ["dump", "in_force", "queue_of"]

_AMOUNTS: Final = ("concurrency", "interval", "burst", "key_concurrency", "key_interval", "key_burst", "by", "spoken")


def in_force(paused: str, by: str) -> str:
    """Return what the scripts of jobs and runs are to know of a limit: whether it pauses, and tells arguments apart."""
    of_arguments = by == "key" or by.startswith("arguments")
    return ("paused" if paused else "on") + (" keyed" if of_arguments else "")


def dump(limit: Limit | None) -> dict[str, Word]:
    """Return a limit as it is stored, but for its weights; what it does not say is taken away."""
    fields: dict[str, Word] = dict.fromkeys(_AMOUNTS, "")
    if limit is None:
        return fields
    fields |= _amounts("", limit.concurrency, limit.rate, limit.burst)
    if limit.per_key is not None:
        each = limit.per_key
        fields |= {"by": each.by, **_amounts("key_", each.concurrency, each.rate, each.burst)}
    return {**fields, "spoken": json.dumps(_spoken(limit))}


def _amounts(prefix: str, concurrency: int | None, rate: Rate | str | None, burst: int | None) -> dict[str, Word]:
    fields: dict[str, Word] = {}
    if concurrency is not None:
        fields[f"{prefix}concurrency"] = concurrency
    if rate is not None:
        parsed = Rate.parse(rate)
        fields |= {f"{prefix}interval": repr(parsed.interval), f"{prefix}burst": burst or parsed.usual_burst}
    return fields


def _spoken(limit: Limit | PerKey) -> dict[str, Any]:
    """Return the words in which a limit was given, to show it in."""
    rate = str(limit.rate) if limit.rate else None
    said: dict[str, Any] = {"concurrency": limit.concurrency, "rate": rate, "burst": limit.burst}
    if isinstance(limit, PerKey):
        said |= {"by": limit.by, "weights": dict(limit.weights)}
    elif limit.per_key is not None:
        said["per_key"] = _spoken(limit.per_key)
    return {name: value for name, value in said.items() if value}


def queue_of(limit: str, fields: Mapping[str, bytes], waiting: int, holders: int) -> Queue | None:
    """Return a limit as its hash says it, and how many wait and hold; None where there is none."""
    if not fields:
        return None
    kind, _, name = limit.partition(":")
    return Queue(
        name=name,
        kind=kind,
        limit=_limit(fields.get("spoken")),
        paused=fields.get("paused") == b"1",
        paused_until=from_ms(int(fields["paused_until"])) if "paused_until" in fields else None,
        pause_reason=text(fields.get("pause_reason")),
        limited=waiting,
        permits=holders,
        revision=int(fields.get("revision", 0)),
    )


def _limit(spoken: bytes | None) -> Limit | None:
    if not spoken:
        return None
    said = json.loads(spoken)
    per_key = said.pop("per_key", None)
    return Limit(**said, per_key=PerKey(**per_key) if per_key else None)
