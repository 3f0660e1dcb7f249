"""Keeps the files of dead letters right while two releases work side by side.

A release before fingerprints brings dead letters without filing them, and takes filed ones without saying so. So the
leader compares two counts a minute; where they differ it goes once through both, in slices: what is unfiled is given
the fingerprint of its stored error and filed, and an entry of what is no dead letter any more is taken out. Each is one
script that looks again, so two leaders do no harm.
"""

from __future__ import annotations

import logging
from typing import Final

from dispatch_celery.dlq.store import DeadLetterStore, Unfiled
from dispatch_celery.work.fingerprint import fingerprint_of
from dispatch_celery.work.records import decode_failure

__all__ = ["DeadLetterFiles"]

logger = logging.getLogger(__name__)


class DeadLetterFiles:
    """A duty of the leader."""

    name = "dead letter files"

    EVERY: Final = 60_000
    PAUSE: Final = 50
    BATCH: Final = 500

    def __init__(self, store: DeadLetterStore) -> None:
        self._store = store
        self._place: int | None = None
        self._entry = ""
        self._changed = 0

    def run_once(self) -> int:
        """Compare the counts, or go through one slice."""
        if self._place is None and not self._entry:
            total, filed = self._store.sizes()
            if total == filed:
                return self.EVERY
            self._place, self._changed = 0, 0
        if self._place is not None:
            self._file_slice(self._place)
            return self.PAUSE
        return self._clear_slice()

    def _file_slice(self, place: int) -> None:
        """File what is unfiled among some dead letters, the oldest first."""
        count, unfiled = self._store.unfiled(place, self.BATCH)
        for one in unfiled:
            self._changed += self._store.refile(one.member, name=one.name, fingerprint=_fingerprint(one))
        if count == self.BATCH:
            self._place = place + count
        else:
            self._place, self._entry = None, "f "

    def _clear_slice(self) -> int:
        """Take out what is of no dead letter any more among some entries."""
        entries = self._store.entries(self._entry, self.BATCH)
        for entry in entries:
            _, mark, name, filed_at, member = entry.split(" ")
            self._changed += self._store.refile(member, name=name, fingerprint=mark, filed_at=filed_at)
        self._entry = entries[-1] if len(entries) == self.BATCH else ""
        if self._entry:
            return self.PAUSE
        logger.info("the files of dead letters are complete: %d were filed or taken out", self._changed)
        return self.EVERY


def _fingerprint(letter: Unfiled) -> str:
    try:
        failure = decode_failure(letter.error)
    except (ValueError, KeyError):
        failure = None
    return fingerprint_of(failure, name=letter.name, reason=letter.reason)
