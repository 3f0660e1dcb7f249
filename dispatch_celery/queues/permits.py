"""The leader's duty: carries word between jobs and limits, and hands out permits, in batches and in order."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from dispatch_celery.clock import monotonic_ms
from dispatch_celery.queues.model import PerKey
from dispatch_celery.queues.store import LimitStore, Settled, Word4
from dispatch_celery.work.model import WakeUp
from dispatch_celery.work.ports import Publisher
from dispatch_celery.work.records import Stored, WorkRecords
from dispatch_celery.work.store import WorkStore
from dispatch_celery.work.upkeep import BATCH, IDLE, publish_marked

__all__ = ["Permits"]

Grant = tuple[str, str, str, bool]
"""A permit on its way: job id, number of the request, limit; whether there is no such limit any more."""

_LATE: Final = 5
"""Milliseconds within which limits are looked at together."""


class Permits:
    """One bounded round after another; every step may be done twice, or by two leaders at once."""

    name = "permits"

    def __init__(
        self,
        *,
        store: LimitStore,
        work: WorkStore,
        records: WorkRecords,
        publisher: Publisher,
        term: Callable[[], str],
        clock: Callable[[], int] = monotonic_ms,
    ) -> None:
        self._store = store
        self._work = work
        self._records = records
        self._publisher = publisher
        self._term = term
        self._clock = clock
        self._reigned = ""
        self._due: dict[str, int] = {}
        self._unseen: set[str] = set()

    def run_once(self) -> int:
        """Take in what was left for limits, hand out what they grant; return the ms until another permit may be had."""
        rows = self._store.told(BATCH)
        told, by = self._by_limit(rows)
        for limit in self._to_look_at():
            told.setdefault(limit, [])
        settled, grants = self._store.settle_all(told, by, batch=BATCH)
        self._enforce(rows, settled)
        again = self._rekey(settled)
        free = [grant for limit, words in told.items() for grant in self._free(limit, words, settled[limit])]
        ready, more = self._deliver([*map(_grant, grants), *free])
        stale = {limit for limit, one in settled.items() if one is not None and one.stale}
        taken_in = [row for row in rows if row.split(" ", 3)[3] not in stale]
        if self._finish(taken_in, grants, ready) or again or more or stale or len(grants) == BATCH:
            return 0
        return self._pause()

    def _enforce(self, rows: Sequence[str], settled: Mapping[str, Settled | None]) -> None:
        """Let the scripts of jobs and runs know what a limit has become: whoever changed it may have died before."""
        changed = {row.split(" ", 3)[3] for row in rows if row.startswith("look ")}
        resumed = {limit for limit, one in settled.items() if one is None or one.resumed}
        if stale := sorted(changed | resumed | self._unseen):
            self._store.enforce(stale)
        self._unseen = set()

    def _rekey(self, settled: Mapping[str, Settled | None]) -> bool:
        """Give some of those that changed limits know their keys anew; return whether there were such limits."""
        changed = {limit: one.rekey for limit, one in settled.items() if one is not None and one.rekey}
        for (limit, mark), by in zip(changed.items(), self._store.by(list(changed)), strict=True):
            after, known = self._store.known(limit, mark, BATCH)
            keys = self._keys_of([(one.id, by) for one in known]) if by else {}
            self._store.rekey(limit, by, mark, after, [(one.id, one.ask, keys.get((one.id, by), "")) for one in known])
        return bool(changed)

    def _to_look_at(self) -> list[str]:
        """Return the limits that may have a permit by now; all of them at the beginning of a reign."""
        term = self._term()
        if term != self._reigned:
            names = self._store.names()
            # Due until they have answered: a first round that fails must not lose them.
            self._reigned, self._due = term, dict.fromkeys(names, self._clock())
            self._unseen = set(names)
            return names
        now = self._clock()
        return [limit for limit, due in self._due.items() if due <= now + _LATE]

    def _by_limit(self, rows: Sequence[str]) -> tuple[dict[str, list[Word4]], dict[str, str]]:
        """Return what each limit is to be told, with the keys of those that ask, and what these were told by."""
        parsed = [row.split(" ", 3) for row in rows]
        limits = sorted({limit for _, _, _, limit in parsed})
        by = dict(zip(limits, self._store.by(limits), strict=True))
        keys = self._keys_of([(job_id, by[limit]) for verb, job_id, _, limit in parsed if verb == "ask" and by[limit]])
        told: dict[str, list[Word4]] = {limit: [] for limit in limits}
        for verb, job_id, number, limit in parsed:
            if verb != "look":
                told[limit].append((verb, job_id, number, keys.get((job_id, by[limit]), "")))
        return told, by

    def _keys_of(self, asked: Sequence[tuple[str, str]]) -> dict[tuple[str, str], str]:
        ids = sorted({job_id for job_id, _ in asked})
        specs = dict(zip(ids, self._records.stored(ids), strict=True))
        reads = sorted({job_id for job_id, by in asked if by.startswith("arguments")})
        arguments = dict(zip(reads, self._store.payloads(reads), strict=True)) if reads else {}
        return {
            (job_id, by): PerKey(by=by).key_of(_spec(specs[job_id]), _arguments(arguments.get(job_id)))
            for job_id, by in asked
        }

    def _free(self, limit: str, words: Sequence[Word4], settled: Settled | None) -> list[Grant]:
        """Note what a limit has answered; return as grants what it was asked for, where nobody limits it any more."""
        self._due.pop(limit, None)
        if settled is None:
            return [(job_id, number, limit, True) for verb, job_id, number, _ in words if verb == "ask"]
        if settled.rekey:
            self._due[limit] = self._clock()
        elif settled.after is not None:
            self._due[limit] = self._clock() + settled.after
        elif settled.lifted and not settled.waiting:
            self._store.dissolve(limit)
        return []

    def _deliver(self, grants: Sequence[Grant]) -> tuple[list[WakeUp], bool]:
        """Hand over permits; return the wake-ups of the jobs that may go, and whether others have been granted."""
        if not grants:
            return [], False
        found = self._records.stored([job_id for job_id, _, _, _ in grants])
        there = [
            (stored, limit, number, free)
            for stored, (_, number, limit, free) in zip(found, grants, strict=True)
            if stored is not None
        ]
        answers = self._store.permit([(stored.ref, limit, number, free) for stored, limit, number, free in there])
        useless = {
            (job_id, number, limit)
            for stored, (job_id, number, limit, free) in zip(found, grants, strict=True)
            if stored is None and not free
        }
        ready: list[WakeUp] = []
        for (stored, limit, number, free), answer in zip(there, answers, strict=True):
            if answer.verdict == "READY":
                ready.append(WakeUp(ref=stored.ref, wake=answer.detail, spec=stored.spec, attempt=stored.attempts + 1))
            elif answer.verdict == "LEFTOVER" and not free:
                useless.add((stored.ref.id, number, limit))
        given = 0
        for job_id, number, limit in sorted(useless):
            words: list[Word4] = [("return", job_id, number, "")]
            settled = self._store.settle(limit, words, batch=BATCH)
            self._free(limit, words, settled)
            given += 0 if settled is None else settled.given
        return ready, given > 0

    def _finish(self, rows: Sequence[str], grants: Sequence[str], ready: Sequence[WakeUp]) -> bool:
        """Publish, and forget what is done; return whether more was left meanwhile."""
        riders = self._publisher.riders(ready)
        if riders:
            marked = [(wakeup.ref.id, wakeup.wake) for wakeup in ready]
            more = self._store.done(rows, grants, [*riders, self._work.unmarking(marked)])
            self._publisher.announce(ready)
            return more
        publish_marked(self._work, self._publisher, ready)
        return self._store.done(rows, grants)

    def next_due(self) -> int | None:
        """Return when another permit may be had, by the clock of this duty; None where that depends on others."""
        return min(self._due.values(), default=None)

    def _pause(self) -> int:
        due = self.next_due()
        return IDLE if due is None else min(IDLE, max(1, due - self._clock()))


def _grant(row: str) -> Grant:
    job_id, number, limit = row.split(" ", 2)
    return job_id, number, limit, False


def _spec(stored: Stored | None) -> Mapping[str, Any]:
    return {} if stored is None else stored.spec


def _arguments(payload: bytes | None) -> Mapping[str, Any]:
    found = json.loads(payload) if payload else {}
    return found if isinstance(found, Mapping) else {}
