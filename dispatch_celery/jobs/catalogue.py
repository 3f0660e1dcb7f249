"""What callers need of jobs that are declared elsewhere: the workers that know a job publish it at registration."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Final, Self

from dispatch_celery.store.client import Store
from dispatch_celery.store.keys import Keys
from dispatch_celery.store.replies import ask
from dispatch_celery.store.scripts import Call

__all__ = ["Catalogue", "CatalogueEntry"]

_FRESH: Final = 30.0
"""Seconds an answer is used again: a deploy that moves a job to another queue is noticed that late."""
_REMEMBERED: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueEntry:
    """One job as its workers declare it. ``timeout`` is in milliseconds; a queue of None is the app's default."""

    queue: str | None = None
    priority: int = 0
    max_attempts: int | None = None
    timeout: int | None = None

    def dump(self) -> str:
        """Return it as JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def parse(cls, text: bytes | str) -> Self:
        """Return a stored entry; what a newer release added is passed over."""
        stored = json.loads(text)
        return cls(**{name: stored[name] for name in cls.__dataclass_fields__ if name in stored})


class Catalogue:
    """Reads entries by name, and remembers them for a while. Safe for threads."""

    def __init__(self, store: Store, keys: Keys, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._key = keys.catalogue
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[str, tuple[float, CatalogueEntry | None]] = {}

    def get(self, name: str) -> CatalogueEntry | None:
        """Return what workers say of a job; None where none has ever known it. One trip, when not remembered.

        Raises:
            StoreUnavailable: it is not remembered, and the server does not answer.
        """
        now = self._clock()
        with self._lock:
            read_at, entry = self._known.get(name, (None, None))
        if read_at is not None and now - read_at < _FRESH:
            return entry
        text = ask(self._store, Call.command("HGET", self._key, name))
        entry = None if text is None else CatalogueEntry.parse(text)
        with self._lock:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[name] = (now, entry)
        return entry
