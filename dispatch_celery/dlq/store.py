"""One typed method per script of ``lua/dlq``, and the reads of dead letters."""

from __future__ import annotations

import base64
from collections.abc import Sequence

from dispatch_celery.clock import from_ms
from dispatch_celery.config import Settings
from dispatch_celery.dlq.model import DeadLetter, DeadLetterKind
from dispatch_celery.ids import DeadLetterId, JobId
from dispatch_celery.jobs.model import Job, NewJob
from dispatch_celery.jobs.records import JobRecords
from dispatch_celery.store.client import Store
from dispatch_celery.store.keys import Keys
from dispatch_celery.store.replies import ask, ask_all, pairs, text, words
from dispatch_celery.store.scripts import Call, Word
from dispatch_celery.store.servertime import ServerTime
from dispatch_celery.work.records import encode_spec
from dispatch_celery.work.scripts import MARK_GRACE, Answer

__all__ = ["DeadLetterStore", "shown"]


class DeadLetterStore:
    """The dead letters of one partition."""

    def __init__(self, store: Store, keys: Keys, settings: Settings, time: ServerTime) -> None:
        self.port = store
        self._keys = keys
        self._settings = settings
        self._time = time
        self._records = JobRecords(store, keys)

    @property
    def index(self) -> str:
        """The set of all dead letters, by time of death."""
        return self._keys.dead

    def replay(self, dead: JobId, job: NewJob) -> Answer:
        """Make a new job out of a dead letter, once."""
        keys, ref = self._keys, job.ref
        rest: list[Word] = ["name", ref.name, "spec", encode_spec(job.spec), "payload", job.payload]
        call = Call.of(
            "dlq/replay",
            {
                "dead_record": keys.record(dead),
                "record": keys.record(ref.id),
                "to_state": keys.state("pending"),
                "to_name": keys.name("pending", ref.name),
                "scope": keys.scope(ref.scope),
                "lane": keys.lane(ref.lane),
                "lanes": keys.lanes,
                "marks": keys.marks,
                "journal": keys.journal,
            },
            {
                "now": self._time.word,
                "journal": self._settings.journal,
                "id": ref.id,
                "lane": ref.lane,
                "scoped": "1" if ref.scope else "",
                "grace": MARK_GRACE,
            },
            rest=rest,
        )
        return Answer(*words(ask(self.port, call))[:2])

    def bury(self, raw: bytes, *, queue: str, reason: str, dead_letter_id: DeadLetterId | None = None) -> DeadLetterId:
        """Keep a message as a raw dead letter; return its id."""
        name = dead_letter_id or DeadLetterId.mint()
        call = Call.of(
            "dlq/bury",
            {
                "raw": self._keys.raw(name),
                "dead": self._keys.dead,
                "expiry": self._keys.expiry,
                "journal": self._keys.journal,
            },
            {
                "now": self._time.word,
                "journal": self._settings.journal,
                "id": name,
                "retain": self._settings.retain_failed,
            },
            rest=["raw", raw, "queue", queue, "reason", reason],
        )
        ask(self.port, call)
        return name

    def read(self, ids: Sequence[str]) -> list[DeadLetter | None]:
        """Return dead letters by the members of the index: job ids, and ids of raw messages."""
        jobs = [name for name in ids if name.startswith("job_")]
        found = dict(zip(jobs, self._records.jobs(jobs), strict=True))
        raws = [name for name in ids if not name.startswith("job_")]
        replies = ask_all(self.port, [Call.command("HGETALL", self._keys.raw(name)) for name in raws])
        messages = dict(zip(raws, replies, strict=True))
        return [_of_job(found[name]) if name in found else _of_message(name, messages[name]) for name in ids]


def _of_job(job: Job | None) -> DeadLetter | None:
    if job is None or job.state != "failed" or job.finished_at is None:
        return None
    return DeadLetter(
        id=DeadLetterId.of_job(job.id),
        kind=DeadLetterKind.JOB,
        reason=job.reason,
        died_at=job.finished_at,
        queue=job.queue,
        name=job.name,
        job_id=job.id,
        job=job,
        failure=job.failure,
        replayed_as=job.replayed_as,
    )


def _of_message(name: str, reply: Sequence[bytes]) -> DeadLetter | None:
    if not reply:
        return None
    fields = pairs(reply)
    return DeadLetter(
        id=DeadLetterId(name),
        kind=DeadLetterKind.MESSAGE,
        reason=text(fields.get("reason")),
        died_at=from_ms(int(fields["received_at"])),
        queue=text(fields.get("queue")),
        raw=fields.get("raw", b""),
    )


def shown(raw: bytes, longest: int = 200) -> str:
    """Return a raw message for people: text where it is text, base64 where not."""
    try:
        words_ = raw.decode()
    except UnicodeDecodeError:
        words_ = "base64:" + base64.b64encode(raw).decode()
    return words_ if len(words_) <= longest else f"{words_[:longest]}..."
