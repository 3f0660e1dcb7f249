"""What the scripts of jobs share: the keys a move touches, the arguments most of them take, and their answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from dispatch_celery.config import Settings
from dispatch_celery.jobs.model import JobRef, JobState, WorkRef
from dispatch_celery.jobs.records import Stored
from dispatch_celery.store.client import Store
from dispatch_celery.store.keys import Keys
from dispatch_celery.store.replies import ask, words
from dispatch_celery.store.scripts import Call, Word
from dispatch_celery.store.servertime import ServerTime

__all__ = ["MARK_GRACE", "Answer", "Claim", "JobScripts", "NewJob"]

MARK_GRACE: Final = 1_000
"""Milliseconds after which a ready mark that its publisher did not clear is swept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """A job about to be written. ``payload`` is JSON, and ``spec`` becomes JSON, that the server never reads."""

    ref: JobRef
    spec: Mapping[str, Any]
    payload: bytes
    delay: int | None = None
    run_at: int | None = None
    expires: int | None = None
    digest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What a worker was given: the right to end this job, and all it needs to run it."""

    id: str
    holder: str
    token: str
    claimed_at: int
    payload: bytes
    spec: bytes
    attempts: int
    crashes: int
    lost_workers: int
    snoozes: int

    @classmethod
    def of(cls, stored: Stored) -> Claim:
        """Return the claim under which a record says that it runs."""
        return cls(
            id=stored.ref.id,
            holder=stored.holder,
            token=stored.token,
            claimed_at=0,
            payload=b"",
            spec=b"",
            attempts=stored.attempts,
            crashes=stored.crashes,
            lost_workers=stored.lost_workers,
            snoozes=0,
        )


@dataclass(frozen=True, slots=True)
class Answer:
    """A script's verdict and what it tells besides."""

    verdict: str
    detail: str = ""

    @property
    def recorded(self) -> bool:
        """Whether this outcome is the one the record has."""
        return self.verdict in ("DONE", "REPEATED")


class JobScripts:
    """The ground of the typed stores of one partition."""

    def __init__(self, store: Store, keys: Keys, settings: Settings, time: ServerTime) -> None:
        self.port = store
        self._keys = keys
        self._settings = settings
        self._time = time

    def _move_keys(self, ref: WorkRef, source: str, target: str) -> dict[str, str]:
        shared = self._shared_keys(source, target, ref.name, ref.lane, ref.scope, ref.kind)
        return {**shared, "record": self._keys.record(ref.id), "idempotency": self.idempotency(ref)}

    @lru_cache(maxsize=1_000)  # noqa: B019 - one per process, and as long-lived
    def _shared_keys(self, source: str, target: str, name: str, lane: str, scope: str, kind: str) -> dict[str, str]:
        keys = self._keys
        return {
            "from_state": keys.state(source, kind),
            "from_name": keys.name(source, name, kind),
            "to_state": keys.state(target, kind),
            "to_name": keys.name(target, name, kind),
            "scope": keys.scope(scope, kind),
            "lane": keys.lane(lane),
            "lanes": keys.lanes,
            "marks": keys.marks,
            "timers": keys.timers,
            "expiry": keys.expiry,
            "dead": keys.dead,
            "unknown": keys.unknown,
            "leader": keys.leader,
            "journal": keys.journal,
        }

    def idempotency(self, ref: WorkRef) -> str:
        """Return the idempotency key's key, or the record's own where there is none (scripts then ignore it)."""
        if not ref.idempotency_key:
            return self._keys.record(ref.id)
        return self._keys.idempotency(ref.scope, ref.name, ref.idempotency_key)

    def _common(self, ref: WorkRef) -> dict[str, Word]:
        settings = self._settings
        return {
            "now": self._time.word,
            "journal": settings.journal,
            "id": ref.id,
            "lane": ref.lane,
            "grace": MARK_GRACE,
            "scoped": "1" if ref.scope else "",
            "keyed": "1" if ref.idempotency_key else "",
            "retain_key": settings.retain_key,
        }

    def _retain(self, state: JobState) -> int:
        settings = self._settings
        return {
            JobState.COMPLETED: settings.retain_completed,
            JobState.CANCELLED: settings.retain_cancelled,
            JobState.FAILED: settings.retain_failed,
        }[state]

    def _answer(self, call: Call) -> Answer:
        reply = words(ask(self.port, call))
        return Answer(reply[0], reply[-1] if len(reply) > 1 else "")
