"""How much a run may record: replay reads all of it, and so does every claim."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Final

from dispatch_celery.errors import JournalTooLarge
from dispatch_celery.work.model import WorkRef
from dispatch_celery.workflows.journal import Journal

__all__ = ["NO_LIMITS", "JournalLimits"]

logger = logging.getLogger(__name__)

_WARN_AT: Final = 0.8


@dataclass(slots=True)
class JournalLimits:
    """The most durable calls of a run, and the most bytes of their outcomes; of one slice."""

    promises: int
    size: int
    _told: bool = field(default=False, init=False)

    def check(self, journal: Journal, ref: WorkRef) -> None:
        """Look whether one more call may be made; warn on the way there: of calls once, of bytes once a slice.

        Raises:
            JournalTooLarge: it may not.
        """
        if journal.asked > self.promises or journal.size > self.size:
            raise JournalTooLarge(
                f"{ref.id} ({ref.name}) has recorded {journal.asked - 1:,} durable calls with {journal.size:,} bytes of"
                f" outcomes; a run may have {self.promises:,} and {self.size:,}: begin anew with"
                " wf.continue_as_new(...), give parts of the work to child runs, or return less from steps"
            )
        if journal.asked == int(self.promises * _WARN_AT):
            self._warn(ref, f"{journal.asked:,} durable calls", f"{self.promises:,}")
        if journal.size > self.size * _WARN_AT and not self._told:
            self._told = True
            self._warn(ref, f"{journal.size:,} bytes of outcomes", f"{self.size:,}")

    @staticmethod
    def _warn(ref: WorkRef, recorded: str, limit: str) -> None:
        logger.warning(
            "%s (%s) has recorded %s; at %s it fails: see wf.continue_as_new", ref.id, ref.name, recorded, limit
        )


NO_LIMITS: Final = JournalLimits(1 << 62, 1 << 62)
