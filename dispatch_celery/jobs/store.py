"""One typed method per script of ``lua/jobs``: what callers and workers may do to a job.

A method that ends a claim takes the claim's token and answers with an ``Answer``: ``DONE``, ``REPEATED`` (the
same outcome was recorded before: as good as done), ``FENCED`` (somebody else decides about this job now), or
``CANCELLING`` (the job was asked to cancel: record that instead).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from dispatch_celery.config import Settings
from dispatch_celery.jobs.model import JobRef, JobState
from dispatch_celery.jobs.records import Stored
from dispatch_celery.store.client import Store
from dispatch_celery.store.keys import Keys
from dispatch_celery.store.replies import ask, ask_all, text, words
from dispatch_celery.store.scripts import Call, Word
from dispatch_celery.store.servertime import ServerTime

__all__ = ["MARK_GRACE", "Answer", "Claim", "JobStore", "NewJob"]

MARK_GRACE: Final = 1_000
"""Milliseconds after which a ready mark that its publisher did not clear is swept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """A job about to be written. ``spec`` and ``payload`` are JSON texts the server never reads."""

    ref: JobRef
    spec: bytes
    payload: bytes
    delay: int | None = None
    run_at: int | None = None
    expires: int | None = None
    digest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What a worker was given: the right to end this job, and all it needs to run it."""

    id: str
    holder: str
    token: str
    claimed_at: int
    payload: bytes
    spec: bytes
    attempts: int
    crashes: int
    lost_workers: int
    snoozes: int

    @classmethod
    def of(cls, stored: Stored) -> Claim:
        """Return the claim under which a record says that it runs."""
        return cls(
            id=stored.ref.id,
            holder=stored.holder,
            token=stored.token,
            claimed_at=0,
            payload=b"",
            spec=b"",
            attempts=stored.attempts,
            crashes=stored.crashes,
            lost_workers=stored.lost_workers,
            snoozes=0,
        )


@dataclass(frozen=True, slots=True)
class Answer:
    """A script's verdict and what it tells besides."""

    verdict: str
    detail: str = ""

    @property
    def recorded(self) -> bool:
        """Whether this outcome is the one the record has."""
        return self.verdict in ("DONE", "REPEATED")


class JobStore:
    """The scripts of one partition, typed."""

    def __init__(self, store: Store, keys: Keys, settings: Settings, time: ServerTime) -> None:
        self.port = store
        self._store = store
        self._keys = keys
        self._settings = settings
        self._time = time

    # -- keys and arguments that most scripts share

    def _move_keys(self, ref: JobRef, source: str, target: str) -> dict[str, str]:
        keys = self._keys
        return {
            "record": keys.job(ref.id),
            "from_state": keys.state(source),
            "from_name": keys.name(source, ref.name),
            "to_state": keys.state(target),
            "to_name": keys.name(target, ref.name),
            "scope": keys.scope(ref.scope),
            "lane": keys.lane(ref.lane),
            "lanes": keys.lanes,
            "marks": keys.marks,
            "timers": keys.timers,
            "expiry": keys.expiry,
            "dead": keys.dead,
            "unknown": keys.unknown,
            "leader": keys.leader,
            "journal": keys.journal,
            "idempotency": self.idempotency(ref),
        }

    def idempotency(self, ref: JobRef) -> str:
        """Return the idempotency key's key, or the record's own where the job has none (scripts then ignore it)."""
        if not ref.idempotency_key:
            return self._keys.job(ref.id)
        return self._keys.idempotency(ref.scope, ref.name, ref.idempotency_key)

    def _common(self, ref: JobRef) -> dict[str, Word]:
        settings = self._settings
        return {
            "now": self._time.word,
            "journal": settings.journal,
            "id": ref.id,
            "lane": ref.lane,
            "grace": MARK_GRACE,
            "scoped": "1" if ref.scope else "",
            "keyed": "1" if ref.idempotency_key else "",
            "retain_key": settings.retain_key,
        }

    def _retain(self, state: JobState) -> int:
        settings = self._settings
        return {
            JobState.COMPLETED: settings.retain_completed,
            JobState.CANCELLED: settings.retain_cancelled,
            JobState.FAILED: settings.retain_failed,
        }[state]

    def _answer(self, call: Call) -> Answer:
        reply = words(ask(self._store, call))
        return Answer(reply[0], reply[-1] if len(reply) > 1 else "")

    # -- callers

    def enqueue(self, jobs: Sequence[NewJob], riders: Mapping[str, Sequence[Call]] | None = None) -> list[Any]:
        """Write jobs in one trip, each followed by its riders (its message and the clearing of its mark).

        Returns a list of words, or a ``DispatchError``, for each job.
        """
        calls: list[Call] = []
        places: list[int] = []
        for job in jobs:
            places.append(len(calls))
            calls.append(self._enqueue_call(job))
            calls.extend((riders or {}).get(job.ref.id, ()))
        replies = self._store.execute(calls)
        return [reply if isinstance(reply := replies[place], Exception) else words(reply) for place in places]

    def _enqueue_call(self, job: NewJob) -> Call:
        ref, keys = job.ref, self._keys
        fields: list[Word] = ["name", ref.name, "spec", job.spec, "payload", job.payload]
        return Call.of(
            "jobs/enqueue",
            {
                **self._move_keys(ref, "new", JobState.PENDING),
                "later_state": keys.state(JobState.SCHEDULED),
                "later_name": keys.name(JobState.SCHEDULED, ref.name),
            },
            {
                **self._common(ref),
                "delay": "" if job.delay is None else job.delay,
                "run_at": "" if job.run_at is None else job.run_at,
                "expires": "" if job.expires is None else job.expires,
                "digest": job.digest,
            },
            rest=fields,
        )

    def clear_mark(self, job_id: str, wake: str) -> Call:
        """Return the command that says: this wake-up has been published."""
        return Call.command("ZREM", self._keys.marks, f"{job_id}:{wake}")

    def clear_marks(self, published: Sequence[tuple[str, str]]) -> None:
        """Say of several wake-ups that they have been published."""
        if published:
            ask(
                self._store,
                Call.command("ZREM", self._keys.marks, *(f"{job_id}:{wake}" for job_id, wake in published)),
            )

    def cancel(self, ref: JobRef, expected: JobState, reason: str) -> Answer:
        """Cancel a job that nobody holds, if it is still in the state the caller saw."""
        keys = self._move_keys(ref, expected, JobState.CANCELLED)
        arguments = {
            **self._common(ref),
            "expected": expected,
            "reason": reason,
            "retain": self._retain(JobState.CANCELLED),
        }
        return self._answer(Call.of("jobs/cancel", keys, arguments))

    def flag(self, ref: JobRef, holder: str, reason: str) -> Answer:
        """Ask the holder of a running job to cancel it."""
        keys = {
            "record": self._keys.job(ref.id),
            "held": self._keys.held(holder),
            "worker": self._keys.worker(holder),
        }
        return self._answer(Call.of("jobs/flag", keys, {"id": ref.id, "holder": holder, "reason": reason}))

    def reopen(self, ref: JobRef) -> Answer:
        """Make a failed job ready again under the same id."""
        keys = self._move_keys(ref, JobState.FAILED, JobState.PENDING)
        return self._answer(Call.of("jobs/reopen", keys, self._common(ref)))

    def delete(self, ref: JobRef, expected: JobState, *, term: str = "", force: bool = False) -> Answer:
        """Delete an ended job's record and all that names it."""
        keys = self._move_keys(ref, expected, expected)
        arguments = {**self._common(ref), "expected": expected, "term": term, "force": "1" if force else ""}
        return self._answer(Call.of("jobs/delete", keys, arguments))

    # -- workers

    def claim(self, ref: JobRef, *, holder: str, nonce: str, pid: int) -> tuple[str, Claim | tuple[str, ...]]:
        """Take a ready job. Returns ``CLAIMED`` and the claim, or another verdict and its details."""
        keys = self._keys
        call = Call.of(
            "jobs/claim",
            {
                **self._move_keys(ref, JobState.PENDING, JobState.RUNNING),
                "workers": keys.workers,
                "held": keys.held(holder),
            },
            {**self._common(ref), "name": ref.name, "holder": holder, "nonce": nonce, "pid": pid},
        )
        reply = ask(self._store, call)
        verdict = text(reply[0])
        if verdict != "CLAIMED":
            return verdict, tuple(words(reply[1:]))
        token, claimed_at, payload, spec, *counts = reply[1:]
        attempts, crashes, lost_workers, snoozes = (int(count) for count in counts)
        return verdict, Claim(
            id=ref.id,
            holder=holder,
            token=text(token),
            claimed_at=int(claimed_at),
            payload=payload,
            spec=spec,
            attempts=attempts,
            crashes=crashes,
            lost_workers=lost_workers,
            snoozes=snoozes,
        )

    def _settle(self, script: str, ref: JobRef, target: JobState, holder: str, token: str, **arguments: Word) -> Answer:
        keys = {**self._move_keys(ref, JobState.RUNNING, target), "held": self._keys.held(holder)}
        return self._answer(Call.of(script, keys, {**self._common(ref), "token": token, **arguments}))

    def complete(self, ref: JobRef, *, holder: str, token: str, result: bytes) -> Answer:
        """Record that a held job has completed."""
        retain = self._retain(JobState.COMPLETED)
        return self._settle("jobs/complete", ref, JobState.COMPLETED, holder, token, result=result, retain=retain)

    def retry(
        self,
        ref: JobRef,
        *,
        holder: str,
        token: str,
        delay: int,
        counter: str,
        error: str = "",
        attempt: str = "",
    ) -> Answer:
        """Set a held job aside for ``delay`` ms; ``counter`` names what this end uses up."""
        words_: dict[str, Word] = {"delay": delay, "counter": counter, "error": error, "attempt": attempt}
        return self._settle("jobs/retry", ref, JobState.RETRYING, holder, token, **words_)

    def release(self, ref: JobRef, *, holder: str, token: str, counter: str = "", attempt: str = "") -> Answer:
        """Make a held job ready again at once."""
        return self._settle("jobs/release", ref, JobState.PENDING, holder, token, counter=counter, attempt=attempt)

    def fail(
        self,
        ref: JobRef,
        *,
        holder: str,
        token: str,
        error: str,
        reason: str,
        counter: str,
        attempt: str = "",
    ) -> Answer:
        """Record that a held job has failed for good."""
        retain = self._retain(JobState.FAILED)
        words_: dict[str, Word] = {
            "error": error,
            "reason": reason,
            "counter": counter,
            "attempt": attempt,
            "retain": retain,
        }
        return self._settle("jobs/fail", ref, JobState.FAILED, holder, token, **words_)

    def obey(self, ref: JobRef, *, holder: str, token: str, reason: str, error: str = "", attempt: str = "") -> Answer:
        """Record that a held job was cancelled."""
        words_: dict[str, Word] = {
            "reason": reason,
            "error": error,
            "attempt": attempt,
            "retain": self._retain(JobState.CANCELLED),
        }
        return self._settle("jobs/obey", ref, JobState.CANCELLED, holder, token, **words_)

    def progress(self, job_id: str, token: str, progress: str) -> Answer:
        """Record how far a held job has come."""
        return self._answer(
            Call.of("jobs/progress", {"record": self._keys.job(job_id)}, {"token": token, "progress": progress})
        )

    def unhold(self, job_id: str, holder: str, holding: str) -> Answer:
        """Drop a holding whose job is not held under it any more."""
        keys = {"record": self._keys.job(job_id), "held": self._keys.held(holder)}
        return self._answer(Call.of("jobs/unhold", keys, {"id": job_id, "holding": holding}))

    # -- wake-ups

    def due(self, ordered: str, limit: int) -> tuple[int | None, list[str]]:
        """Return what is due in one of the sets ordered by time, and the ms until the next is (None: nothing waits)."""
        call = Call.of("jobs/due", {"set": ordered}, {"now": self._time.word, "limit": limit})
        now, after, *members = words(ask(self._store, call))
        return (int(float(after)) - int(now) if after else None), members

    def promote(self, jobs: Sequence[tuple[JobRef, JobState]], *, term: str = "", force: bool = False) -> list[Answer]:
        """Make due jobs ready, each if it is still in the state the caller saw."""
        calls = [
            Call.of(
                "jobs/promote",
                self._move_keys(ref, expected, JobState.PENDING),
                {**self._common(ref), "expected": expected, "term": term, "force": "1" if force else ""},
            )
            for ref, expected in jobs
        ]
        return [Answer(*words(reply)) for reply in ask_all(self._store, calls)]

    def rewake(self, ref: JobRef, published: str, *, term: str = "") -> Answer:
        """Mark a ready job for another publication, if nothing has happened to it since."""
        keys = self._move_keys(ref, JobState.PENDING, JobState.PENDING)
        return self._answer(Call.of("jobs/rewake", keys, {**self._common(ref), "published": published, "term": term}))

    def give_back(self, ref: JobRef, *, pause: int) -> Answer:
        """Delay the wake-up of a job whose name this worker does not know."""
        keys = {**self._move_keys(ref, JobState.PENDING, JobState.PENDING), "known": self._keys.known}
        arguments = {
            **self._common(ref),
            "name": ref.name,
            "pause": pause,
            "grace": self._settings.unknown_grace,
        }
        return self._answer(Call.of("jobs/giveback", keys, arguments))

    def abandon(self, ref: JobRef, *, error: str, reason: str) -> Answer:
        """Dead-letter a ready job that no live worker can run."""
        keys = self._move_keys(ref, JobState.PENDING, JobState.FAILED)
        arguments = {
            **self._common(ref),
            "error": error,
            "reason": reason,
            "retain": self._retain(JobState.FAILED),
        }
        return self._answer(Call.of("jobs/abandon", keys, arguments))

    def tidy(self, lane: str) -> None:
        """Forget a lane that holds nothing."""
        ask(
            self._store,
            Call.of("jobs/tidy", {"lane": self._keys.lane(lane), "lanes": self._keys.lanes}, {"lane": lane}),
        )

    def unbury(self, dead_letter_id: str) -> bool:
        """Delete a raw dead letter; return whether there was one."""
        keys = {"raw": self._keys.raw(dead_letter_id), "dead": self._keys.dead, "expiry": self._keys.expiry}
        return self._answer(Call.of("dlq/unbury", keys, {"id": dead_letter_id})).verdict == "DONE"
