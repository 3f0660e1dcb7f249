"""Where bytes go that no worker can read.

Promises: a message kombu could not turn into an object never ends the worker and is never dropped unseen. Its raw
bytes are offered to the sink *while the message is still in* ``unacked``; only when the sink has returned is the
message acknowledged. While the sink raises, the message stays, and is offered again after 1, 2, 4 ... 30 s.

At most ``LIMIT`` refused messages are kept in memory. Those beyond it are left in ``unacked``, where the visibility
timeout finds them: a flood of rubbish with the store down must not take the worker's memory.
"""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass, field
from typing import Final, Protocol

__all__ = ["LIMIT", "Letter", "Parking", "UndecodableSink", "current_sink", "set_sink"]

LIMIT: Final = 100
_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 30.0

logger = logging.getLogger("dispatch_celery.transport")


class UndecodableSink(Protocol):
    """Keeps what could not be decoded. Returning means: kept. Raising means: not now, offer it again."""

    def __call__(self, *, queue: str, raw: bytes, reason: str) -> None:
        """Keep the raw message of ``queue``; ``reason`` says in a few words what was wrong with it."""


def log_only(*, queue: str, raw: bytes, reason: str) -> None:
    """Write the message to the log: what is left to do without a sink."""
    shown = repr(raw[:500]) + ("..." if len(raw) > 500 else "")
    logger.critical("discarded an undecodable message of queue %s (%s), %d bytes: %s", queue, reason, len(raw), shown)


_sink: UndecodableSink = log_only


def set_sink(sink: UndecodableSink | None) -> None:
    """Choose the sink of this process; None means the log."""
    global _sink  # noqa: PLW0603 - kombu makes channels by class: there is no instance to hand it to
    _sink = sink or log_only


def current_sink() -> UndecodableSink:
    """Return the sink of this process."""
    return _sink


@dataclass(frozen=True, slots=True)
class Letter:
    """One undecodable message, claimed and not yet acknowledged."""

    tag: str
    queue: str
    raw: bytes
    reason: str


@dataclass(slots=True)
class Parking:
    """The letters the sink has refused so far, and when to try again."""

    letters: deque[Letter] = field(default_factory=deque)
    pause: float = _FIRST_PAUSE
    due: float = 0.0

    def offer(self, letter: Letter, now: float) -> bool:
        """Hand a letter to the sink; return whether it was kept. A refused one waits here."""
        if self.letters and now < self.due:  # the sink is known to be down: do not ask it for each message
            self._park(letter)
            return False
        try:
            current_sink()(queue=letter.queue, raw=letter.raw, reason=letter.reason)
        except Exception:
            logger.exception("the sink refused an undecodable message of queue %s; it stays in unacked", letter.queue)
            self.due = now + self.pause
            self.pause = min(self.pause * 2, _LONGEST_PAUSE)
            self._park(letter)
            return False
        self.pause = _FIRST_PAUSE
        return True

    def retry(self, now: float) -> list[Letter]:
        """Offer the waiting letters again if it is time; return those that were kept."""
        kept: list[Letter] = []
        if not self.letters or now < self.due:
            return kept
        waiting, self.letters = self.letters, deque()
        while waiting:
            letter = waiting.popleft()
            if not self.offer(letter, now):
                self.letters.extend(waiting)
                break
            kept.append(letter)
        return kept

    def _park(self, letter: Letter) -> None:
        if len(self.letters) < LIMIT:
            self.letters.append(letter)
