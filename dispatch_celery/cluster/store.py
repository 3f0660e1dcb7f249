"""One typed method per script of ``lua/cluster``: registration, leases, the lead, and the end of workers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from dispatch_celery.clock import from_ms
from dispatch_celery.cluster.model import Pulse, Worker, WorkerState
from dispatch_celery.config import Settings
from dispatch_celery.ids import WorkerId
from dispatch_celery.store.client import Store
from dispatch_celery.store.keys import Keys
from dispatch_celery.store.replies import ask, ask_all, pairs, text, words
from dispatch_celery.store.scripts import Call, Word
from dispatch_celery.store.servertime import ServerTime

__all__ = ["ClusterStore"]

_BATCH: Final = 200


class ClusterStore:
    """The scripts of one partition, typed."""

    def __init__(self, store: Store, keys: Keys, settings: Settings, time: ServerTime) -> None:
        self._store = store
        self._keys = keys
        self._settings = settings
        self._time = time

    def register(self, worker_id: WorkerId, description: Mapping[str, Word], names: Mapping[str, str]) -> int:
        """Register one incarnation with a full lease, and the job names it knows; return the server's time."""
        keys = self._keys
        rest: list[Word] = [word for pair in description.items() for word in pair]
        rest += [word for pair in names.items() for word in pair]
        call = Call.of(
            "cluster/register",
            {
                "workers": keys.workers,
                "worker": keys.worker(worker_id),
                "known": keys.known,
                "catalogue": keys.catalogue,
            },
            {
                "now": self._time.word,
                "id": worker_id,
                "lease": self._settings.lease,
                "field_count": len(description),
            },
            rest=rest,
        )
        return int(words(ask(self._store, call))[1])

    def time(self) -> int:
        """Return the server's time, in ms since 1970."""
        if self._time.now is not None:
            return self._time.now
        seconds, microseconds = ask(self._store, Call.command("TIME"))
        return int(seconds) * 1000 + int(microseconds) // 1000

    def still_know(self, names: Sequence[str], now: int) -> None:
        """Say that a live worker knows these names at ``now``."""
        if names:
            ask(
                self._store,
                Call.command("ZADD", self._keys.known, *(word for name in names for word in (now, name))),
            )

    def renew(
        self, worker_id: str, *, nonce: str, volunteer: bool, state: WorkerState, with_held: bool
    ) -> Pulse | None:
        """Renew a lease and, if asked, take or keep the lead. None: the incarnation is not registered any more."""
        keys = self._keys
        call = Call.of(
            "cluster/renew",
            {
                "workers": keys.workers,
                "worker": keys.worker(worker_id),
                "held": keys.held(worker_id),
                "leader": keys.leader,
                "running": keys.state("running"),
                "running_runs": keys.state("running", "run-"),
                "timers": keys.timers,
                "marks": keys.marks,
                "expiry": keys.expiry,
                "condemned": keys.condemned,
                "lanes": keys.lanes,
                "unknown": keys.unknown,
                "permits": keys.permits,
                "grants": keys.grants,
            },
            {
                "now": self._time.word,
                "id": worker_id,
                "lease": self._settings.lease,
                "leader_lease": self._settings.leader_lease,
                "nonce": nonce,
                "volunteer": "1" if volunteer else "",
                "state": state,
                "with_held": "1" if with_held else "",
            },
        )
        reply = words(ask(self._store, call))
        if reply[0] == "LOST":
            return None
        due = {
            name: int(float(moment)) if moment else None
            for name, moment in zip(("timers", "marks", "expiry", "leases"), reply[6:10], strict=True)
        }
        return Pulse(
            now=int(reply[1]),
            leader=reply[2],
            term=reply[3],
            leader_until=int(float(reply[4])),
            running=int(reply[5]),
            due=due,
            condemned=int(reply[10]),
            lanes=int(reply[11]),
            unknown=int(reply[12]),
            permits=int(reply[13]),
            held=dict(zip(reply[14::2], reply[15::2], strict=True)),
        )

    def depart(self, worker_id: str) -> bool:
        """End an incarnation; return whether it held nothing any more."""
        keys = self._keys
        call = Call.of(
            "cluster/depart",
            {
                "workers": keys.workers,
                "worker": keys.worker(worker_id),
                "held": keys.held(worker_id),
                "condemned": keys.condemned,
                "leader": keys.leader,
            },
            {"now": self._time.word, "id": worker_id},
        )
        return words(ask(self._store, call))[0] == "GONE"

    def suspect(self, worker_id: str, cut_ms: int) -> None:
        """Cut the lease, and the lead, of a worker that seems gone."""
        call = Call.of(
            "cluster/suspect",
            {"workers": self._keys.workers, "leader": self._keys.leader},
            {"now": self._time.word, "id": worker_id, "cut": cut_ms},
        )
        ask(self._store, call)

    def condemn(self, *, term: str = "") -> tuple[int, list[str], int | None]:
        """End the incarnations whose lease has run out; return how many jobs run, and whose await recovery.

        The third is the time in ms until another lease ends, as things stand; None where there is none.
        """
        keys = self._keys
        call = Call.of(
            "cluster/condemn",
            {
                "workers": keys.workers,
                "condemned": keys.condemned,
                "leader": keys.leader,
                "running": keys.state("running"),
                "running_runs": keys.state("running", "run-"),
            },
            {"now": self._time.word, "term": term, "limit": _BATCH},
        )
        _, running, left, *ids = words(ask(self._store, call))
        return int(running), ids, int(left) if left else None

    def spare(self, *, term: str = "") -> int:
        """Give every registered worker one full lease; return how many had less."""
        call = Call.of(
            "cluster/spare",
            {"workers": self._keys.workers, "leader": self._keys.leader},
            {"now": self._time.word, "term": term, "lease": self._settings.lease, "limit": 1_000},
        )
        return int(ask(self._store, call))

    def forget(self, worker_id: str) -> bool:
        """Forget a condemned incarnation, if nothing is held under it any more."""
        keys = self._keys
        call = Call.of(
            "cluster/forget",
            {"worker": keys.worker(worker_id), "held": keys.held(worker_id), "condemned": keys.condemned},
            {"id": worker_id},
        )
        return words(ask(self._store, call))[0] == "DONE"

    def held(self, worker_id: str) -> dict[str, str]:
        """Return some of what an incarnation holds: job ids, each with ``<pid> <token>`` and perhaps `` cancel``."""
        _, reply = ask(self._store, Call.command("HSCAN", self._keys.held(worker_id), 0, "COUNT", _BATCH))
        return {name: text(value) for name, value in pairs(reply).items()}

    def pid_of(self, worker_id: str) -> int:
        """Return the main process of an incarnation; 0 if it is not known."""
        return int(ask(self._store, Call.command("HGET", self._keys.worker(worker_id), "pid")) or 0)

    def listeners(self, worker_ids: Sequence[str]) -> dict[str, int]:
        """Return how many connections listen for each incarnation: none, and it has gone or just lost its own."""
        channels = [self._keys.worker(worker_id) for worker_id in worker_ids]
        if not channels:
            return {}
        reply = ask(self._store, Call.command("PUBSUB", "NUMSUB", *channels))
        return {worker_id: int(count) for worker_id, count in zip(worker_ids, reply[1::2], strict=True)}

    def registered(self) -> list[str]:
        """Return the incarnations with a lease, the ones that end first before the others; at most a thousand."""
        return words(ask(self._store, Call.command("ZRANGE", self._keys.workers, 0, 999)))

    def workers(self) -> list[Worker]:
        """Return every registered or condemned incarnation."""
        keys = self._keys
        leases, condemned, leader = ask_all(
            self._store,
            [
                Call.command("ZRANGE", keys.workers, 0, 999, "WITHSCORES"),
                Call.command("ZRANGE", keys.condemned, 0, 999, "WITHSCORES"),
                Call.command("HGET", keys.leader, "id"),
            ],
        )
        until = {text(name): int(float(score)) for name, score in zip(leases[::2], leases[1::2], strict=True)}
        lost = {text(name) for name in condemned[::2]}
        ids = [*until, *(name for name in sorted(lost) if name not in until)]
        calls = [
            call
            for name in ids
            for call in (Call.command("HGETALL", keys.worker(name)), Call.command("HLEN", keys.held(name)))
        ]
        replies = ask_all(self._store, calls)
        found = zip(ids, replies[::2], replies[1::2], strict=True)
        return [
            _worker(name, pairs(fields), until.get(name), int(holding), leads=name == text(leader))
            for name, fields, holding in found
            if fields
        ]


def _worker(name: str, fields: Mapping[str, Any], until: int | None, holding: int, *, leads: bool) -> Worker:
    def word(key: str) -> str:
        return text(fields.get(key))

    return Worker(
        id=WorkerId(name),
        name=word("name"),
        hostname=word("hostname"),
        pid=int(word("pid") or 0),
        pool=word("pool"),
        concurrency=int(word("concurrency") or 0),
        queues=tuple(part for part in word("queues").split(",") if part),
        release=word("release"),
        state=WorkerState(word("state")) if until is not None else WorkerState.LOST,
        registered_at=from_ms(int(float(word("registered_at") or 0))),
        seen_at=from_ms(int(float(word("seen_at")))) if word("seen_at") else None,
        lease_until=from_ms(until) if until is not None else None,
        holding=holding,
        leads=leads,
    )
