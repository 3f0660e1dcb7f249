"""At most one job of a kind at a time: singleton, throttle, debounce."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal

from dispatch_celery.clock import Duration, to_ms
from dispatch_celery.errors import ConfigurationError
from dispatch_celery.retry import MAX_DELAY

__all__ = ["Unique"]

_CONFLICTS = ("reject", "first", "replace")


@dataclass(frozen=True, slots=True, kw_only=True)
class Unique:
    """At most one job of a name and tenant with the same arguments that has not ended.

    ``by``: the arguments that count, by name; by default all. ``on_conflict``: ``reject`` raises ``JobNotUnique``;
    ``first`` returns the one there is; ``replace`` gives that one the new arguments and lets its delay begin anew, or,
    where it runs already, enqueues one more to run after it.

    ``period``: at most one in that time, counted from when the first was enqueued, whether it has ended or not. With
    ``first`` this throttles; ``replace`` with a ``delay`` debounces. Jobs that a run sends are not concerned: a run
    sends each exactly once, and waits for its own.
    """

    by: Sequence[str] | None = None
    on_conflict: Literal["reject", "first", "replace"] = "reject"
    period: Duration | None = None

    def __post_init__(self) -> None:
        if self.on_conflict not in _CONFLICTS:
            raise ConfigurationError(f"on_conflict must be one of {', '.join(_CONFLICTS)}, not {self.on_conflict!r}")
        if self.by is not None and (isinstance(self.by, str) or not all(isinstance(name, str) for name in self.by)):
            raise ConfigurationError(f"unique by= takes names of arguments, as in by=('order_id',), not {self.by!r}")
        if self.period is not None and not 0 < _milliseconds(self.period) <= MAX_DELAY * 1000:
            raise ConfigurationError(f"period must be more than 0 seconds and at most ten years, not {self.period!r}")
        if self.period is not None and self.on_conflict == "replace":
            raise ConfigurationError("replace takes no period: give the job a delay, which begins anew each time")

    @property
    def period_ms(self) -> int | None:
        """The period in milliseconds."""
        return None if self.period is None else to_ms(self.period)

    def key_of(self, name: str, payload: bytes) -> str:
        """Return what is the same for jobs of which there may be one.

        Raises:
            ConfigurationError: ``by`` names an argument that the job does not have.
        """
        arguments = json.loads(payload)
        if self.by is not None:
            missing = [one for one in self.by if one not in arguments]
            if missing:
                raise ConfigurationError(f"{name} is unique by {missing[0]!r}, which it was not given")
            arguments = {one: arguments[one] for one in self.by}
        words = json.dumps(arguments, sort_keys=True, separators=(",", ":"))
        return sha256(words.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _milliseconds(value: Duration) -> int:
    try:
        return to_ms(value)
    except ValueError:
        return -1
