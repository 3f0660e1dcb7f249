"""When a rate lets the next job begin, as things stand: read, never decided here. ``lib/bucket.lua`` decides."""

from __future__ import annotations

import math

from dispatch_celery.store.client import Store
from dispatch_celery.store.keys import Keys
from dispatch_celery.store.replies import ask_all, text, words
from dispatch_celery.store.scripts import Call

__all__ = ["next_by_rate"]

_FIELDS = ("tokens", "filled_at", "interval", "burst", "key_interval", "key_burst")


def next_by_rate(store: Store, keys: Keys, limit: str, key: str, now: int | None = None) -> int | None:
    """Return when the next job of a key may begin by the limit's rates, in ms since 1970; None: now, for all of them.

    ``now``: ms since 1970, where it is not the server's time.

    Raises:
        StoreUnavailable: the server does not answer.
    """
    time, fields, own = ask_all(
        store,
        [
            Call.command("TIME"),
            Call.command("HMGET", keys.limit(limit), *_FIELDS),
            Call.command("HGET", keys.limit(limit, "buckets"), key),
        ],
    )
    if now is None:
        now = int(time[0]) * 1000 + int(time[1]) // 1000
    tokens, filled, interval, burst, key_interval, key_burst = words(fields)
    key_tokens, _, key_filled = text(own).partition(" ")
    pause = max(
        _pause(tokens, filled, interval, burst, now), _pause(key_tokens, key_filled, key_interval, key_burst, now)
    )
    return now + pause if pause else None


def _pause(tokens: str, filled: str, interval: str, burst: str, now: int) -> int:
    """Return in how many ms a bucket holds a token, as ``lib/bucket.lua`` counts; 0: it does, or there is no bucket."""
    if not interval:
        return 0
    room, each = float(burst or 1), float(interval)
    held = min(room, float(tokens or room) + max(0.0, now - float(filled or now)) / each)
    return 0 if held >= 1 else math.ceil((1 - held) * each - 0.001)
