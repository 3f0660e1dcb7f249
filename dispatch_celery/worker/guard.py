"""Messages Celery would throw away: kept as raw dead letters, or given back until a worker knows their job.

Celery acknowledges and forgets what it cannot route: an unknown task, a refused content type, a body that is no
JSON, a bad time. Here a wake-up of an unknown job is delayed (a rolling deploy parks nothing), and everything
else becomes a dead letter with its bytes and the reason, before it is acknowledged.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final, Protocol

from celery import bootsteps

from dispatch_celery.errors import DispatchError
from dispatch_celery.work.model import WorkRef
from dispatch_celery.worker.messages import HEADER, envelope_of, ref_of

__all__ = ["give_back", "guard_step", "settle"]

logger = logging.getLogger(__name__)

_TRY_AGAIN: Final = 1.0


class Morgue(Protocol):
    """Where hopeless messages go."""

    def bury(self, *, queue: str | None, raw: bytes, reason: str, task: str = "") -> None:
        """Keep a message as a raw dead letter; ``task``: the plain task it names, which nobody here knows."""
        ...

    def give_back(self, ref: WorkRef) -> None:
        """Delay the wake-up of a job that this worker does not know."""
        ...


def guard_step(morgue: Callable[[], Morgue]) -> type:
    """Return the consumer bootstep that replaces Celery's handlers of hopeless messages."""

    class Guard(bootsteps.StartStopStep):  # type: ignore[misc]  # Celery ships no types
        """Keeps what Celery would throw away."""

        requires = ("celery.worker.consumer:Tasks",)

        def start(self, consumer: Any) -> None:
            consumer.on_unknown_task = self._unknown_task(consumer)
            consumer.on_unknown_message = self._hopeless(consumer, "no task message")
            consumer.on_invalid_task = self._hopeless(consumer, "invalid task message")
            consumer.on_decode_error = self._undecodable(consumer)

        def _unknown_task(self, consumer: Any) -> Callable[..., None]:
            def on_unknown_task(_body: Any, message: Any, _error: Any = None) -> None:
                name = str(message.headers.get("task"))
                ref = ref_of(name, message.headers.get(HEADER))
                if ref is None:
                    settle(consumer, message, lambda: _bury(morgue(), message, f"unknown task {name!r}", name))
                else:
                    settle(consumer, message, lambda: give_back(morgue(), message, ref))

            return on_unknown_task

        def _hopeless(self, consumer: Any, reason: str) -> Callable[..., None]:
            def on_hopeless(_body: Any, message: Any, error: Any = None) -> None:
                why = f"{reason}: {error}" if error else reason
                settle(consumer, message, lambda: _bury(morgue(), message, why))

            return on_hopeless

        def _undecodable(self, consumer: Any) -> Callable[..., None]:
            def on_decode_error(message: Any, error: Any) -> None:
                settle(consumer, message, lambda: _bury(morgue(), message, f"undecodable: {error}"))

            return on_decode_error

    return Guard


def give_back(morgue: Morgue, message: Any, ref: WorkRef) -> None:
    """Give back work this worker does not know, and let others be quicker the next time it is published.

    Our own transport wakes every idle worker, and would let the same one win each time; other brokers take turns.
    """
    morgue.give_back(ref)
    stand_aside = getattr(message.channel, "stand_aside", None)
    if stand_aside is not None:
        stand_aside()


def settle(consumer: Any, message: Any, dispose: Callable[[], None]) -> None:
    """Dispose of a message, then acknowledge it; later, if the state server does not answer."""
    try:
        dispose()
    except DispatchError as error:
        logger.warning("a hopeless message waits for the state server: %s", error)
        consumer.timer.call_after(_TRY_AGAIN, settle, (consumer, message, dispose))
        return
    message.ack()


def _bury(morgue: Morgue, message: Any, reason: str, task: str = "") -> None:
    queue = (message.delivery_info or {}).get("routing_key")
    logger.error("a message on %s is kept as a dead letter: %s", queue, reason)
    morgue.bury(queue=queue, raw=envelope_of(message), reason=reason[:500], task=task)
