"""One typed method per script of ``lua/dlq``, and the reads of dead letters."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from dispatch_celery.config import Settings
from dispatch_celery.dlq.model import DeadLetter, DeadLetterOrigin
from dispatch_celery.dlq.pacing import Pace
from dispatch_celery.dlq.records import DeadLetterRecords, shown
from dispatch_celery.ids import DeadLetterId, JobId
from dispatch_celery.jobs.definition import is_name
from dispatch_celery.jobs.model import JobState, NewJob
from dispatch_celery.store.client import Store
from dispatch_celery.store.keys import Keys
from dispatch_celery.store.replies import ask, ask_all, text, words
from dispatch_celery.store.scripts import Call, Word
from dispatch_celery.store.servertime import ServerTime
from dispatch_celery.work.fingerprint import fingerprint_of
from dispatch_celery.work.records import encode_spec
from dispatch_celery.work.scripts import MARK_GRACE

__all__ = ["DeadLetterStore", "Replayed", "Tally", "Unfiled", "shown"]

NOTES: Final = 20
"""How many notes a dead letter keeps; the oldest go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What is counted of one fingerprint; times in ms, ``latest`` the member of the index that died last."""

    count: int
    first_at: int
    last_at: int
    latest: str
    names: Mapping[str, int]


class Unfiled:
    """A dead letter that may not be filed: what it is filed under, and what its fingerprint is made of."""

    __slots__ = ("error", "mark", "member", "name", "reason")

    def __init__(self, member: str, name: bytes, mark: bytes, reason: bytes, error: bytes) -> None:
        self.member, self.name, self.mark = member, text(name), text(mark)
        self.reason, self.error = text(reason), error


@dataclass(frozen=True, slots=True)
class Replayed:
    """What came of a replay: ``CREATED`` (when, in which state), ``EXISTING`` (the first's id, edits), or ``STATE``."""

    verdict: str
    detail: str = ""
    further: str = ""

    @property
    def is_ready(self) -> bool:
        """Whether there is a new job, and it is due at once."""
        return self.verdict == "CREATED" and self.further == JobState.PENDING


class DeadLetterStore:
    """The dead letters of one partition."""

    def __init__(self, store: Store, keys: Keys, settings: Settings, time: ServerTime) -> None:
        self.port = store
        self._keys = keys
        self._settings = settings
        self._time = time
        self._records = DeadLetterRecords(store, keys)

    @property
    def index(self) -> str:
        """The set of all dead letters, by time of death."""
        return self._keys.dead

    def replay(self, dead: JobId, job: NewJob, *, edits: str = "") -> Replayed:
        """Make a new job out of a dead letter, once. ``edits``: a digest of what differs from the dead job."""
        (answer,) = self.replay_many([(dead, job, edits)])
        return answer

    def replay_many(self, jobs: Sequence[tuple[JobId, NewJob, str]], pace: Pace | None = None) -> list[Replayed]:
        """Make new jobs out of dead letters in one trip, each once; with a pace, due one after the other."""
        replies = ask_all(self.port, [self._replaying(dead, job, edits, pace) for dead, job, edits in jobs])
        return [Replayed(*words(reply)) for reply in replies]

    def _replaying(self, dead: JobId, job: NewJob, edits: str, pace: Pace | None) -> Call:
        keys, ref = self._keys, job.ref
        rest: list[Word] = ["name", ref.name, "spec", encode_spec(job.spec), "payload", job.payload]
        return Call.of(
            "dlq/replay",
            {
                "dead_record": keys.record(dead),
                "record": keys.record(ref.id),
                "ready_state": keys.state(JobState.PENDING),
                "ready_name": keys.name(JobState.PENDING, ref.name),
                "later_state": keys.state(JobState.SCHEDULED),
                "later_name": keys.name(JobState.SCHEDULED, ref.name),
                "scope": keys.scope(ref.scope),
                "lane": keys.lane(ref.lane),
                "lanes": keys.lanes,
                "marks": keys.marks,
                "timers": keys.timers,
                "pace": keys.pace(pace.line if pace else ""),
                "journal": keys.journal,
            },
            {
                "now": self._time.word,
                "journal": self._settings.journal,
                "id": ref.id,
                "lane": ref.lane,
                "scoped": "1" if ref.scope else "",
                "grace": MARK_GRACE,
                "delay": "" if job.delay is None else job.delay,
                "interval": "" if pace is None else repr(pace.interval),
                "edits": edits,
            },
            rest=rest,
        )

    def replayed(self, dead: JobId) -> Replayed:
        """Return what a replay of this dead letter would be told, one without edits where it would be the first."""
        fields = ("state", "replayed_as", "replayed_with")
        state, first, edits = ask(self.port, Call.command("HMGET", self._keys.record(dead), *fields))
        if first is not None:
            return Replayed("EXISTING", text(first), text(edits))
        return Replayed("CREATED") if text(state) == JobState.FAILED else Replayed("STATE", text(state) or "missing")

    def payloads(self, dead: Sequence[JobId]) -> list[bytes]:
        """Return the arguments of dead jobs, as JSON."""
        replies = ask_all(self.port, [Call.command("HGET", self._keys.record(one), "payload") for one in dead])
        return [reply or b"{}" for reply in replies]

    def known(self, dead: Sequence[tuple[str, str]]) -> list[bool]:
        """Return of dead jobs, by id and name, whether a worker has known the name; of those that lacked one, since."""
        asked = [Call.command("ZSCORE", self._keys.known, name) for _, name in dead]
        asked += [Call.command("ZSCORE", self._keys.unknown, job_id) for job_id, _ in dead]
        scores = [float(reply or 0) for reply in ask_all(self.port, asked)]
        return [last > died for last, died in zip(scores[: len(dead)], scores[len(dead) :], strict=True)]

    def bury(
        self,
        raw: bytes,
        *,
        queue: str,
        reason: str,
        name: str = "",
        origin: DeadLetterOrigin = DeadLetterOrigin.MESSAGE,
        dead_letter_id: DeadLetterId | None = None,
    ) -> DeadLetterId:
        """Keep a message as a raw dead letter; return its id. ``name``: of the task it calls, if any."""
        letter_id = dead_letter_id or DeadLetterId.mint()
        named = name if is_name(name) else ""
        call = Call.of(
            "dlq/bury",
            {
                "raw": self._keys.raw(letter_id),
                "dead": self._keys.dead,
                "letters": self._keys.letters,
                "groups": self._keys.groups,
                "expiry": self._keys.expiry,
                "journal": self._keys.journal,
            },
            {
                "now": self._time.word,
                "journal": self._settings.journal,
                "id": letter_id,
                "name": named,
                "fingerprint": fingerprint_of(None, name=named, reason=reason),
                "retain": self._settings.retain_failed,
            },
            rest=["raw", raw, "queue", queue, "reason", reason, "origin", origin],
        )
        ask(self.port, call)
        return letter_id

    def note(self, member: str, note: str, by: str, words_: str) -> str:
        """Write a note on a dead letter; ``note`` makes it one, however often it is sent. Return the verdict."""
        rest = json.dumps({"by": by, "text": words_})[1:]
        told: dict[str, Word] = {"now": self._time.word, "id": member, "note": note, "rest": rest, "most": NOTES}
        return words(
            ask(self.port, Call.of("dlq/note", {"entry": self._entry(member), "dead": self._keys.dead}, told))
        )[0]

    def put_back(self, letter_id: str, asker: str, step: str, *, force: bool = False) -> tuple[str, str]:
        """Ask to put a message back, or say that it is done; return the verdict and the time it tells."""
        told: dict[str, Word] = {"now": self._time.word, "asker": asker, "step": step, "force": "1" if force else ""}
        verdict, *rest = words(ask(self.port, Call.of("dlq/putback", {"raw": self._keys.raw(letter_id)}, told)))
        return verdict, rest[0] if rest else ""

    def alert(self, threshold: int, *, term: str = "", told: bool = False) -> tuple[str, int]:
        """Return whether there are more dead letters than there should be (``PASSED``: tell it), and how many."""
        keys = self._keys
        call = Call.of(
            "dlq/alert",
            {"dead": keys.dead, "alarm": keys.alarm, "leader": keys.leader},
            {"now": self._time.word, "threshold": threshold, "told": "1" if told else "", "term": term},
        )
        verdict, count = words(ask(self.port, call))
        return verdict, int(count)

    def excess(self, most: int) -> int:
        """Return how many dead letters there are above a number."""
        return max(0, int(ask(self.port, Call.command("ZCARD", self._keys.dead))) - most)

    def oldest(self, count: int) -> list[str]:
        """Return the members of the index that died first."""
        return words(ask(self.port, Call.command("ZRANGE", self._keys.dead, 0, count - 1)))

    def sizes(self) -> tuple[int, int]:
        """Return how many dead letters there are, and how many of them are filed: older releases file none."""
        calls = [Call.command("ZCARD", self._keys.dead), Call.command("ZLEXCOUNT", self._keys.letters, "[f ", "(f!")]
        total, filed = ask_all(self.port, calls)
        return int(total), int(filed)

    def unfiled(self, place: int, limit: int) -> tuple[int, list[Unfiled]]:
        """Return how many dead letters there are from a place on, at most so many, and which of them are not filed."""
        keys = self._keys
        flat = words(ask(self.port, Call.command("ZRANGE", keys.dead, place, place + limit - 1, "WITHSCORES")))
        members = list(zip(flat[::2], flat[1::2], strict=True))
        asked = [
            Call.command("HMGET", self._entry(one), "name", "fingerprint", "reason", "error") for one, _ in members
        ]
        found = [Unfiled(one, *reply) for (one, _), reply in zip(members, ask_all(self.port, asked), strict=True)]
        filed = ask_all(
            self.port,
            [
                Call.command("ZSCORE", keys.letters, f"f {one.mark} {one.name} {float(died):013.0f} {one.member}")
                for one, (_, died) in zip(found, members, strict=True)
            ],
        )
        return len(members), [one for one, there in zip(found, filed, strict=True) if there is None]

    def entries(self, after: str, limit: int) -> list[str]:
        """Return some of what is filed by fingerprint, from behind an entry on."""
        call = Call.command("ZRANGEBYLEX", self._keys.letters, f"({after}", "(f!", "LIMIT", 0, limit)
        return words(ask(self.port, call))

    def refile(self, member: str, *, name: str, fingerprint: str, filed_at: str = "") -> bool:
        """File a dead letter, or take an entry (``filed_at``) out that is of none; return whether it was changed."""
        keys = self._keys
        call = Call.of(
            "dlq/refile",
            {"entry": self._entry(member), "dead": keys.dead, "letters": keys.letters, "groups": keys.groups},
            {"id": member, "name": name, "fingerprint": fingerprint, "filed_at": filed_at},
        )
        return words(ask(self.port, call))[0] == "DONE"

    def _entry(self, member: str) -> str:
        return self._keys.record(member) if member.startswith(JobId.prefix) else self._keys.raw(member)

    def tallies(self, fingerprints: Sequence[str], *, most: int = 100) -> list[Tally]:
        """Return what is counted of each fingerprint, with at most so many of its names."""
        call = Call.of("dlq/groups", {"letters": self._keys.letters}, {"most": most}, rest=list(fingerprints))
        return [_tally(words(told)) for told in ask(self.port, call)] if fingerprints else []

    def read(self, ids: Sequence[str]) -> list[DeadLetter | None]:
        """Return dead letters by the members of the index: job ids, and ids of raw messages."""
        return self._records.read(ids)


def _tally(told: Sequence[str]) -> Tally:
    count, first, last, *names = told
    first_at, _, _ = first.partition(" ")
    last_at, _, latest = last.partition(" ")
    return Tally(
        count=int(count),
        first_at=int(first_at or 0),
        last_at=int(last_at or 0),
        latest=latest,
        names={name: int(many) for name, many in zip(names[::2], names[1::2], strict=True)},
    )
