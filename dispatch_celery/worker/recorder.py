"""Records how an attempt ended, until the server has answered, and tells who wants to know."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

from dispatch_celery.clock import from_ms, monotonic_ms
from dispatch_celery.errors import Fenced, StoreUnavailable
from dispatch_celery.jobs.outcome import Cancelled, Completed, Failed, Outcome, Retrying, attempt_line
from dispatch_celery.jobs.store import JobStore
from dispatch_celery.store.client import unavailable_pause
from dispatch_celery.work.model import WakeUp
from dispatch_celery.work.ports import Observer, Publisher
from dispatch_celery.work.records import encode_failure
from dispatch_celery.work.scripts import Answer, woken_by
from dispatch_celery.worker.execution import Execution, Released

__all__ = ["Recorder"]

logger = logging.getLogger(__name__)


class Recorder:
    """The last steps of the pipeline."""

    def __init__(
        self, *, store: JobStore, publisher: Publisher, observer: Observer, sleep: Callable[[float], None]
    ) -> None:
        self._store = store
        self._publisher = publisher
        self._observer = observer
        self._sleep = sleep

    def record(self, execution: Execution, outcome: Outcome | Released) -> Outcome | Released:
        """Record an outcome, however long the server does not answer; return what was recorded."""
        answer = self._insist(lambda: self._send(execution, outcome))
        if answer.verdict == "CANCELLING":
            outcome = Cancelled("cancelled by request")
            answer = self._insist(lambda: self._send(execution, outcome))
        if not answer.recorded:
            logger.warning("%s: fenced, its outcome is not recorded (now %s)", execution.ref.id, answer.detail)
            self._observer("fenced", execution.ref)
            raise Fenced(f"{execution.ref.id} is not held under {execution.claim.token} any more")
        execution.recorded = True
        woken = woken_by(execution.ref, answer)
        if woken:
            self.publish(woken)
        self._tell(execution, outcome, answer)
        return outcome

    def _insist(self, send: Callable[[], Answer]) -> Answer:
        failures = 0
        while True:
            try:
                return send()
            except StoreUnavailable as error:
                failures += 1
                if failures == 1:
                    logger.warning("an outcome waits for the state server: %s", error)
                self._sleep(unavailable_pause(failures))

    def _send(self, execution: Execution, outcome: Outcome | Released) -> Answer:
        store, ref = self._store, execution.ref
        holder, token = execution.holder, execution.claim.token
        if isinstance(outcome, Completed):
            return store.complete(ref, holder=holder, token=token, result=outcome.result)
        if isinstance(outcome, Retrying):
            error = "" if outcome.counter == "snoozes" else encode_failure(outcome.failure)
            name = "snoozed" if outcome.counter == "snoozes" else "retrying"
            line = attempt_line(execution.attempt, name, outcome.failure.type, outcome.failure.message)
            return store.retry(
                ref,
                holder=holder,
                token=token,
                delay=outcome.delay,
                counter=outcome.counter,
                error=error,
                attempt=line,
            )
        if isinstance(outcome, Failed):
            line = attempt_line(execution.attempt, "failed", outcome.failure.type, outcome.failure.message)
            return store.fail(
                ref,
                holder=holder,
                token=token,
                error=encode_failure(outcome.failure),
                reason=outcome.reason,
                counter=outcome.counter,
                attempt=line,
            )
        if isinstance(outcome, Cancelled):
            line = attempt_line(execution.attempt, "cancelled", "", outcome.reason)
            return store.obey(ref, holder=holder, token=token, reason=outcome.reason, attempt=line)
        line = attempt_line(execution.attempt, "released", "", "the worker stopped")
        return store.release(ref, holder=holder, token=token, attempt=line)

    def _tell(self, execution: Execution, outcome: Outcome | Released, answer: Answer) -> None:
        ref = execution.ref
        tell = partial(self._observer, task_id=execution.spec.get("celery_id"))
        elapsed = (monotonic_ms() - execution.started) / 1000
        if isinstance(outcome, Completed):
            tell("completed", ref, elapsed=elapsed, result=outcome.value)
        elif isinstance(outcome, Retrying):
            due = from_ms(int(answer.detail)) if answer.verdict == "DONE" else datetime.now(UTC)
            told = {"error": outcome.error, "failure": outcome.failure}
            tell("retrying", ref, attempt=execution.attempt, next_run_at=due, **told)
        elif isinstance(outcome, Failed):
            tell("failed", ref, error=outcome.error, failure=outcome.failure)
            tell("dead_lettered", ref, error=outcome.error, failure=outcome.failure)
        elif isinstance(outcome, Cancelled):
            tell("cancelled", ref)
        else:
            self.publish([WakeUp(ref=ref, wake=answer.detail, spec=execution.spec, attempt=execution.attempt)])

    def publish(self, wakeups: list[WakeUp]) -> None:
        """Publish wake-ups, and clear their marks; without the broker they are swept later."""
        try:
            self._publisher.publish(wakeups)
            self._store.clear_marks([(wakeup.ref.id, wakeup.wake) for wakeup in wakeups])
        except StoreUnavailable as error:
            logger.warning("%d wake-ups wait for the broker and will be swept: %s", len(wakeups), error)
