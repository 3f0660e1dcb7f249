"""One look at the whole state, for those who measure it: bounded reads in two trips, and no scan of keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from dispatch_celery.jobs.model import JobState
from dispatch_celery.store.client import Store
from dispatch_celery.store.keys import Keys
from dispatch_celery.store.replies import ask_all, pairs, text, words
from dispatch_celery.store.scripts import Call
from dispatch_celery.work.lanes import queue_of
from dispatch_celery.workflows.model import RunState

__all__ = ["Census", "QueueCensus", "take_census"]

_LANES: Final = 1_000
"""Lanes that are looked at; those beyond are counted with none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueCensus:
    """One queue: how many jobs and runs are ready in it, and for how long the first of them, in seconds."""

    depth: int
    oldest: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Census:
    """What there is at one moment. Ages are in seconds."""

    jobs: Mapping[str, int]
    runs: Mapping[str, int]
    queues: Mapping[str, QueueCensus] = field(default_factory=dict)
    dead_letters: int
    timers: int
    overdue: float
    """For how long the first timer is due that nobody has moved on."""
    marks: int
    """Ready work whose message is not known to be published."""
    events: int
    workers: int
    condemned: int
    """Workers whose lease ran out and whose work is being recovered."""
    lease_left: float
    """Until the first lease ends, as things stand."""
    leader: str
    term: int


def take_census(store: Store, keys: Keys) -> Census:
    """Look.

    Raises:
        StoreUnavailable: the server does not answer.
    """
    states = [*(("", state) for state in JobState), *(("run-", state) for state in RunState)]
    fixed = [
        Call.command("TIME"),
        Call.command("SSCAN", keys.lanes, 0, "COUNT", _LANES),
        Call.command("HGETALL", keys.leader),
        Call.command("ZRANGE", keys.timers, 0, 0, "WITHSCORES"),
        Call.command("ZRANGE", keys.workers, 0, 0, "WITHSCORES"),
        *(
            Call.command("ZCARD", key)
            for key in (keys.dead, keys.timers, keys.marks, keys.events, keys.workers, keys.condemned)
        ),
        *(Call.command("ZCARD", keys.state(state, kind)) for kind, state in states),
    ]
    time, lanes, leader, timer, lease, *counts = ask_all(store, fixed)
    now = int(time[0]) * 1000 + int(time[1]) // 1000
    dead, timers, marks, events, workers, condemned, *by_state = (int(count) for count in counts)
    counted = dict(zip(states, by_state, strict=True))
    lead = pairs(leader)
    holds = int(float(text(lead.get("until")) or 0)) > now
    return Census(
        jobs={state: counted["", state] for state in JobState},
        runs={state: counted["run-", state] for state in RunState},
        queues=_queues(store, keys, words(lanes[1])[:_LANES], now),
        dead_letters=dead,
        timers=timers,
        overdue=_since(timer, now),
        marks=marks,
        events=events,
        workers=workers,
        condemned=condemned,
        lease_left=0.0 - _since(lease, now, floor=None),
        leader=text(lead.get("id")) if holds else "",
        term=int(text(lead.get("term")).partition(".")[0] or 0),
    )


def _queues(store: Store, keys: Keys, lanes: Sequence[str], now: int) -> dict[str, QueueCensus]:
    calls = [Call.command("ZCARD", keys.lane(lane)) for lane in lanes]
    calls += [Call.command("ZRANGE", keys.lane(lane), 0, 0, "WITHSCORES") for lane in lanes]
    replies = ask_all(store, calls) if calls else []
    found: dict[str, QueueCensus] = {}
    for lane, depth, first in zip(lanes, replies[: len(lanes)], replies[len(lanes) :], strict=True):
        queue = queue_of(lane)
        known = found.get(queue, QueueCensus(depth=0, oldest=0.0))
        found[queue] = QueueCensus(depth=known.depth + int(depth), oldest=max(known.oldest, _since(first, now)))
    return found


def _since(scored: Sequence[Any], now: int, *, floor: float | None = 0.0) -> float:
    """Return how many seconds ago the first of a sorted set was; 0 where there is none."""
    flat = [part for one in scored for part in (one if isinstance(one, list | tuple) else [one])]
    if not flat:
        return 0.0
    age = (now - int(float(flat[1]))) / 1000
    return age if floor is None else max(floor, age)
