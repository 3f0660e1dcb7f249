"""One typed method per script of ``lua/queues``, and the reads of limits."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from dispatch_celery.clock import from_ms
from dispatch_celery.queues.census import QueuesCensus, take_limit_census
from dispatch_celery.queues.model import Limit, PerKey, Queue, Rate
from dispatch_celery.store.replies import ask, ask_all, pairs, text, words
from dispatch_celery.store.scripts import Call, Word
from dispatch_celery.work.model import LIMITED, PENDING, WorkRef
from dispatch_celery.work.scripts import Answer, WorkScripts

__all__ = ["Known", "LimitStore", "Settled", "Word4", "dump"]

Word4 = tuple[str, str, str, str]
"""Word for a limit: verb (``ask``, ``return``), job id, number of the request, key."""

_AMOUNTS: Final = ("concurrency", "interval", "burst", "key_concurrency", "key_interval", "key_burst", "by", "spoken")


@dataclass(frozen=True, slots=True)
class Settled:
    """What a limit answered: permits granted, ms until another may be had (None: not before something changes)."""

    given: int
    after: int | None
    waiting: int
    lifted: bool
    resumed: bool
    """Whether a pause has ended by itself, and jobs and runs do not know yet."""


@dataclass(frozen=True, slots=True)
class Known:
    """What a limit knows of a job: whether it has a permit or waits for one, by which of its requests, and its key."""

    id: str
    holds: bool
    ask: str
    key: str


class LimitStore(WorkScripts):
    """The limits of one partition."""

    # -- setting

    def set(self, limit: str, fields: Mapping[str, Word], *, ends: int | None = None) -> int:
        """Change fields of a limit (an empty value takes one away), and put it in force; return its revision.

        ``ends``: when a pause is to end, in ms since 1970; it leaves one that lasts longer as it is.
        """
        rest = [word for pair in fields.items() for word in pair]
        keys = {"limit": self._keys.limit(limit), "names": self._keys.limit_names}
        call = Call.of(
            "queues/limit",
            keys,
            {"now": self._time.word, "limit": limit, "ends": "" if ends is None else ends},
            rest=rest,
        )
        return int(words(ask(self.port, call))[1])

    def enforce(self, limit: str, *, paused: bool) -> None:
        """Let the scripts of jobs and runs know of a limit."""
        ask(self.port, Call.command("HSET", self._keys.limits, limit, "paused" if paused else "on"))

    def lift(self, limit: str) -> None:
        """Let them know of it no more."""
        ask(self.port, Call.command("HDEL", self._keys.limits, limit))

    def heal(self, limits: Sequence[str]) -> None:
        """Let them know of limits as those stand: one whose change was cut off, or whose pause has ended."""
        keys = self._keys
        found = ask_all(
            self.port, [Call.command("HMGET", keys.limit(one), "revision", "paused", "lifted") for one in limits]
        )
        calls = []
        for limit, (revision, paused, lifted) in zip(limits, found, strict=True):
            if revision is None or lifted:
                calls.append(Call.command("HDEL", keys.limits, limit))
            else:
                calls.append(Call.command("HSET", keys.limits, limit, "paused" if paused else "on"))
            calls.append(Call.command("HDEL", keys.limit(limit), "resumed"))
        ask_all(self.port, calls)

    def look(self, limit: str, revision: int) -> None:
        """Leave word that a limit was changed, and ring the leader."""
        row = f"look - {revision} {limit}"
        calls = [Call.command("ZADD", self._keys.permits, 0, row), Call.command("PUBLISH", self._keys.permits, "look")]
        ask_all(self.port, calls)

    def dissolve(self, limit: str) -> bool:
        """Delete a lifted limit that nobody waits for or has a permit of; return whether that is so."""
        call = Call.of(
            "queues/dissolve", {**self._limit_keys(limit), "names": self._keys.limit_names}, {"limit": limit}
        )
        return words(ask(self.port, call))[0] == "DONE"

    # -- permits

    def settle(self, limit: str, told: Sequence[Word4], *, batch: int) -> Settled | None:
        """Tell a limit what jobs ask for and give back; let it hand out what it can. None: there is no such limit."""
        return self.settle_all({limit: told}, batch=batch)[0][limit]

    def settle_all(
        self, told: Mapping[str, Sequence[Word4]], *, batch: int
    ) -> tuple[dict[str, Settled | None], list[str]]:
        """Do as ``settle`` for several limits; return with it the oldest permits that wait to be handed over.

        A permit is a row: job id, number of the request, limit.
        """
        calls = [
            Call.of(
                "queues/settle",
                self._limit_keys(limit),
                {"now": self._time.word, "limit": limit, "batch": batch},
                rest=[word for one in words_ for word in one],
            )
            for limit, words_ in told.items()
        ]
        *replies, grants = ask_all(self.port, [*calls, self._granted(batch)])
        return {limit: _settled(words(reply)) for limit, reply in zip(told, replies, strict=True)}, words(grants)

    def permit(self, permits: Sequence[tuple[WorkRef, str, str]]) -> list[Answer]:
        """Hand jobs the permits of limits (ref, limit, number of the request) in one trip."""
        calls = [
            Call.of(
                "jobs/permit",
                self._move_keys(ref, LIMITED, PENDING),
                {**self._common(ref), "limit": limit, "ask": number},
            )
            for ref, limit, number in permits
        ]
        return [self._answer_of(reply) for reply in ask_all(self.port, calls)]

    @staticmethod
    def _answer_of(reply: Any) -> Answer:
        verdict, *rest = words(reply)
        return Answer(verdict, rest[-1] if rest else "")

    def told(self, count: int) -> list[str]:
        """Return the oldest rows that wait to be told to a limit: verb, job id, number, limit."""
        return words(ask(self.port, Call.command("ZRANGE", self._keys.permits, 0, count - 1)))

    def done(self, rows: Sequence[str], grants: Sequence[str], riders: Sequence[Call] = ()) -> bool:
        """Delete rows that were taken in and permits that were handed over, behind the riders of the same trip.

        Returns whether other rows came meanwhile, of which no bell has told.
        """
        lists = ((self._keys.permits, rows), (self._keys.grants, grants))
        deletions = [Call.command("ZREM", key, *members) for key, members in lists if members]
        if not riders and not deletions:
            return False
        replies = ask_all(self.port, [*riders, *deletions, Call.command("ZCARD", self._keys.permits)])
        return int(replies[-1]) > 0

    def _granted(self, count: int) -> Call:
        return Call.command("ZRANGE", self._keys.grants, 0, count - 1)

    def granted(self, count: int) -> list[str]:
        """Return the oldest permits that wait to be handed over: job id, number, limit."""
        return words(ask(self.port, self._granted(count)))

    # -- reading

    def names(self) -> list[str]:
        """Return every limit, the oldest first."""
        return words(ask(self.port, Call.command("ZRANGE", self._keys.limit_names, 0, 9_999)))

    def by(self, limits: Sequence[str]) -> list[str]:
        """Return by what limits tell keys apart; empty where they do not."""
        calls = [Call.command("HGET", self._keys.limit(limit), "by") for limit in limits]
        return [text(reply) for reply in ask_all(self.port, calls)]

    def declared(self, limits: Sequence[str]) -> list[str]:
        """Return how limits were last declared by an app; empty where none did."""
        calls = [Call.command("HGET", self._keys.limit(limit), "declared") for limit in limits]
        return [text(reply) for reply in ask_all(self.port, calls)] if calls else []

    def read(self, limits: Sequence[str]) -> list[Queue | None]:
        """Return how limits stand; None where there is none."""
        keys = self._keys
        calls = [
            call
            for limit in limits
            for call in (
                Call.command("HGETALL", keys.limit(limit)),
                Call.command("ZCARD", keys.limit(limit, "waiting")),
                Call.command("ZCARD", keys.limit(limit, "holders")),
            )
        ]
        replies = ask_all(self.port, calls)
        return [
            _queue(limit, pairs(fields), int(waiting), int(holders))
            for limit, fields, waiting, holders in zip(limits, replies[::3], replies[1::3], replies[2::3], strict=True)
        ]

    def census(self) -> QueuesCensus:
        """Look at every limit."""
        return take_limit_census(self.port, self._keys, self._time.now)

    def known_of(self, limit: str, job_id: str) -> tuple[Known | None, int]:
        """Return what a limit knows of one job, and how many of its key came before it."""
        keys = self._keys
        line = ask(self.port, Call.command("HGET", keys.limit(limit, "known"), job_id))
        if line is None:
            return None, 0
        known, member = _known(job_id, text(line)), text(line).split(" ", 2)[2]
        before = Call.command("ZLEXCOUNT", keys.limit(limit, "waiting"), f"[{known.key}\t", f"({member}")
        return known, int(ask(self.port, before))

    def holders(self, limit: str, count: int) -> list[str]:
        """Return some ids of those that have a permit."""
        members = words(ask(self.port, Call.command("ZRANGE", self._keys.limit(limit, "holders"), 0, count - 1)))
        return [member.rpartition("\t")[2] for member in members]

    def awaited(self, job_id: str) -> str:
        """Return the limit that a job waits for; empty where it waits for none."""
        return text(ask(self.port, Call.command("HGET", self._keys.record(job_id), "limit")))

    def payloads(self, job_ids: Sequence[str]) -> list[bytes]:
        """Return the arguments of jobs as they are stored."""
        calls = [Call.command("HGET", self._keys.record(job_id), "payload") for job_id in job_ids]
        return [reply or b"{}" for reply in ask_all(self.port, calls)]

    def _limit_keys(self, limit: str) -> dict[str, str]:
        parts = ("waiting", "turns", "resting", "holders", "known", "buckets")
        named = {part: self._keys.limit(limit, part) for part in parts}
        return {**named, "limit": self._keys.limit(limit), "grants": self._keys.grants}


def _settled(reply: Sequence[str]) -> Settled | None:
    if reply[0] == "GONE":
        return None
    _, given, after, waiting, lifted, resumed = reply
    left = int(after)
    return Settled(
        given=int(given),
        after=None if left < 0 else left,
        waiting=int(waiting),
        lifted=lifted == "1",
        resumed=resumed == "1",
    )


def dump(limit: Limit) -> dict[str, Word]:
    """Return a limit as it is stored; what it does not say is taken away."""
    fields: dict[str, Word] = dict.fromkeys(_AMOUNTS, "")
    fields |= _amounts("", limit.concurrency, limit.rate, limit.burst)
    if limit.per_key is not None:
        each = limit.per_key
        fields |= {"by": each.by, **_amounts("key_", each.concurrency, each.rate, each.burst)}
        fields |= {f"weight:{key}": repr(float(weight)) for key, weight in each.weights.items()}
    return {**fields, "spoken": json.dumps(_spoken(limit))}


def _amounts(prefix: str, concurrency: int | None, rate: Rate | str | None, burst: int | None) -> dict[str, Word]:
    fields: dict[str, Word] = {}
    if concurrency is not None:
        fields[f"{prefix}concurrency"] = concurrency
    if rate is not None:
        parsed = Rate.parse(rate)
        fields |= {f"{prefix}interval": repr(parsed.interval), f"{prefix}burst": burst or parsed.usual_burst}
    return fields


def _spoken(limit: Limit | PerKey) -> dict[str, Any]:
    """Return the words in which a limit was given, to show it in."""
    rate = str(limit.rate) if limit.rate else None
    said: dict[str, Any] = {"concurrency": limit.concurrency, "rate": rate, "burst": limit.burst}
    if isinstance(limit, PerKey):
        said |= {"by": limit.by, "weights": dict(limit.weights)}
    elif limit.per_key is not None:
        said["per_key"] = _spoken(limit.per_key)
    return {name: value for name, value in said.items() if value}


def _queue(limit: str, fields: Mapping[str, bytes], waiting: int, holders: int) -> Queue | None:
    if not fields:
        return None
    kind, _, name = limit.partition(":")
    return Queue(
        name=name,
        kind=kind,
        limit=_limit(fields.get("spoken")),
        paused=fields.get("paused") == b"1",
        paused_until=from_ms(int(fields["paused_until"])) if "paused_until" in fields else None,
        limited=waiting,
        permits=holders,
        revision=int(fields.get("revision", 0)),
    )


def _limit(spoken: bytes | None) -> Limit | None:
    if not spoken:
        return None
    said = json.loads(spoken)
    per_key = said.pop("per_key", None)
    return Limit(**said, per_key=PerKey(**per_key) if per_key else None)


def _known(job_id: str, line: str) -> Known:
    standing, number, member = line.split(" ", 2)
    return Known(id=job_id, holds=standing == "holds", ask=number, key=member.partition("\t")[0])
