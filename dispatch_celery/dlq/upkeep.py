"""What the leader does for dead letters: keeps them under their cap, and tells when they become many.

Both are bounded rounds that may be done twice. The alert is told before it is marked as told, so a leader that dies in
between has another tell it again: at least once, and not again before the number has fallen to the threshold.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from dispatch_celery.config import Settings
from dispatch_celery.dlq.purging import Purges
from dispatch_celery.dlq.store import DeadLetterStore
from dispatch_celery.work.ports import Observer

__all__ = ["DeadLetterWatch"]

logger = logging.getLogger(__name__)


class DeadLetterWatch:
    """A duty of the leader."""

    name = "dead letters"

    EVERY: Final = 5_000
    BATCH: Final = 200

    def __init__(
        self,
        store: DeadLetterStore,
        purges: Purges,
        settings: Settings,
        term: Callable[[], str],
        observer: Observer,
    ) -> None:
        self._store = store
        self._purges = purges
        self._settings = settings
        self._term = term
        self._observer = observer

    def run_once(self) -> int:
        """Look at how many there are; delete one batch of the oldest if they are too many."""
        pause = self._cap()
        self._alert()
        return pause

    def _alert(self) -> None:
        threshold = self._settings.dead_letter_threshold
        if not threshold:
            return
        verdict, count = self._store.alert(threshold, term=self._term())
        if verdict != "PASSED":
            return
        logger.warning("there are %d dead letters, more than dispatch_dead_letter_threshold (%d)", count, threshold)
        self._observer("dead_letter_alert", None, count=count, threshold=threshold)
        self._store.alert(threshold, term=self._term(), told=True)

    def _cap(self) -> int:
        excess = self._store.excess(self._settings.max_dead_letters)
        if not excess:
            return self.EVERY
        oldest = self._store.oldest(min(excess, self.BATCH))
        gone = self._purges.members(oldest, term=self._term())
        logger.warning(
            "deleted the %d oldest dead letters: there are more than dispatch_max_dead_letters (%d)",
            gone,
            self._settings.max_dead_letters,
        )
        return 0 if gone and excess > gone else self.EVERY
