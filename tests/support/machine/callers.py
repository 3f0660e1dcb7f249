"""What callers and operators do: enqueue, cancel, replay, reopen, purge."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from dispatch_celery.ids import DeadLetterId
from dispatch_celery.jobs.model import JobState
from tests.support.machine.ground import MANY, NUMBERS, OWNER, SCOPES, STATES, Ground, model_of, said, same


class CallerRules(Ground):
    """The rules of callers and operators."""

    @precondition(lambda self: len(self.new_jobs) < MANY)
    @rule(
        key=st.sampled_from(["", "a", "b"]),
        scope=st.sampled_from(SCOPES),
        payload=st.sampled_from([b"{}", b'{"n":1}']),
        delay=st.sampled_from([None, 0, 5_000]),
        expires=st.sampled_from([None, 0, 9_000]),
        priority=st.sampled_from([0, 9]),
    )
    def enqueue(self, key: str, scope: str, **options: Any) -> None:
        """Write a job."""
        self._write([self.world.job(job_id=self._mint(), key=key, scope=scope, **options)])

    @precondition(lambda self: len(self.new_jobs) < MANY)
    @rule(n=NUMBERS)
    def enqueue_many(self, n: int) -> None:
        """Write several in one trip: a new one, between an old one sent again."""
        old = self.new_jobs[n % len(self.new_jobs)]
        again = [old] if old.ref.id in self.model.jobs else []
        self._write([*again, self.world.job(job_id=self._mint(), name="bill"), *again])

    @rule(n=NUMBERS)
    def is_published(self, n: int) -> None:
        """Let the caller clear its mark."""
        ref = self._in(n, "pending")
        if self._state(ref) == "pending":
            self.world.jobs.clear_marks([(ref.id, self.model.publish(self.model.jobs[ref.id]))])

    @rule(n=NUMBERS, seen=STATES, honest=st.booleans())
    def cancel(self, n: int, seen: JobState, *, honest: bool) -> None:
        """Cancel, as the caller sees the job or as it was once."""
        ref = self._in(n, "scheduled", "pending", "retrying")
        state = self._state(ref)
        given = JobState(state) if honest and state != "gone" else seen
        same(said(self.world.jobs.cancel(ref, given, "enough")), self.model.cancel(ref.id, given))

    @precondition(lambda self: len(self.new_jobs) < MANY)
    @rule(n=NUMBERS)
    def replay(self, n: int) -> None:
        """Make a new job out of a dead letter, or learn what became of it."""
        ref = self._in(n, "failed")
        new = self.world.job(job_id=self._mint(), name=ref.name, scope=ref.scope, priority=ref.priority)
        answer = self.world.letters.replay(ref.id, new)
        same(said(answer), self.model.replay(ref.id, model_of(new)))
        self.new_jobs += [new] if answer.verdict == "CREATED" else []

    @rule(n=NUMBERS)
    def reopen(self, n: int) -> None:
        """Make a dead letter's job ready again, within its retention."""
        ref = self._in(n, "failed")
        job = self.model.jobs.get(ref.id)
        if job is None or job.kept_until is None or job.kept_until > self.model.now:
            same(said(self.world.jobs.reopen(ref)), self.model.reopen(ref.id))

    @rule(n=NUMBERS, state=STATES, force=st.booleans())
    def delete(self, n: int, state: JobState, *, force: bool) -> None:
        """Purge an ended job, or try to."""
        ref = self._in(n, state)
        same(said(self.world.jobs.delete(ref, state, force=force)), self.model.delete(ref.id, state, force=force))

    @rule(n=st.integers(1, 2), keep=st.booleans())
    def message(self, n: int, *, keep: bool) -> None:
        """Keep a message nobody could read, perhaps again; or purge it."""
        name, now, messages = DeadLetterId.derive(OWNER, str(n)), self.model.now, self.model.messages
        if keep:
            self.world.letters.bury(b"?", queue="q", reason="unreadable", dead_letter_id=name)
            messages.setdefault(name, (now, now + self.world.settings.retain_failed))
        else:
            same(self.world.jobs.unbury(name), messages.pop(name, None) is not None)
