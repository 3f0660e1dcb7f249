"""Reads stored dead letters as values for people: failed jobs, and messages that never became one."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence

from dispatch_celery.clock import from_ms
from dispatch_celery.dlq.model import DeadLetter, DeadLetterKind, DeadLetterNote, DeadLetterOrigin
from dispatch_celery.ids import DeadLetterId
from dispatch_celery.jobs.model import JobState
from dispatch_celery.jobs.records import JobRecords
from dispatch_celery.store.client import Store
from dispatch_celery.store.keys import Keys
from dispatch_celery.store.replies import ask_all, pairs, text
from dispatch_celery.store.scripts import Call

__all__ = ["DeadLetterRecords", "shown"]


class DeadLetterRecords:
    """Reads of one partition."""

    def __init__(self, store: Store, keys: Keys) -> None:
        self._store = store
        self._keys = keys

    def read(self, ids: Sequence[str]) -> list[DeadLetter | None]:
        """Return dead letters by the members of their index, in one trip: job ids, and ids of raw messages."""
        calls = [Call.command("HGETALL", self._key(name)) for name in ids]
        return [
            _letter(name, pairs(reply)) if reply else None
            for name, reply in zip(ids, ask_all(self._store, calls), strict=True)
        ]

    def _key(self, name: str) -> str:
        return self._keys.record(name) if name.startswith("job_") else self._keys.raw(name)


def _letter(name: str, fields: Mapping[str, bytes]) -> DeadLetter | None:
    return _of_job(name, fields) if name.startswith("job_") else _of_message(name, fields)


def _of_job(name: str, fields: Mapping[str, bytes]) -> DeadLetter | None:
    if text(fields.get("state")) != JobState.FAILED:
        return None
    job = JobRecords.of(name, fields)
    if job.finished_at is None:
        return None
    return DeadLetter(
        id=DeadLetterId.of_job(job.id),
        kind=DeadLetterKind.JOB,
        origin=DeadLetterOrigin.UNKNOWN_JOB if job.reason == "unknown" else DeadLetterOrigin.JOB,
        fingerprint=text(fields.get("fingerprint")),
        reason=job.reason,
        died_at=job.finished_at,
        queue=job.queue,
        name=job.name,
        job_id=job.id,
        job=job,
        failure=job.failure,
        replayed_as=job.replayed_as,
        notes=_notes(fields),
    )


def _of_message(name: str, fields: Mapping[str, bytes]) -> DeadLetter:
    reason = text(fields.get("reason"))
    # A release before origins said it in the reason only.
    guessed = DeadLetterOrigin.UNKNOWN_TASK if reason.startswith("unknown task ") else DeadLetterOrigin.MESSAGE
    put_back = int(fields.get("put_back", 0))
    return DeadLetter(
        id=DeadLetterId(name),
        kind=DeadLetterKind.MESSAGE,
        origin=DeadLetterOrigin(text(fields["origin"])) if "origin" in fields else guessed,
        fingerprint=text(fields.get("fingerprint")),
        reason=reason,
        died_at=from_ms(int(fields["received_at"])),
        queue=text(fields.get("queue")),
        name=text(fields.get("name")),
        replayed_as=from_ms(put_back).isoformat(timespec="milliseconds") if put_back else "",
        raw=fields.get("raw", b""),
        notes=_notes(fields),
    )


def _notes(fields: Mapping[str, bytes]) -> tuple[DeadLetterNote, ...]:
    lines = [json.loads(line) for line in fields.get("notes", b"").splitlines()]
    return tuple(DeadLetterNote(at=from_ms(line["at"]), by=line["by"], text=line["text"]) for line in lines)


def shown(raw: bytes, longest: int = 200) -> str:
    """Return a raw message for people: text where it is text, base64 where not."""
    try:
        words_ = raw.decode()
    except UnicodeDecodeError:
        words_ = "base64:" + base64.b64encode(raw).decode()
    return words_ if len(words_) <= longest else f"{words_[:longest]}..."
