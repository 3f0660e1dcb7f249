"""A circuit breaker for jobs: while what they call is out of order, none of them runs, and none uses up an attempt.

All workers share it. Failures in a row open it; while it is open its jobs are put back until it may be tried again;
then a few of them are let through as probes, and the first that comes out decides. A state server that does not answer
leaves it closed: a breaker must not be what stops everybody.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal, Protocol

from dispatch_celery.clock import Duration, to_ms
from dispatch_celery.errors import ConfigurationError, DispatchError, StoreUnavailable
from dispatch_celery.jobs.context import JobContext
from dispatch_celery.jobs.outcome import Cancel, Fail, Snooze
from dispatch_celery.middleware.base import ExecutionContext
from dispatch_celery.middleware.store import BreakerLimits, MiddlewareStore

__all__ = ["CircuitBreaker", "Pause"]

logger = logging.getLogger(__name__)

_SAY_NOTHING: Final = (Snooze, Cancel, Fail)
"""Ends that a handler chooses, and that say nothing of what it calls."""


class Pause(Protocol):
    """Pauses a queue until a moment, so that its jobs are not even taken."""

    def __call__(self, queue: str, until: datetime, /) -> object:
        """Pause it."""
        ...


class CircuitBreaker:
    """Wraps jobs, and leaves steps alone: a step that fails waits by its own policy."""

    def __init__(
        self,
        *,
        failures: int = 5,
        window: Duration = 60,
        cooldown: Duration = 30,
        probes: int = 1,
        failing: tuple[type[Exception], ...] = (Exception,),
        key: Callable[[JobContext], str | None] = lambda context: context.name,
        pause: Literal["job", "queue"] | Pause | None = None,
    ) -> None:
        """Make one; ``failures`` of ``failing`` in a row within ``window`` open it for ``cooldown``.

        ``key`` names the circuit of a job, by default one for each name; jobs with the same share one, None has none.
        ``pause``: what to pause, besides, while it is open, so that jobs are not even taken: ``job``, those of the name
        of the one that opens it; ``queue``, all of its queue; or something to be called for its queue.
        """
        if not (pause is None or pause in ("job", "queue") or callable(pause)):
            raise ConfigurationError(f"a CircuitBreaker's pause is 'job', 'queue' or something to call, not {pause!r}")
        if failures < 1 or probes < 1 or to_ms(cooldown) < 1 or to_ms(window) < 1:
            raise ConfigurationError("a CircuitBreaker needs failures and probes from 1, and a window and a cooldown")
        kinds = failing if isinstance(failing, tuple) else (failing,)
        if not all(isinstance(kind, type) and issubclass(kind, BaseException) for kind in kinds):
            raise ConfigurationError(f"a CircuitBreaker's failing is a tuple of exception classes, not {failing!r}")
        self._limits = BreakerLimits(
            failures=failures, window=to_ms(window), cooldown=to_ms(cooldown), probes=probes, hold=to_ms(cooldown)
        )
        self._failing = kinds
        self._key = key
        self._pause = pause
        self._state: Callable[[], MiddlewareStore] | None = None

    def join_state(self, state: Callable[[], MiddlewareStore]) -> None:
        """Be given the way to the state that all workers share."""
        self._state = state

    def __call__(self, context: ExecutionContext, call_next: Callable[[], Any]) -> Any:
        """Let an attempt through, or put its job back."""
        circuit = self._key(context) if isinstance(context, JobContext) else None
        if circuit is None or self._state is None:
            return call_next()
        owner = f"{context.id} {context.token}"
        began = self._admit(circuit, owner)
        try:
            value = call_next()
        except Exception as error:
            ok = None if isinstance(error, _SAY_NOTHING) else not isinstance(error, self._failing)
            self._report(circuit, owner, context, began, ok=ok)
            raise
        self._report(circuit, owner, context, began, ok=True)
        return value

    def _admit(self, circuit: str, owner: str) -> int | None:
        """Return the time, for the report; None where nobody tells it."""
        assert self._state is not None  # noqa: S101 - it is asked for one that was joined
        try:
            verdict, left = self._state().admit(circuit, owner, self._limits)
        except StoreUnavailable as error:
            logger.warning("the circuit %s is taken for closed: %s", circuit, error)
            return None
        if verdict == "OPEN":
            raise Snooze(left / 1000, f"the circuit {circuit} is open for another {left / 1000:g} s")
        return left

    def _report(
        self, circuit: str, owner: str, context: ExecutionContext, began: int | None, *, ok: bool | None
    ) -> None:
        assert self._state is not None  # noqa: S101 - as above
        try:
            verdict, left = self._state().report(circuit, owner, self._limits, ok=ok, began=began)
        except StoreUnavailable as error:
            logger.warning("the circuit %s was not told how %s came out: %s", circuit, owner, error)
            return
        if verdict == "OPENED":
            logger.warning("the circuit %s is open for %g s, after a failure of %s", circuit, left / 1000, owner)
            self._hold_back(context, circuit, timedelta(milliseconds=left))

    def _hold_back(self, context: ExecutionContext, circuit: str, left: timedelta) -> None:
        assert self._state is not None  # noqa: S101 - as above
        reason = f"the circuit {circuit} is open: who goes on before its time is put back"
        try:
            if self._pause == "job":
                self._state().pause(job=context.name, until=left, reason=reason)
            elif self._pause == "queue":
                self._state().pause(context.queue, until=left, reason=reason)
            elif self._pause is not None:
                self._pause(context.queue, datetime.now(UTC) + left)
        except DispatchError as error:
            logger.warning("%s is not paused although its circuit is open: %s", context.name, error)
