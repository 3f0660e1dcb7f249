"""What gauges show: one look at everything, and limits under labels that stay few."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from dispatch_celery.cluster.census import Census
from dispatch_celery.cron.census import CronCensus
from dispatch_celery.queues.census import LimitCensus, QueuesCensus
from dispatch_celery.telemetry.names import Labels

__all__ = ["Counted", "Picture", "folded", "take_picture"]


class CountedQueues(Protocol):
    """What gauges ask of ``dispatch.queues``."""

    def census(self) -> QueuesCensus:
        """Look at every limit."""
        ...


class CountedCrons(Protocol):
    """What gauges ask of ``dispatch.crons``."""

    def census(self) -> CronCensus:
        """Look at the entries."""
        ...


class Counted(Protocol):
    """What gauges ask of a ``Dispatch``."""

    @property
    def queues(self) -> CountedQueues:
        """The verbs of queues."""
        ...

    @property
    def crons(self) -> CountedCrons:
        """The verbs of cron entries."""
        ...

    def census(self) -> Census:
        """Look at the whole state."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """Everything at one moment."""

    state: Census
    queues: QueuesCensus
    crons: CronCensus


def take_picture(dispatch: Counted) -> Picture:
    """Look, in eight bounded trips at most.

    Raises:
        StoreUnavailable: the server does not answer.
    """
    return Picture(state=dispatch.census(), queues=dispatch.queues.census(), crons=dispatch.crons.census())


def folded(limits: Mapping[str, LimitCensus], labels: Labels) -> dict[str, LimitCensus]:
    """Return limits by their labels. Those that share one are added up, waits are the longest, a pause is any."""
    found: dict[str, LimitCensus] = {}
    for name, one in sorted(limits.items()):
        label = labels.of(name)
        known = found.get(label)
        found[label] = one if known is None else _both(known, one)
    return found


def _both(one: LimitCensus, other: LimitCensus) -> LimitCensus:
    unlimited = one.concurrency is None or other.concurrency is None
    concurrency = None if unlimited else (one.concurrency or 0) + (other.concurrency or 0)
    rate = None if one.rate is None or other.rate is None else one.rate + other.rate
    return LimitCensus(
        concurrency=concurrency,
        rate=rate,
        permits=one.permits + other.permits,
        waiting=one.waiting + other.waiting,
        oldest=max(one.oldest, other.oldest),
        paused=one.paused or other.paused,
    )
