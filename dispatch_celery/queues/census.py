"""One look at every limit, for those who measure them: bounded reads in three trips, whoever and however many wait."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from dispatch_celery.store.client import Store
from dispatch_celery.store.keys import Keys
from dispatch_celery.store.replies import ask_all, text, words
from dispatch_celery.store.scripts import Call

__all__ = ["LimitCensus", "QueuesCensus", "take_limit_census"]

_LIMITS: Final = 1_000
"""Limits that are looked at, the oldest first; those beyond are not told of."""
_HEADS: Final = 10
"""Of those that wait for one limit, how many are looked at for who came first: without keys the first is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitCensus:
    """One limit, of a queue or of a job name, and how it stands."""

    concurrency: int | None
    """How many may run at once; None: any number."""
    rate: float | None
    """How many may begin, a second; None: any number."""
    permits: int
    """Permits that are out."""
    waiting: int
    """Jobs that wait for a permit."""
    oldest: float
    """For how long the first of them waits, in seconds; with keys, the first among some of them."""
    paused: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuesCensus:
    """Every limit at one moment, by name: ``queue:<name>`` or ``job:<name>``."""

    limits: dict[str, LimitCensus]
    under_way: int
    """Requests, returns and permits between jobs and limits, that the leader has yet to carry."""


def take_limit_census(store: Store, keys: Keys, now: int | None = None) -> QueuesCensus:
    """Look. ``now``: ms since 1970, where it is not the server's time.

    Raises:
        StoreUnavailable: the server does not answer.
    """
    time, names, asked, granted = ask_all(
        store,
        [
            Call.command("TIME"),
            Call.command("ZRANGE", keys.limit_names, 0, _LIMITS - 1),
            Call.command("ZCARD", keys.permits),
            Call.command("ZCARD", keys.grants),
        ],
    )
    if now is None:
        now = int(time[0]) * 1000 + int(time[1]) // 1000
    limits = words(names)
    standing = ask_all(store, [call for limit in limits for call in _standing(keys, limit)])
    parts = list(zip(limits, standing[::4], standing[1::4], standing[2::4], standing[3::4], strict=True))
    firsts = {limit: _first(heads) for limit, _, _, _, heads in parts if heads}
    since = ask_all(store, [Call.command("HGET", keys.record(job_id), "limited_at") for job_id in firsts.values()])
    ages = {limit: _age(found, now) for limit, found in zip(firsts, since, strict=True)}
    return QueuesCensus(
        limits={
            limit: _census(fields, int(waiting), int(holders), ages.get(limit, 0.0))
            for limit, fields, waiting, holders, _ in parts
            if any(fields)  # none: it was dissolved meanwhile
        },
        under_way=int(asked) + int(granted),
    )


def _standing(keys: Keys, limit: str) -> tuple[Call, ...]:
    return (
        Call.command("HMGET", keys.limit(limit), "concurrency", "interval", "paused", "revision"),
        Call.command("ZCARD", keys.limit(limit, "waiting")),
        Call.command("ZCARD", keys.limit(limit, "holders")),
        Call.command("ZRANGE", keys.limit(limit, "waiting"), 0, _HEADS - 1),
    )


def _first(heads: Sequence[Any]) -> str:
    """Return which of some jobs came first: each is its key, its place in the line, and its id."""
    return min((head.split("\t")[-2:] for head in words(heads)), key=lambda head: head[0])[1]


def _age(since: Any, now: int) -> float:
    return max(0, now - int(float(text(since)))) / 1000 if since is not None else 0.0


def _census(fields: Sequence[Any], waiting: int, permits: int, oldest: float) -> LimitCensus:
    concurrency, interval, paused, _ = words(fields)
    return LimitCensus(
        concurrency=int(concurrency) if concurrency else None,
        rate=1000 / float(interval) if interval else None,
        permits=permits,
        waiting=waiting,
        oldest=oldest,
        paused=paused == "1",
    )
