"""What a limit is: how much, for whom; and what is to be known of a queue."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from dispatch_celery.errors import ConfigurationError

__all__ = ["Limit", "PerKey", "Place", "Queue", "Rate", "as_text", "checked_limits", "limit_name"]

_UNITS: Final = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_RATE: Final = re.compile(r"(?P<count>\d+(?:\.\d+)?)/(?P<times>\d*)(?P<unit>s|sec|second|m|min|minute|h|hour|d|day)")
_BY: Final = re.compile(r"scope|scope\.(app_id|org_id)|key|arguments(\.[^.\s]+)+")
_LONGEST: Final = 10 * 365 * 86_400_000
_KEY_LENGTH: Final = 200


@dataclass(frozen=True, slots=True)
class Rate:
    """How many may begin in a time: ``100/m``, ``5/s``, ``10/30s``; as a token bucket, so evenly and not in one go."""

    count: float
    per_ms: int

    @classmethod
    def parse(cls, text: str | Rate) -> Rate:
        """Return the rate a text says.

        Raises:
            ConfigurationError: it says none, or none that ever lets anything begin.
        """
        if isinstance(text, Rate):
            return text
        found = _RATE.fullmatch(text.replace(" ", "")) if isinstance(text, str) else None
        if found is None:
            raise ConfigurationError(f"rate={text!r} is no rate: write it like '100/m', '5/s', '2/h' or '10/30s'")
        count, per = float(found["count"]), int(found["times"] or 1) * _UNITS[found["unit"][0]]
        if count <= 0 or per <= 0 or per / count > _LONGEST:
            raise ConfigurationError(f"rate={text!r} would never let a job begin: pause the queue instead")
        return cls(count, per)

    def __str__(self) -> str:
        unit, length = next((u, ms) for u, ms in reversed(_UNITS.items()) if self.per_ms % ms == 0)
        times = self.per_ms // length
        count = int(self.count) if self.count == int(self.count) else self.count
        return f"{count}/{times if times > 1 else ''}{unit}"

    @property
    def interval(self) -> float:
        """Milliseconds after which one more may begin."""
        return self.per_ms / self.count

    @property
    def usual_burst(self) -> int:
        """How many may begin at once by default: what comes in a tenth of a second, at least one."""
        return max(1, int(100 / self.interval))


@dataclass(frozen=True, slots=True, kw_only=True)
class PerKey:
    """Limits for each tenant, customer or the like; keys take turns.

    ``by`` says what the key of a job is: ``scope``, ``scope.app_id``, ``scope.org_id``; ``arguments.order.customer``, a
    path into its arguments; or ``key``, what its own ``limit_key=`` function returned when it was enqueued. Jobs
    without one share the empty key. ``weights``: a key with 2 has two turns where others have one.
    """

    by: str
    concurrency: int | None = None
    rate: Rate | str | None = None
    burst: int | None = None
    weights: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.by, str) or _BY.fullmatch(self.by) is None:
            raise ConfigurationError(
                f"per_key by={self.by!r} is not known: use 'scope', 'scope.app_id', 'scope.org_id', 'key', or a path"
                " like 'arguments.customer_id'"
            )
        _check_amounts("per_key", self.concurrency, self.rate, self.burst)
        if self.rate is not None:
            object.__setattr__(self, "rate", Rate.parse(self.rate))
        for key, weight in self.weights.items():
            if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0.001 <= weight <= 1_000:
                raise ConfigurationError(f"the weight of {key!r} must be between 0.001 and 1000, not {weight!r}")

    def key_of(self, spec: Mapping[str, Any], arguments: Mapping[str, Any]) -> str:
        """Return the key of a job, as text without control characters, at most 200 characters of it."""
        where, _, path = self.by.partition(".")
        value: Any
        if where == "scope":
            parts = dict(zip(("app_id", "org_id"), str(spec.get("scope", "")).split("/"), strict=False))
            value = parts.get(path, "") if path else spec.get("scope", "")
        elif where == "key":
            value = spec.get("limit_key", "")
        else:
            value = arguments
            for step in path.split("."):
                value = value.get(step, "") if isinstance(value, Mapping) else ""
        return as_key(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """What a queue or job name may do, in the whole fleet. None means no limit of that kind.

    ``concurrency``: how many run at once. ``rate``: how many begin in a time. ``burst``: how many may begin at once
    after a quiet time; by default what the rate lets begin in a tenth of a second, at least one.
    """

    concurrency: int | None = None
    rate: Rate | str | None = None
    burst: int | None = None
    per_key: PerKey | None = None

    def __post_init__(self) -> None:
        _check_amounts("limit", self.concurrency, self.rate, self.burst)
        if self.rate is not None:
            object.__setattr__(self, "rate", Rate.parse(self.rate))
        if self.per_key is not None and not isinstance(self.per_key, PerKey):
            raise ConfigurationError(f"per_key must be a PerKey, not {self.per_key!r}")
        if self.concurrency is None and self.rate is None and self.per_key is None:
            raise ConfigurationError("a limit needs concurrency, rate or per_key; to lift one, unlimit it")


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """A queue, or the jobs of one name, as it was when it was read."""

    name: str
    """Of the queue, or of the job."""
    kind: str = "queue"
    """``queue`` or ``job``."""
    limit: Limit | None = None
    paused: bool = False
    paused_until: datetime | None = None
    """When its pause ends by itself; None where it does not, or there is none."""
    pause_reason: str = ""
    """What was said when it was paused."""
    ready: int = 0
    """Jobs and runs that a worker may take at any moment; 0 for a job name."""
    limited: int = 0
    """Jobs that wait for a permit."""
    permits: int = 0
    """Permits that are out."""
    revision: int = 0
    """How often the limit was changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a job stands that waits for a permit."""

    queue: Queue
    """The queue or job name whose limit it waits for, as that stands."""
    key: str = ""
    """What the limit tells it apart by, if it does."""
    ahead: int = 0
    """How many of its key came before it."""
    granted: bool = False
    """Whether it has been given the permit, which is on its way."""
    holders: tuple[str, ...] = ()
    """Some of those that have one."""
    next_at: datetime | None = None
    """About when a rate lets the next of its key begin; None where no rate holds it back now."""


def checked_limits(queues: Mapping[str, Limit]) -> dict[str, Limit]:
    """Return limits by name, as an app declares them for its queues.

    Raises:
        ConfigurationError: a name cannot be a queue's, or its value is no ``Limit``.
    """
    found = {}
    for queue, limit in queues.items():
        if not isinstance(limit, Limit):
            raise ConfigurationError(f"queues={{{queue!r}: ...}} takes a Limit, not {limit!r}")
        found[limit_name(queue, None)] = limit
    return found


def limit_name(queue: str | None, job: str | None) -> str:
    """Return the name of the limit of a queue, or of a job name.

    Raises:
        ConfigurationError: not exactly one of them is given, or it cannot be a name.
    """
    if (queue is None) == (job is None):
        raise ConfigurationError("say which: either a queue, or the jobs of one name (job=, on the command line --job)")
    name = queue if queue is not None else job
    if not isinstance(name, str) or not 1 <= len(name) <= 200 or not name.isprintable() or " " in name:
        raise ConfigurationError(f"a name is 1 to 200 printable characters without spaces, not {name!r}")
    return f"queue:{name}" if queue is not None else f"job:{name}"


def as_key(value: Any) -> str:
    """Return a key as it is stored and shown."""
    return as_text(value, _KEY_LENGTH)


def as_text(value: Any, longest: int) -> str:
    """Return something as text of one line, cut after so many characters."""
    text = value if isinstance(value, str) else "" if value is None else str(value)
    return "".join(letter if letter.isprintable() else "?" for letter in text)[:longest]


def _check_amounts(what: str, concurrency: Any, rate: Any, burst: Any) -> None:
    for name, value in (("concurrency", concurrency), ("burst", burst)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 10**9):
            remedy = "; to let nothing run, pause the queue" if value == 0 else ""
            raise ConfigurationError(f"{what}: {name} must be a whole number from 1, not {value!r}{remedy}")
    if burst is not None and rate is None:
        raise ConfigurationError(f"{what}: burst belongs to a rate, and none is given")
