"""One typed method per script of ``lua/queues``, and the reads of limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dispatch_celery.queues.census import QueuesCensus, take_limit_census
from dispatch_celery.queues.model import Queue
from dispatch_celery.queues.pacing import next_by_rate
from dispatch_celery.queues.records import in_force, queue_of
from dispatch_celery.store.replies import ask, ask_all, pairs, text, words
from dispatch_celery.store.scripts import Call, Word
from dispatch_celery.work.model import LIMITED, PENDING, WorkRef
from dispatch_celery.work.scripts import Answer, WorkScripts

__all__ = ["Known", "LimitStore", "Settled", "Word4"]

Word4 = tuple[str, str, str, str]
"""Word for a limit: verb (``ask``, ``return``), job id, number of the request, key."""


@dataclass(frozen=True, slots=True)
class Settled:
    """What a limit answered: permits granted, ms until another may be had (None: not before something changes)."""

    given: int
    after: int | None
    waiting: int
    lifted: bool
    resumed: bool
    """Whether a pause has ended by itself, and jobs and runs do not know yet."""
    rekey: str
    """Where to go on with new keys for those it knows; empty where all have theirs."""
    stale: bool = False
    """Whether it tells keys by something else than it was told: it has taken in no request."""


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

    def set(
        self,
        limit: str,
        fields: Mapping[str, Word],
        *,
        weights: Mapping[str, float] | None = None,
        ends: int | None = None,
        declaration: str = "",
    ) -> int:
        """Change fields of a limit (an empty value takes one away); return its revision, and 0 where there is none.

        ``weights``: instead of those there are; None leaves them. ``ends``: when a pause is to end, in ms since 1970;
        it leaves one that lasts longer as it is. ``declaration``: as an app has it; nothing is set by the last one.
        """
        keys = self._keys
        named = {
            "limit": keys.limit(limit),
            "names": keys.limit_names,
            "weights": keys.limit(limit, "weights"),
            "known": keys.limit(limit, "known"),
            "buckets": keys.limit(limit, "buckets"),
            "declared": keys.limits_declared,
            "permits": keys.permits,
        }
        arguments: dict[str, Word] = {
            "now": self._time.word,
            "limit": limit,
            "ends": "" if ends is None else ends,
            "declaration": declaration,
            "weights": "" if weights is None else len(weights),
        }
        heavier: list[Word] = [word for key, weight in (weights or {}).items() for word in (key, repr(float(weight)))]
        rest = [*heavier, *(word for pair in fields.items() for word in pair)]
        return int(words(ask(self.port, Call.of("queues/limit", named, arguments, rest=rest)))[1])

    def enforce(self, limits: Sequence[str]) -> None:
        """Let the scripts of jobs and runs know of limits as those stand; of a lifted one no more."""
        keys = self._keys
        found = ask_all(
            self.port, [Call.command("HMGET", keys.limit(one), "revision", "lifted", "paused", "by") for one in limits]
        )
        calls = []
        for limit, (revision, lifted, paused, by) in zip(limits, found, strict=True):
            if revision is None or lifted:
                calls.append(Call.command("HDEL", keys.limits, limit))
            else:
                calls.append(Call.command("HSET", keys.limits, limit, in_force(text(paused), text(by))))
            calls.append(Call.command("HDEL", keys.limit(limit), "resumed"))
        ask_all(self.port, calls)

    def look(self, limit: str, revision: int) -> None:
        """Leave word that a limit is in force as it was changed, and ring the leader.

        The script has left word of its own: the leader may have taken that in before an older change was put in force.
        """
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

    def settle(self, limit: str, told: Sequence[Word4], *, by: str = "", batch: int) -> Settled | None:
        """Tell one limit what jobs ask for and give back, as ``settle_all`` does."""
        return self.settle_all({limit: told}, {limit: by}, batch=batch)[0][limit]

    def settle_all(
        self, told: Mapping[str, Sequence[Word4]], by: Mapping[str, str], *, batch: int
    ) -> tuple[dict[str, Settled | None], list[str]]:
        """Tell limits what jobs ask for, with keys by what ``by`` says of each, and give back; let them hand out.

        Returns what each answered, None where there is no such limit, and the oldest permits that wait to be handed
        over. A permit is a row: job id, number of the request, limit.
        """
        calls = [
            Call.of(
                "queues/settle",
                self._limit_keys(limit),
                {"now": self._time.word, "limit": limit, "batch": batch, "by": by.get(limit, "")},
                rest=[word for one in words_ for word in one],
            )
            for limit, words_ in told.items()
        ]
        *replies, grants = ask_all(self.port, [*calls, self._granted(batch)])
        return {limit: _settled(words(reply)) for limit, reply in zip(told, replies, strict=True)}, words(grants)

    def known(self, limit: str, mark: str, count: int) -> tuple[str, list[Known]]:
        """Return about so many of those that a limit knows, from a mark on, and the next mark: 0 at the end.

        A mark says nothing to another process of the server, which keeps them in another order: there is begun anew.
        """
        cursor, _, process = mark.partition(" ")
        calls = [
            Call.command("INFO", "server"),
            Call.command("HSCAN", self._keys.limit(limit, "known"), cursor, "COUNT", count),
        ]
        info, (after, found) = ask_all(self.port, calls)
        answers = next(line.partition(":")[2] for line in text(info).splitlines() if line.startswith("run_id:"))
        if cursor != "0" and process != answers:
            return self.known(limit, "0", count)
        lines = words(found)
        known = [_known(job_id, line) for job_id, line in zip(lines[::2], lines[1::2], strict=True)]
        return text(after) if text(after) == "0" else f"{text(after)} {answers}", known

    def rekey(self, limit: str, by: str, mark: str, after: str, keys: Sequence[tuple[str, str, str]]) -> bool:
        """Tell a limit the keys (id, number of the request, key) of those from one mark to the next.

        Returns False where that is not what it needs: it was changed, or somebody else went on from there.
        """
        call = Call.of(
            "queues/rekey",
            self._limit_keys(limit),
            {"by": by, "cursor": mark, "next": after},
            rest=[word for one in keys for word in one],
        )
        return words(ask(self.port, call))[0] == "DONE"

    def permit(self, permits: Sequence[tuple[WorkRef, str, str, bool]]) -> list[Answer]:
        """Hand jobs the permits of limits in one trip: ref, limit, number of the request, whether the limit is gone."""
        calls = [
            Call.of(
                "jobs/permit",
                self._move_keys(ref, LIMITED, PENDING),
                {**self._common(ref), "limit": limit, "ask": number, "free": "1" if free else ""},
            )
            for ref, limit, number, free in permits
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
            queue_of(limit, pairs(fields), int(waiting), int(holders))
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

    def next_at(self, limit: str, key: str) -> int | None:
        """Return when a rate lets the next of a key begin, in ms since 1970; None where none holds it back."""
        return next_by_rate(self.port, self._keys, limit, key, self._time.now)

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
        parts = ("weights", "waiting", "turns", "resting", "holders", "known", "buckets")
        named = {part: self._keys.limit(limit, part) for part in parts}
        return {**named, "limit": self._keys.limit(limit), "grants": self._keys.grants}


def _settled(reply: Sequence[str]) -> Settled | None:
    verdict, *rest = reply
    if verdict == "GONE":
        return None
    if verdict == "STALE":
        return Settled(given=0, after=0, waiting=1, lifted=False, resumed=False, rekey="", stale=True)
    given, after, waiting, lifted, resumed, rekey = rest
    left = int(after)
    return Settled(
        given=int(given),
        after=None if left < 0 else left,
        waiting=int(waiting),
        lifted=lifted == "1",
        resumed=resumed == "1",
        rekey=rekey,
    )


def _known(job_id: str, line: str) -> Known:
    standing, number, member = line.split(" ", 2)
    return Known(id=job_id, holds=standing == "holds", ask=number, key=member.partition("\t")[0])
