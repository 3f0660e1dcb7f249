"""What the scripts of jobs and runs share: the keys a move touches, the arguments most of them take, their answers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from dispatch_celery.config import Settings
from dispatch_celery.store.client import Store
from dispatch_celery.store.keys import Keys
from dispatch_celery.store.replies import ask, words
from dispatch_celery.store.scripts import PARENT_KEYS, Call, Word
from dispatch_celery.store.servertime import ServerTime
from dispatch_celery.work.model import LIMITED, WakeUp, WorkRef

__all__ = ["MARK_GRACE", "Answer", "WorkScripts", "woken_by"]

MARK_GRACE: Final = 1_000
"""Milliseconds after which a ready mark that its publisher did not clear is swept."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A script's verdict and what it tells besides."""

    verdict: str
    detail: str = ""
    woken: str = ""
    """The number of the wake-up of the run it belongs to, where that run is ready now."""

    @property
    def recorded(self) -> bool:
        """Whether this outcome is the one the record has."""
        return self.verdict in ("DONE", "REPEATED")


def woken_by(ref: WorkRef, answer: Answer) -> list[WakeUp]:
    """Return the wake-up, to be published, of the run that something belonged to which has ended."""
    if ref.parent is None or not answer.woken:
        return []
    return [WakeUp(ref=ref.parent.ref, wake=answer.woken)]


class WorkScripts:
    """The ground of the typed stores of one partition."""

    def __init__(self, store: Store, keys: Keys, settings: Settings, time: ServerTime) -> None:
        self.port = store
        self._keys = keys
        self._settings = settings
        self._time = time

    def time(self) -> int:
        """Return the server's time, in ms since 1970."""
        if self._time.now is not None:
            return self._time.now
        seconds, microseconds = ask(self.port, Call.command("TIME"))
        return int(seconds) * 1000 + int(microseconds) // 1000

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
            "letters": keys.letters,
            "groups": keys.groups,
            "unknown": keys.unknown,
            "leader": keys.leader,
            "limits": keys.limits,
            "limited_state": keys.state(LIMITED, kind),
            "limited_name": keys.name(LIMITED, name, kind),
            "permits": keys.permits,
            "journal": keys.journal,
        }

    def idempotency(self, ref: WorkRef) -> str:
        """Return the idempotency key's key, or the record's own where there is none (scripts then ignore it)."""
        if ref.unique:
            return self._keys.idempotency(ref.scope, ref.name, f"\0unique\0{ref.unique}")
        if not ref.idempotency_key:
            return self._keys.record(ref.id)
        return self._keys.idempotency(ref.scope, ref.name, ref.idempotency_key)

    def _common(self, ref: WorkRef) -> dict[str, Word]:
        settings = self._settings
        return {
            "now": self._time.word,
            "journal": settings.journal,
            "id": ref.id,
            "name": ref.name,
            "lane": ref.lane,
            "grace": MARK_GRACE,
            "scoped": "1" if ref.scope else "",
            "keyed": "1" if ref.idempotency_key else "unique" if ref.unique else "",
            "retain_key": settings.retain_key,
            "parent": "" if ref.parent is None else ref.parent.id,
            "parent_at": "" if ref.parent is None else ref.parent.at,
        }

    def _parent_keys(self, ref: WorkRef) -> list[str]:
        """Return the keys of the run that something belongs to, as a script's ``*parent``."""
        if ref.parent is None:
            return []
        keys, run = self._keys, ref.parent
        named = {
            **self._shared_keys("waiting", "pending", run.name, run.lane, "", run.ref.kind),
            "record": keys.record(run.id),
            "promises": keys.promises(run.id),
            "waits": keys.waits(run.id),
            "undos": keys.undos(run.id),
            "open": keys.open_undos(run.id),
        }
        return [named[name] for name in PARENT_KEYS]

    def _answer(self, call: Call) -> Answer:
        reply = words(ask(self.port, call))
        if reply[0] == "DONE" and len(reply) == 3:
            return Answer(*reply)
        return Answer(reply[0], reply[-1] if len(reply) > 1 else "")
