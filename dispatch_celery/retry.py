"""How often, how long after each other and for which errors an execution is tried again: pure functions.

``delay(attempt)`` takes the number of the attempt that has just failed, from 1, and answers in seconds.
Full jitter is uniform over [0, cap]: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol, runtime_checkable

from dispatch_celery.clock import Duration, to_ms
from dispatch_celery.errors import ConfigurationError, DispatchError, PayloadError

__all__ = ["MAX_DELAY", "Backoff", "Constant", "Exponential", "Linear", "Retry"]

MAX_DELAY = 10 * 365 * 86_400.0
"""Ten years in seconds: a longer wait is a mistake, and would overflow a float long before it came."""


def _seconds(value: Duration, name: str) -> float:
    try:
        milliseconds = to_ms(value)
    except ValueError:
        milliseconds = -1
    if not 0 <= milliseconds <= MAX_DELAY * 1000:
        raise ConfigurationError(f"{name} must be between 0 seconds and ten years, not {value!r}")
    return value.total_seconds() if isinstance(value, timedelta) else float(value)


@runtime_checkable
class Backoff(Protocol):
    """How long to wait after a failed attempt."""

    def delay(self, attempt: int, /) -> float:
        """Return seconds to wait after attempt number ``attempt`` (from 1) has failed."""
        ...


@dataclass(frozen=True)
class Constant:
    """The same wait after every attempt, in seconds."""

    seconds: Duration

    def __post_init__(self) -> None:
        object.__setattr__(self, "seconds", _seconds(self.seconds, "Constant(seconds)"))

    def delay(self, attempt: int, /) -> float:  # noqa: ARG002 - the protocol's parameter
        """Return the constant."""
        return float(self.seconds)  # type: ignore[arg-type]  # made a float on construction


@dataclass(frozen=True)
class Linear:
    """``initial`` times the number of the attempt, at most ``maximum``; seconds."""

    initial: Duration
    maximum: Duration = 600.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "initial", _seconds(self.initial, "Linear(initial)"))
        object.__setattr__(self, "maximum", _seconds(self.maximum, "Linear(maximum)"))

    def delay(self, attempt: int, /) -> float:
        """Return ``initial * attempt``, capped."""
        return min(float(self.initial) * attempt, float(self.maximum))  # type: ignore[arg-type]  # floats since construction


@dataclass(frozen=True)
class Exponential:
    """``initial`` doubled after every attempt, at most ``maximum``; seconds.

    With ``jitter`` (the default) the wait is uniform between nothing and that value, so that jobs which
    failed together do not come back together.
    """

    initial: Duration
    maximum: Duration = 600.0
    jitter: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "initial", _seconds(self.initial, "Exponential(initial)"))
        object.__setattr__(self, "maximum", _seconds(self.maximum, "Exponential(maximum)"))

    def delay(self, attempt: int, /) -> float:
        """Return the capped power, or a uniform part of it."""
        # 2**1024 overflows a float; past 64 doublings every cap of ten years is long reached.
        cap = min(float(self.initial) * 2.0 ** min(attempt - 1, 64), float(self.maximum))  # type: ignore[arg-type]  # floats since construction
        return random.uniform(0.0, cap) if self.jitter else cap


@dataclass(frozen=True)
class Retry:
    """A retry policy. ``max_attempts`` counts executions, the first one included.

    ``give_up_on`` is asked first, then ``retry_on``. Errors of validation, decoding and payload size are
    never retried, whatever the policy says.
    """

    max_attempts: int = 3
    backoff: Backoff = Exponential(1, 600)
    retry_on: Sequence[type[BaseException]] = (Exception,)
    give_up_on: Sequence[type[BaseException]] = ()

    def __post_init__(self) -> None:
        if isinstance(self.max_attempts, bool) or not isinstance(self.max_attempts, int) or self.max_attempts < 1:
            raise ConfigurationError(
                f"Retry(max_attempts=...) must be an integer of at least 1, not {self.max_attempts!r}"
            )
        if isinstance(self.backoff, type) or not isinstance(self.backoff, Backoff):
            raise ConfigurationError(
                f"Retry(backoff=...) must have delay(attempt), such as Exponential(1, 600), not {self.backoff!r}"
            )
        for name in ("retry_on", "give_up_on"):
            kinds = getattr(self, name)
            if isinstance(kinds, type):
                kinds = (kinds,)
            if not isinstance(kinds, Sequence) or not all(
                isinstance(kind, type) and issubclass(kind, BaseException) for kind in kinds
            ):
                raise ConfigurationError(f"Retry({name}=...) must hold exception classes, not {kinds!r}")
            object.__setattr__(self, name, tuple(kinds))

    def gives_up(self, error: BaseException) -> bool:
        """Return whether this error ends the job whatever attempts are left."""
        if isinstance(error, PayloadError):
            return True
        return isinstance(error, tuple(self.give_up_on)) or not isinstance(error, tuple(self.retry_on))

    def delay(self, attempt: int) -> float:
        """Return seconds until the next attempt; a backoff that answers nonsense is an error of its author's."""
        seconds = self.backoff.delay(attempt)
        if not isinstance(seconds, int | float) or not 0 <= seconds <= MAX_DELAY:
            raise DispatchError(
                f"{type(self.backoff).__name__}.delay({attempt}) answered {seconds!r}; it must be 0 to ten years"
            )
        return float(seconds)


def describe(policy: Retry) -> Mapping[str, Any]:
    """Return a policy as plain data, for the catalogue and for people."""
    return {"max_attempts": policy.max_attempts, "backoff": repr(policy.backoff)}
