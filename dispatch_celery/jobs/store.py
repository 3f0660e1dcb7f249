"""One typed method per script of ``lua/jobs`` that only jobs know: what callers and workers may do to one.

A method that ends a claim takes the claim's token and answers with an ``Answer``: ``DONE``, ``REPEATED`` (the
same outcome was recorded before: as good as done), ``FENCED`` (somebody else decides about this job now), or
``CANCELLING`` (the job was asked to cancel: record that instead).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from dispatch_celery.errors import DispatchError
from dispatch_celery.ids import JobId
from dispatch_celery.jobs.model import ENDED, Claim, JobState, NewJob
from dispatch_celery.jobs.records import JobRecords
from dispatch_celery.store.replies import ask, ask_all, text, words
from dispatch_celery.store.scripts import Call, Word
from dispatch_celery.work.fingerprint import fingerprint_of
from dispatch_celery.work.model import WorkRef
from dispatch_celery.work.records import decode_failure, encode_spec
from dispatch_celery.work.scripts import Answer
from dispatch_celery.work.store import WorkStore

__all__ = ["JobStore"]


class JobStore(WorkStore):
    """The scripts of jobs in one partition, typed."""

    # -- callers

    def enqueue(self, jobs: Sequence[NewJob], riders: Sequence[Call] = ()) -> list[Any]:
        """Write jobs in one trip, with the riders behind them: their messages, and the clearing of their marks.

        Returns a list of words, or a ``DispatchError``, for each job.
        """
        families = [list(members) for _, members in groupby(jobs, key=_family)]
        calls = [self._enqueue_family(few) if _is_plain(few[0]) else self._enqueue_one(few[0]) for few in families]
        replies = self.port.execute([*calls, *riders])
        return [answer for reply, few in zip(replies, families, strict=False) for answer in _each(reply, few)]

    def _enqueue_one(self, job: NewJob, take: str = "") -> Call:
        ref, keys = job.ref, self._keys
        fields: list[Word] = ["name", ref.name, "spec", encode_spec(job.spec), "payload", job.payload]
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
                "take": take,
                "period": "" if job.unique is None or job.unique.period_ms is None else job.unique.period_ms,
            },
            rest=fields,
        )

    def enqueue_after(self, job: NewJob, other: JobId) -> list[str]:
        """Write a job that takes the key of another over: the one of its kind from now on."""
        return words(ask(self.port, self._enqueue_one(job, other)))

    def replace(self, other: JobId, job: NewJob) -> Answer:
        """Give a job that has not begun the arguments and the delay of another, which is not written then."""
        keys = {
            "record": self._keys.record(other),
            "timers": self._keys.timers,
            "limits": self._keys.limits,
            "permits": self._keys.permits,
        }
        arguments: dict[str, Word] = {
            "now": self._time.word,
            "id": other,
            "spec": encode_spec(job.spec),
            "payload": job.payload,
            "delay": "" if job.delay is None else job.delay,
        }
        return self._answer(Call.of("jobs/replace", keys, arguments))

    def _enqueue_family(self, jobs: Sequence[NewJob]) -> Call:
        ref, keys = jobs[0].ref, self._keys
        rest: list[Word] = []
        for job in jobs:
            rest += (job.ref.id, encode_spec(job.spec), job.payload)
        return Call.of(
            "jobs/enqueue_many",
            self._move_keys(ref, "new", JobState.PENDING),
            self._common(ref),
            more_keys=[keys.record(job.ref.id) for job in jobs],
            rest=rest,
        )

    def cancel(self, ref: WorkRef, expected: str, reason: str, *, by: str = "") -> Answer:
        """Cancel a job that nobody holds, if it is still in the state the caller saw; ``by`` as for ``flag``."""
        keys = self._move_keys(ref, expected, JobState.CANCELLED)
        arguments = {
            **self._common(ref),
            "expected": expected,
            "reason": reason,
            "retain": self._retain(JobState.CANCELLED),
            "by": by,
        }
        return self._answer(Call.of("jobs/cancel", keys, arguments, more_keys=self._parent_keys(ref)))

    def reopen(self, ref: WorkRef) -> Answer:
        """Make a failed job ready again under the same id."""
        keys = self._move_keys(ref, JobState.FAILED, JobState.PENDING)
        return self._answer(Call.of("jobs/reopen", keys, self._common(ref)))

    def delete(self, ref: WorkRef, expected: str, *, term: str = "", force: bool = False) -> Answer:
        """Delete an ended job's record and all that names it."""
        (answer,) = self.delete_many([ref], expected, term=term, force=force)
        return answer

    def delete_many(
        self, refs: Sequence[WorkRef], expected: str, *, term: str = "", force: bool = False
    ) -> list[Answer]:
        """Delete ended jobs in one trip, each if it is in the state the caller saw."""
        told: dict[str, Word] = {"expected": expected, "term": term, "force": "1" if force else ""}
        calls = [
            Call.of("jobs/delete", self._move_keys(ref, expected, expected), {**self._common(ref), **told})
            for ref in refs
        ]
        return [Answer(*words(reply)[:2]) for reply in ask_all(self.port, calls)]

    # -- workers

    def whole(self, ref: WorkRef) -> WorkRef:
        """Return all that names a job: a wake-up does not tell its scope, its keys and whom it belongs to.

        Who ends a job without having claimed it asks this first: its end frees its keys and is told to its run.
        """
        (stored,) = JobRecords(self.port, self._keys).stored([ref.id])
        return ref if stored is None else stored.ref

    def claim(self, ref: WorkRef, *, holder: str, nonce: str, pid: int) -> tuple[str, Claim | tuple[str, ...]]:
        """Take a ready job. Returns ``CLAIMED`` and the claim, or another verdict and its details."""
        keys = self._keys
        call = Call.of(
            "jobs/claim",
            {
                **self._move_keys(ref, JobState.PENDING, JobState.RUNNING),
                "workers": keys.workers,
                "held": keys.held(holder),
            },
            {**self._common(ref), "holder": holder, "nonce": nonce, "pid": pid},
        )
        reply = ask(self.port, call)
        verdict = text(reply[0])
        if verdict != "CLAIMED":
            return verdict, tuple(words(reply[1:]))
        token, claimed_at, payload, spec, *counts = reply[1:]
        attempts, crashes, lost_workers, snoozes, waited = (int(count) for count in counts)
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
            waited=waited,
        )

    def _settle(
        self, script: str, ref: WorkRef, target: JobState, holder: str, token: str, **arguments: Word
    ) -> Answer:
        keys = {**self._move_keys(ref, JobState.RUNNING, target), "held": self._keys.held(holder)}
        parent = self._parent_keys(ref) if target in ENDED else []
        return self._answer(Call.of(script, keys, {**self._common(ref), "token": token, **arguments}, more_keys=parent))

    def complete(self, ref: WorkRef, *, holder: str, token: str, result: bytes) -> Answer:
        """Record that a held job has completed."""
        retain = self._retain(JobState.COMPLETED)
        return self._settle("jobs/complete", ref, JobState.COMPLETED, holder, token, result=result, retain=retain)

    def retry(
        self,
        ref: WorkRef,
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

    def release(self, ref: WorkRef, *, holder: str, token: str, counter: str = "", attempt: str = "") -> Answer:
        """Make a held job ready again at once."""
        return self._settle("jobs/release", ref, JobState.PENDING, holder, token, counter=counter, attempt=attempt)

    def fail(
        self,
        ref: WorkRef,
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
            "fingerprint": _fingerprint(ref, error, reason),
            "counter": counter,
            "attempt": attempt,
            "retain": retain,
        }
        return self._settle("jobs/fail", ref, JobState.FAILED, holder, token, **words_)

    def obey(self, ref: WorkRef, *, holder: str, token: str, reason: str, error: str = "", attempt: str = "") -> Answer:
        """Record that a held job was cancelled."""
        words_: dict[str, Word] = {
            "reason": reason,
            "error": error,
            "attempt": attempt,
            "retain": self._retain(JobState.CANCELLED),
        }
        return self._settle("jobs/obey", ref, JobState.CANCELLED, holder, token, **words_)

    # -- wake-ups

    def promote(self, jobs: Sequence[tuple[WorkRef, str]], *, term: str = "", force: bool = False) -> list[Answer]:
        """Make due jobs ready, each if it is still in the state the caller saw."""
        calls = [
            Call.of(
                "jobs/promote",
                self._move_keys(ref, expected, JobState.PENDING),
                {**self._common(ref), "expected": expected, "term": term, "force": "1" if force else ""},
            )
            for ref, expected in jobs
        ]
        return [Answer(*words(reply)) for reply in ask_all(self.port, calls)]

    def rearm(self, ref: WorkRef, *, term: str = "") -> Answer:
        """Give a job that waits for its time the timer it has lost."""
        keys = {"record": self._keys.record(ref.id), "timers": self._keys.timers, "leader": self._keys.leader}
        return self._answer(Call.of("jobs/rearm", keys, {"now": self._time.word, "id": ref.id, "term": term}))

    def abandon(self, ref: WorkRef, *, error: str, reason: str) -> Answer:
        """Dead-letter a ready job that no live worker can run."""
        keys = self._move_keys(ref, JobState.PENDING, JobState.FAILED)
        arguments = {
            **self._common(ref),
            "error": error,
            "reason": reason,
            "fingerprint": _fingerprint(ref, error, reason),
            "retain": self._retain(JobState.FAILED),
        }
        return self._answer(Call.of("jobs/abandon", keys, arguments, more_keys=self._parent_keys(ref)))

    def _retain(self, state: JobState) -> int:
        settings = self._settings
        return {
            JobState.COMPLETED: settings.retain_completed,
            JobState.CANCELLED: settings.retain_cancelled,
            JobState.FAILED: settings.retain_failed,
        }[state]


def _fingerprint(ref: WorkRef, error: str, reason: str) -> str:
    """Return what this death is grouped by: the same each time its outcome is sent."""
    return fingerprint_of(decode_failure(error.encode()), name=ref.name, reason=reason)


def _is_plain(job: NewJob) -> bool:
    """Whether a job is ready at once and has nothing of its own but its arguments."""
    return (
        not job.ref.idempotency_key
        and job.unique is None
        and job.delay is None
        and job.run_at is None
        and job.expires is None
    )


def _family(job: NewJob) -> tuple[str, ...]:
    """Return what plain jobs share that one script can write; another shares nothing."""
    return (job.ref.name, job.ref.lane, job.ref.scope) if _is_plain(job) else (job.ref.id,)


def _each(reply: Any, jobs: Sequence[NewJob]) -> list[Any]:
    """Return the answer of a script as one answer for each job it wrote."""
    if isinstance(reply, DispatchError):
        return [reply] * len(jobs)
    if not _is_plain(jobs[0]):
        return [words(reply)]
    now, target, *states = words(reply)
    return [["REPEATED", state] if state else ["CREATED", target, now] for state in states]
