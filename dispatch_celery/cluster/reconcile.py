"""Puts right what a server that came back may have lost: a restart, a failover, a restored copy.

A script is applied whole or not at all, so what a server lost of its last second leaves the state consistent
with itself. What it may not agree with any more is the world outside: messages that were taken before a claim
the server has forgotten, timers and leases of an older copy. So when its ``run_id`` is another one than last
time, every record that has not ended is looked at once, in slices, by the leader:

======================================================  ==========================================================
found                                                   done
======================================================  ==========================================================
``running``, its holder registered nowhere              released under its token, nothing counted
``running``, missing from what its holder holds         the same
``scheduled``, ``retrying``, ``waiting`` without timer  armed again, for its stored due time
``pending`` outside of its lane                         into its lane, and published
fewer messages in a queue than jobs ready in it         that many of the longest published are published again
======================================================  ==========================================================

Every repair is a script that looks again and compares tokens, so a repair that comes late or twice does nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Final

from dispatch_celery.cluster.recovery import Recovery
from dispatch_celery.store.replies import ask, ask_all, text, words
from dispatch_celery.store.scripts import Call
from dispatch_celery.work.lanes import count_ready, queue_of
from dispatch_celery.work.model import WakeUp
from dispatch_celery.work.records import Stored
from dispatch_celery.work.upkeep import Duty, House, publish_marked

__all__ = ["Reconcile"]

logger = logging.getLogger(__name__)

_SLICE: Final = 500
_EVERY: Final = 60_000


class Reconcile(Duty):
    """The duty: cheap while the server is the same, one slice a round while it is not."""

    name = "reconcile"

    def __init__(self, house: House, recovery: Recovery) -> None:
        super().__init__(house)
        self._recovery = recovery
        self._work: Iterator[int] | None = None
        self._repaired = 0

    def run_once(self) -> int:
        """Look whether the server is the one of last time; if not, reconcile one slice."""
        run_id = self._run_id()
        if self._work is None:
            known = text(ask(self._store.port, Call.command("HGET", self._keys.server, "run_id")))
            if known == run_id:
                return _EVERY
            if known:
                logger.warning("the state server has come back as another run: reconciling what has not ended")
                self._work, self._repaired = self._slices(), 0
        try:
            for repaired in self._work or ():
                self._repaired += repaired
                return 0
        except Exception:
            self._work = None  # from the start again: every repair bears to be done twice
            raise
        if self._work is not None:
            logger.warning("reconciled with the state server: %d repairs", self._repaired)
            self._work = None
        ask(self._store.port, Call.command("HSET", self._keys.server, "run_id", run_id))
        return _EVERY

    def _run_id(self) -> str:
        lines = text(ask(self._store.port, Call.command("INFO", "server"))).splitlines()
        return next(line.partition(":")[2] for line in lines if line.startswith("run_id:"))

    def _slices(self) -> Iterator[int]:
        """Yield how much was repaired, slice by slice."""
        repairs: Sequence[tuple[str, Callable[[list[Stored]], int]]] = (
            ("running", self._release_unheld),
            ("scheduled", self._rearm),
            ("retrying", self._rearm),
            ("waiting", self._rearm),
            ("pending", self._return_to_lane),
        )
        for (state, repair), kind in product(repairs, self._kinds):
            for ids in self._members(self._keys.state(state, kind)):
                found = [stored for stored in self._records.stored(ids) if stored is not None and stored.state == state]
                yield repair(found)
        yield from self._wake_missing()

    def _members(self, index: str) -> Iterator[list[str]]:
        """Yield every member that stays in an index meanwhile."""
        cursor = "0"
        while True:
            reply, flat = ask(self._store.port, Call.command("ZSCAN", index, cursor, "COUNT", _SLICE))
            cursor = text(reply)
            yield words(flat[::2])
            if cursor == "0":
                return

    def _release_unheld(self, found: list[Stored]) -> int:
        calls = [
            call
            for stored in found
            for call in (
                Call.command("ZSCORE", self._keys.workers, stored.holder),
                Call.command("ZSCORE", self._keys.condemned, stored.holder),
                Call.command("HEXISTS", self._keys.held(stored.holder), stored.ref.id),
            )
        ]
        replies = ask_all(self._store.port, calls)
        repaired = 0
        for stored, lease, condemned, held in zip(found, replies[::3], replies[1::3], replies[2::3], strict=True):
            if (lease is None and condemned is None) or not held:
                why = "the state server came back without its holder"
                repaired += self._recovery.recover(stored.holder, [stored.ref.id], counter="", why=why)
        return repaired

    def _rearm(self, found: list[Stored]) -> int:
        return sum(self._kinds[stored.ref.kind].rearm(stored, term=self._term()) for stored in found)

    def _return_to_lane(self, found: list[Stored]) -> int:
        calls = [Call.command("ZSCORE", self._keys.lane(stored.ref.lane), stored.ref.id) for stored in found]
        places = zip(found, ask_all(self._store.port, calls), strict=True)
        return self._wake([(stored, "") for stored, place in places if place is None])

    def _wake_missing(self) -> Iterator[int]:
        """Publish as many wake-ups as a queue has fewer messages than ready jobs: the longest published first."""
        lanes = count_ready(self._store.port, self._keys)
        ready: dict[str, int] = {}
        for lane, count in lanes.items():
            ready[queue_of(lane)] = ready.get(queue_of(lane), 0) + count
        found: list[tuple[Stored, str]] = []
        for lane, count in lanes.items():
            queue = queue_of(lane)
            waiting = self._publisher.waiting(queue)
            missing = 0 if waiting is None else min(ready[queue] - waiting, count)
            while missing > 0:
                # What is published again moves to the end of its lane, so the next slice begins where this one ends.
                last = min(missing, _SLICE) - 1
                flat = ask(self._store.port, Call.command("ZRANGE", self._keys.lane(lane), 0, last, "WITHSCORES"))
                stored = zip(self._records.stored(words(flat[::2])), flat[1::2], strict=True)
                found += [(one, f"{float(at):.0f}") for one, at in stored if one is not None]
                missing -= _SLICE
                if missing > 0 or len(found) >= _SLICE:
                    yield self._wake(found)
                    found = []
        yield self._wake(found)

    def _wake(self, found: Sequence[tuple[Stored, str]]) -> int:
        woken = []
        for stored, published in found:
            answer = self._store.rewake(stored.ref, published, term=self._term())
            if answer.verdict == "READY":
                woken.append(WakeUp(ref=stored.ref, wake=answer.detail, spec=stored.spec, attempt=stored.attempts + 1))
        publish_marked(self._store, self._publisher, woken)
        return len(woken)
