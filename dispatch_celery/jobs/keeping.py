"""How those who keep house move jobs on: due ones, ended ones, and those that nobody executes any more."""

from __future__ import annotations

from collections.abc import Sequence

from dispatch_celery.config import Settings
from dispatch_celery.jobs.model import ENDED
from dispatch_celery.jobs.outcome import attempt_line
from dispatch_celery.jobs.store import JobStore
from dispatch_celery.work.keeping import pause_after_crash, why_poison
from dispatch_celery.work.model import Failure, WakeUp
from dispatch_celery.work.ports import Observer, Recovered
from dispatch_celery.work.records import Stored, encode_failure
from dispatch_celery.work.scripts import Answer, woken_by

__all__ = ["JobKeeping"]


class JobKeeping:
    """The moves of jobs that nobody holds, or nobody executes."""

    def __init__(self, store: JobStore, settings: Settings, observer: Observer) -> None:
        self._store = store
        self._settings = settings
        self._observer = observer

    def due(self, found: Sequence[Stored], *, term: str) -> list[WakeUp]:
        """Make due jobs ready, or let them ask for a permit: scheduled ones, and retries whose wait is over."""
        answers = self._store.promote([(stored.ref, stored.state) for stored in found], term=term)
        for stored, answer in zip(found, answers, strict=True):
            if answer.verdict == "LIMITED":
                self._observer("limited", stored.ref, limit=answer.detail)
        return [
            WakeUp(ref=stored.ref, wake=answer.detail, spec=stored.spec, attempt=stored.attempts + 1)
            for stored, answer in zip(found, answers, strict=True)
            if answer.verdict == "READY"
        ]

    def expired(self, stored: Stored, *, term: str) -> bool:
        """Delete an ended job whose retention has passed; return whether it is one that ends."""
        if stored.state not in ENDED:
            return False
        self._store.delete(stored.ref, stored.state, term=term)
        return True

    def revive(self, stored: Stored) -> WakeUp | None:
        """Reopen a dead letter that only lacked a worker."""
        answer = self._store.reopen(stored.ref)
        if answer.verdict != "READY":
            return None
        self._observer("reopened", stored.ref)
        return WakeUp(ref=stored.ref, wake=answer.detail, spec=stored.spec)

    def rearm(self, stored: Stored, *, term: str) -> bool:
        """Give a job that waits for its time the timer it has lost."""
        return self._store.rearm(stored.ref, term=term).verdict == "ARMED"

    def recover(self, stored: Stored, *, counter: str, why: str) -> Recovered:
        """Make a job ready again, set it aside for a while, or end it, as its counts and its cancel flag say."""
        poison = why_poison(stored, self._settings, counter=counter, why=why)
        answer = self._move(stored, counter, why, poison)
        ends = bool(stored.cancel or poison)
        if answer.verdict == "CANCELLING":
            answer, ends = self._cancelled(stored, why), True
        wakeup = None
        if answer.verdict == "DONE" and not ends and pause_after_crash(counter, stored.crashes) == 0:
            wakeup = WakeUp(ref=stored.ref, wake=answer.detail, spec=stored.spec, attempt=stored.attempts + 1)
        for woken in woken_by(stored.ref, answer):
            wakeup = woken
        return Recovered(moved=answer.recorded, ended=ends, wakeup=wakeup)

    def _move(self, stored: Stored, counter: str, why: str, poison: str) -> Answer:
        if stored.cancel:
            return self._cancelled(stored, why)
        line = _line(stored, counter, why)
        held = {"holder": stored.holder, "token": stored.token}
        if poison:
            message = f"{poison}, so the job is not tried again"
            failure = Failure(type="dispatch_celery.errors.WorkerCrashed", message=message)
            reason = "crashed" if counter == "crashes" else "lost with its workers"
            answer = self._store.fail(
                stored.ref, **held, error=encode_failure(failure), reason=reason, counter=counter, attempt=line
            )
            if answer.verdict == "DONE":
                self._observer("failed", stored.ref, error=None, failure=failure, task_id=stored.spec.get("celery_id"))
                self._observer("dead_lettered", stored.ref, error=None, failure=failure)
            return answer
        pause = pause_after_crash(counter, stored.crashes)
        if pause:
            return self._store.retry(stored.ref, **held, delay=pause, counter=counter, attempt=line)
        return self._store.release(stored.ref, **held, counter=counter, attempt=line)

    def _cancelled(self, stored: Stored, why: str) -> Answer:
        answer = self._store.obey(
            stored.ref,
            holder=stored.holder,
            token=stored.token,
            reason="cancelled by request",
            attempt=_line(stored, "", why),
        )
        if answer.verdict == "DONE":
            self._observer("cancelled", stored.ref, task_id=stored.spec.get("celery_id"))
        return answer


def _line(stored: Stored, counter: str, why: str) -> str:
    outcome = {"crashes": "crashed", "lost_workers": "worker lost"}.get(counter, "released")
    return attempt_line(stored.attempts + 1, outcome, "", why)
