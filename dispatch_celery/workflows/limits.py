"""How much a run may record: replay reads all of it, and so does every claim."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Final

from dispatch_celery.errors import JournalTooLarge
from dispatch_celery.work.model import WorkRef
from dispatch_celery.workflows.journal import Journal

__all__ = ["NO_LIMITS", "JournalLimits"]

logger = logging.getLogger(__name__)

_WARN_AT: Final = 0.8


@dataclass(frozen=True, slots=True)
class JournalLimits:
    """The most durable calls of a run, and the most bytes of their outcomes."""

    promises: int
    size: int

    def check(self, journal: Journal, ref: WorkRef) -> None:
        """Look whether one more call may be made; warn once on the way there.

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
            logger.warning(
                "%s (%s) has recorded %s durable calls; at %s it fails: see wf.continue_as_new",
                ref.id,
                ref.name,
                f"{journal.asked:,}",
                f"{self.promises:,}",
            )


NO_LIMITS: Final = JournalLimits(1 << 62, 1 << 62)
