"""Jobs with the same arguments run once within a window; those after the first are given its result.

What it promises is what can be kept: within the window no second handler *begins* while the first one is at work or
has succeeded. A handler whose process dies is begun again, as every job is; one that fails frees the place. Two jobs
that must never both be stored want an idempotency key instead.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from pydantic_core import PydanticSerializationError, to_json

from dispatch_celery.clock import Duration, to_ms
from dispatch_celery.errors import ConfigurationError, PayloadError, StoreUnavailable
from dispatch_celery.jobs.context import JobContext
from dispatch_celery.jobs.outcome import Snooze
from dispatch_celery.middleware.base import ExecutionContext
from dispatch_celery.middleware.store import MiddlewareStore

__all__ = ["Deduplicate"]

logger = logging.getLogger(__name__)


class Deduplicate:
    """Wraps jobs; steps are recorded once by their run anyhow."""

    def __init__(
        self,
        *,
        window: Duration = 3600,
        hold: Duration = 300,
        look: Duration = 1,
        key: Callable[[JobContext], str | None] | None = None,
    ) -> None:
        """Make one; a result serves others for ``window``.

        ``key`` says which jobs of a name are the same, by default those of one scope with equal arguments; of one for
        which it returns None, nothing is remembered. ``hold`` is for how long one that has begun, and was not heard of
        again, holds the place: more than the longest execution. A job that finds another at work looks again after
        ``look``, without using up an attempt.
        """
        if min(to_ms(window), to_ms(hold), to_ms(look)) < 1:
            raise ConfigurationError("Deduplicate needs a window, a hold and a look longer than nothing")
        if key is not None and not callable(key):
            raise ConfigurationError(f"Deduplicate's key is a function of the job's context, not {key!r}")
        self._window, self._hold, self._look = to_ms(window), to_ms(hold), to_ms(look)
        self._key = key or _same_arguments
        self._state: Callable[[], MiddlewareStore] | None = None

    def join_state(self, state: Callable[[], MiddlewareStore]) -> None:
        """Be given the way to the state that all workers share."""
        self._state = state

    def __call__(self, context: ExecutionContext, call_next: Callable[[], Any]) -> Any:
        """Run a job, or return what another of its kind has returned."""
        if not isinstance(context, JobContext) or self._state is None:
            return call_next()
        key, state = self._key(context), self._state()
        codec = state.result_codec(context.name)
        if key is None or codec is None:
            return call_next()
        owner = str(context.id)
        try:
            verdict, other, found = state.begin(context.name, key, owner, attempt=context.token, hold=self._hold)
        except StoreUnavailable as error:
            logger.warning("%s runs without a look for others like it: %s", owner, error)
            return call_next()
        if verdict == "DONE":
            logger.info("%s has the result of %s, and does not run", owner, other)
            return codec.decode(found)
        if verdict == "BUSY":
            raise Snooze(min(self._look, max(1, int(found))) / 1000, f"{other} is at work on the same")
        return self._run(state, context, key, call_next)

    def _run(self, state: MiddlewareStore, context: JobContext, key: str, call_next: Callable[[], Any]) -> Any:
        result: bytes | None = None
        try:
            value = call_next()
            codec = state.result_codec(context.name)
            result = None if codec is None else codec.encode(value)
        finally:
            try:
                own = str(context.id)
                state.finish(context.name, key, own, attempt=context.token, result=result, window=self._window)
            except StoreUnavailable as error:
                logger.warning("what %s returned serves no other: %s", context.id, error)
        return value


def _same_arguments(context: JobContext) -> str:
    """Return the arguments as text: equal ones are equal.

    Raises:
        PayloadError: they cannot be written as JSON.
    """
    try:
        return f"{context.scope.path}\0{to_json(dict(sorted(context.arguments.items()))).decode()}"
    except (PydanticSerializationError, ValueError, TypeError, RecursionError) as error:
        raise PayloadError(f"{context.name}: its arguments make no key: {error}; give Deduplicate a key=") from None
