"""What the leader does for jobs and runs: due timers, swept marks, lost wake-ups, retention, names that became known.

Each duty is a ``Service``: ``run_once`` does one bounded round and returns the milliseconds until it wants the
next one. None of them decides anything the scripts do not check again, so two leaders at once do no harm, and
a round that dies half-way is simply done again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from dispatch_celery.errors import StoreUnavailable
from dispatch_celery.store.keys import Keys
from dispatch_celery.store.replies import ask, ask_all, pairs, text, words
from dispatch_celery.store.scripts import Call
from dispatch_celery.work.lanes import lanes_from, queue_of
from dispatch_celery.work.model import PENDING, WakeUp
from dispatch_celery.work.ports import Keeping, Publisher
from dispatch_celery.work.records import Stored, WorkRecords
from dispatch_celery.work.store import WorkStore

__all__ = ["BATCH", "IDLE", "Duty", "House", "Marks", "Retention", "Revival", "Timers", "WakeUps", "publish_marked"]

logger = logging.getLogger(__name__)

BATCH: Final = 500
IDLE: Final = 60_000
"""Milliseconds until a duty with nothing in sight looks again; the leader's pulse calls it earlier when there is."""


def publish_marked(store: WorkStore, publisher: Publisher, wakeups: Sequence[WakeUp]) -> None:
    """Publish wake-ups, then clear their marks: a crash in between publishes again, never not at all."""
    if wakeups:
        publisher.publish(wakeups)
        store.clear_marks([(wakeup.ref.id, wakeup.wake) for wakeup in wakeups])


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """What every duty works with, on connections of the leader's own. ``term`` tells the one it reigns in."""

    store: WorkStore
    records: WorkRecords
    keys: Keys
    publisher: Publisher
    kinds: Mapping[str, Keeping]
    term: Callable[[], str]


class Duty:
    """The ground of a duty."""

    def __init__(self, house: House) -> None:
        self._store = house.store
        self._records = house.records
        self._keys = house.keys
        self._publisher = house.publisher
        self._kinds = house.kinds
        self._term = house.term


class Timers(Duty):
    """Moves on what has something due: scheduled jobs, retries, sleeping runs, waits whose time is up."""

    name = "timers"

    def run_once(self) -> int:
        """Promote one batch of what is due."""
        after, ids = self._store.due(self._keys.timers, BATCH)
        found = self._records.stored(ids)
        for work_id, stored in zip(ids, found, strict=True):
            if stored is None:
                ask(self._store.port, Call.command("ZREM", self._keys.timers, work_id))
        ready: list[WakeUp] = []
        for kind, keeping in self._kinds.items():
            due = [stored for stored in found if stored is not None and stored.ref.kind == kind]
            ready += keeping.due(due, term=self._term())
        publish_marked(self._store, self._publisher, ready)
        if len(ids) == BATCH:
            return 0
        return IDLE if after is None else after


class Marks(Duty):
    """Publishes what somebody made ready and could not publish: the outbox."""

    name = "marks"

    def run_once(self) -> int:
        """Sweep one batch of marks whose grace is over."""
        after, members = self._store.due(self._keys.marks, BATCH)
        pairs = [(member.rpartition(":")[0], member.rpartition(":")[2]) for member in members]
        found = self._records.stored([work_id for work_id, _ in pairs])
        ready: list[WakeUp] = []
        stale: list[tuple[str, str]] = []
        for (work_id, wake), stored in zip(pairs, found, strict=True):
            # Work is ready for the n-th time once only, so a mark of another time can never become true again.
            if stored is None or stored.state != PENDING or stored.wake != wake:
                stale.append((work_id, wake))
            else:
                ready.append(WakeUp(ref=stored.ref, wake=wake, spec=stored.spec, attempt=stored.attempts + 1))
        self._store.clear_marks(stale)
        publish_marked(self._store, self._publisher, ready)
        if len(members) == BATCH:
            return 0
        return IDLE if after is None else after


class WakeUps(Duty):
    """Finds ready work whose message seems lost, and publishes it again, ever more rarely for each.

    Two signs of a loss. The queue is empty, and yet something published some time ago waits (its message may
    also sit in a worker's prefetch: a doubled wake-up is harmless). Or the queue has messages, and something that was
    published *later* has been taken meanwhile: queues are first in, first out, so this one was overtaken.
    A long queue that moves is no sign, so a backlog does not multiply itself.
    """

    name = "wake-ups"

    EMPTY_AFTER: Final = 1_000
    OVERTAKEN_AFTER: Final = 30_000
    LONGEST: Final = 300_000
    _OLDEST: Final = 100
    _SAMPLES: Final = 20

    def __init__(self, house: House, clock: Callable[[], int]) -> None:
        super().__init__(house)
        self._clock = clock
        self._seen: dict[str, dict[str, int]] = {}
        self._cursor = "0"
        self._round: set[str] = set()
        self._more = False

    def run_once(self) -> int:
        """Look at some lanes, and go on with the others; at every lane once a round."""
        self._cursor, names = lanes_from(self._store.port, self._keys, self._cursor)
        self._round |= set(names)
        paused = self._paused()
        more = [self._look(lane) for lane in names if queue_of(lane) not in paused]
        self._more |= any(more)
        if self._cursor != "0":
            return 0
        looked, again, self._round, self._more = self._round, self._more, set(), False
        self._seen = {lane: seen for lane, seen in self._seen.items() if lane in looked}
        return 0 if again else self.EMPTY_AFTER if looked else IDLE

    def _paused(self) -> set[str]:
        """Return the queues that are paused: what is ready in them waits, and its wake-ups are not lost but dropped."""
        limits = pairs(ask(self._store.port, Call.command("HGETALL", self._keys.limits)))
        return {limit.removeprefix("queue:") for limit, stands in limits.items() if stands.startswith(b"paused")}

    def _look(self, lane: str) -> bool:
        """Look at one lane; return whether there is more to be published again at once."""
        entries = self._entries(lane)
        if not entries:
            self._store.tidy(lane)
            return False
        queue = queue_of(lane)
        waiting = self._publisher.waiting(queue)
        overtaken_by = self._overtaken_by(lane, entries)
        patience = self.EMPTY_AFTER if waiting == 0 else self.OVERTAKEN_AFTER
        now = self._clock()
        late = [
            (work_id, at)
            for work_id, at in entries[: self._OLDEST]
            if now - at >= patience and (waiting == 0 or at < overtaken_by)
        ]
        found = self._records.stored([work_id for work_id, _ in late])
        again: list[WakeUp] = []
        for (_, at), stored in zip(late, found, strict=True):
            if stored is None or now - at < min(patience * 2**stored.publishes, self.LONGEST):
                continue
            answer = self._store.rewake(stored.ref, str(at), term=self._term())
            if answer.verdict == "READY":
                again.append(WakeUp(ref=stored.ref, wake=answer.detail, spec=stored.spec, attempt=stored.attempts + 1))
        if again:
            logger.info("publishing %d wake-ups of %s again: they seem lost", len(again), lane)
        publish_marked(self._store, self._publisher, again)
        return len(again) == self._OLDEST

    def _entries(self, lane: str) -> list[tuple[str, int]]:
        """Return the oldest ids of a lane and some of the rest, with when they were published."""
        key = self._keys.lane(lane)
        count = int(ask(self._store.port, Call.command("ZCARD", key)))
        if not count:
            return []
        ranks = sorted({count * part // self._SAMPLES for part in range(1, self._SAMPLES)} - set(range(self._OLDEST)))
        calls = [Call.command("ZRANGE", key, 0, self._OLDEST - 1, "WITHSCORES")]
        calls += [Call.command("ZRANGE", key, rank, rank, "WITHSCORES") for rank in ranks]
        flat = [part for reply in ask_all(self._store.port, calls) for part in reply]
        return [(text(work_id), int(float(at))) for work_id, at in zip(flat[::2], flat[1::2], strict=True)]

    def _overtaken_by(self, lane: str, entries: Sequence[tuple[str, int]]) -> int:
        """Return the latest publication among what was seen here before and has been taken since."""
        current = dict(entries)
        before = self._seen.get(lane, {})
        self._seen[lane] = current
        gone = {work_id: at for work_id, at in before.items() if work_id not in current}
        still = self._records.stored(list(gone))
        taken = [gone[work_id] for work_id, stored in zip(gone, still, strict=True) if not _waits(stored)]
        return max(taken, default=0)


def _waits(stored: Stored | None) -> bool:
    return stored is not None and stored.state == PENDING


class Retention(Duty):
    """Deletes records whose time has passed."""

    name = "retention"

    def run_once(self) -> int:
        """Delete one batch."""
        after, ids = self._store.due(self._keys.expiry, BATCH)
        raw = [name for name in ids if name.startswith("dlq_")]
        for name in raw:
            self._store.unbury(name)
        records = [name for name in ids if not name.startswith("dlq_")]
        for work_id, stored in zip(records, self._records.stored(records), strict=True):
            if stored is None or not self._kinds[stored.ref.kind].expired(stored, term=self._term()):
                self._store.unexpire(work_id)
        if len(ids) == BATCH:
            return 0
        return IDLE if after is None else after


class Revival(Duty):
    """Lets dead letters and parked runs that only lacked a worker go on, once a live one knows their name."""

    name = "revival"

    _EVERY: Final = 5_000

    def __init__(self, house: House) -> None:
        super().__init__(house)
        self._offset = 0

    def run_once(self) -> int:
        """Look at one slice of them."""
        entries = ask(
            self._store.port,
            Call.command("ZRANGE", self._keys.unknown, self._offset, self._offset + BATCH - 1, "WITHSCORES"),
        )
        ids, died = words(entries[::2]), [int(float(at)) for at in entries[1::2]]
        self._offset = self._offset + BATCH if len(ids) == BATCH else 0
        found = self._records.stored(ids)
        names = [stored.ref.known_as if stored else "" for stored in found]
        calls = [Call.command("ZSCORE", self._keys.known, name) for name in names]
        ready: list[WakeUp] = []
        for stored, at, known in zip(found, died, ask_all(self._store.port, calls), strict=True):
            if stored is not None and known is not None and float(known) > at:
                wakeup = self._kinds[stored.ref.kind].revive(stored)
                if wakeup is not None:
                    ready.append(wakeup)
        try:
            publish_marked(self._store, self._publisher, ready)
        except StoreUnavailable as error:
            logger.warning("%d revived jobs and runs wait for the broker and will be swept: %s", len(ready), error)
        return self._EVERY if ids else IDLE
