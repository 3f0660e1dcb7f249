"""The life of one attempt: claim, decode, run, classify, record, tell. Each step takes the record and adds to it.

Knows nothing of Celery: a wake-up comes in as a ``JobRef``, an ``Outcome`` goes out, and everything that can
fail (store, broker, clock, other processes) is behind a port. So the crash explorer runs this very code.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol

from dispatch_celery.clock import from_ms, monotonic_ms, to_ms
from dispatch_celery.config import Settings
from dispatch_celery.errors import Fenced, PayloadError, StoreUnavailable
from dispatch_celery.ids import mint_nonce
from dispatch_celery.jobs.context import JobContext, in_job
from dispatch_celery.jobs.definition import JobDefinition
from dispatch_celery.jobs.model import Failure, JobRef, JobState, WakeUp
from dispatch_celery.jobs.options import StoredRetry
from dispatch_celery.jobs.outcome import (
    Cancel,
    Cancelled,
    Completed,
    Fail,
    Failed,
    Outcome,
    RetryAfter,
    Retrying,
    Snooze,
    attempt_line,
    failure_of,
)
from dispatch_celery.jobs.ports import Observer, Publisher, Seat
from dispatch_celery.jobs.records import Stored, encode_failure
from dispatch_celery.jobs.registry import Registry
from dispatch_celery.jobs.store import Answer, Claim, JobStore
from dispatch_celery.retry import Retry
from dispatch_celery.scope import Scope, restored
from dispatch_celery.store.client import unavailable_pause

__all__ = ["Execution", "Executor", "Released", "give_back"]

logger = logging.getLogger(__name__)

_CLAIM_PATIENCE: Final = 30.0
"""Seconds a claim is tried while the server does not answer; then the wake-up is dropped, and swept later."""


class Policy(Protocol):
    """What decides about another attempt: a ``Retry``, or one that came with the job."""

    @property
    def max_attempts(self) -> int:
        """How many executions there may be."""
        ...

    def gives_up(self, error: BaseException) -> bool:
        """Return whether this error ends the job."""
        ...

    def delay(self, attempt: int) -> float:
        """Return seconds until the next attempt."""
        ...


@dataclass(frozen=True, slots=True)
class Released:
    """The worker stops: the job is ready again, and nothing was used up."""


@dataclass(slots=True, kw_only=True)
class Execution:
    """One attempt on its way through the pipeline."""

    ref: JobRef
    definition: JobDefinition[..., Any, Any]
    claim: Claim
    holder: str
    spec: dict[str, Any]
    policy: Retry | StoredRetry
    timeout_ms: int | None
    context: JobContext | None = None
    outcome: Outcome | Released | None = None
    recorded: bool = False
    started: int = field(default_factory=monotonic_ms)

    @property
    def attempt(self) -> int:
        """The number of this attempt, from 1."""
        return self.claim.attempts + 1


Handler = Callable[[JobDefinition[..., Any, Any], JobContext, int | None], Any]


class Executor:
    """Runs attempts for one process (or one thread pool) of a worker."""

    def __init__(
        self,
        *,
        store: JobStore,
        registry: Registry,
        publisher: Publisher,
        settings: Settings,
        seat: Seat,
        observer: Observer,
        handler: Handler,
        is_shutdown: Callable[[BaseException], bool] = lambda _: False,
        sleep: Callable[[float], None] = time.sleep,
        pid: Callable[[], int] = os.getpid,
    ) -> None:
        self._store = store
        self._registry = registry
        self._publisher = publisher
        self._settings = settings
        self._seat = seat
        self._observer = observer
        self._handler = handler
        self._is_shutdown = is_shutdown
        self._sleep = sleep
        self._pid = pid

    # -- claim

    def claim(self, ref: JobRef) -> Execution | None:
        """Take the job of a wake-up; None if there is nothing to do for it here."""
        definition = self._registry.get(ref.name)
        if definition is None:
            give_back(self._store, ref, self._observer, self._settings)
            return None
        claim = self._claimed(ref)
        if claim is None:
            return None
        spec: dict[str, Any] = json.loads(claim.spec)
        ref = JobRef(
            id=ref.id,
            name=ref.name,
            queue=ref.queue,
            priority=ref.priority,
            scope=spec.get("scope", ""),
            idempotency_key=spec.get("idempotency_key", ""),
        )
        timeout_ms = spec.get("timeout", definition.timeout_ms)
        policy = StoredRetry(spec["retry"]) if "retry" in spec else definition.retry_policy
        execution = Execution(
            ref=ref,
            definition=definition,
            claim=claim,
            holder=claim.holder,
            spec=spec,
            policy=policy,
            timeout_ms=timeout_ms,
        )
        self._seat.occupy(ref.id, claim.token, timeout_ms=timeout_ms)
        self._observer("started", ref, attempt=execution.attempt)
        return execution

    def _claimed(self, ref: JobRef) -> Claim | None:
        nonce = mint_nonce()
        patience = time.monotonic() + _CLAIM_PATIENCE
        refused = failures = 0
        while True:
            if not self._seat.wait_trusted(self._settings.lease):
                self._return_to_sender(ref)
                return None
            holder = self._seat.holder
            try:
                # The nonce names the holder too: after a new registration an old claim is not taken for this one's.
                verdict, found = self._store.claim(ref, holder=holder, nonce=f"{nonce}{holder[-8:]}", pid=self._pid())
            except StoreUnavailable as error:
                failures += 1
                if time.monotonic() > patience:
                    logger.warning("dropping the wake-up of %s, it will be published again: %s", ref.id, error)
                    return None
                self._sleep(unavailable_pause(failures))
                continue
            if isinstance(found, Claim):
                return found
            if verdict == "NOT_REGISTERED" and refused < 2:
                refused += 1
                self._sleep(self._settings.renew_every / 1000)
                continue
            self._refused(ref, verdict, found)
            return None

    def _refused(self, ref: JobRef, verdict: str, found: tuple[str, ...]) -> None:
        if verdict == "NOT_REGISTERED":
            self._return_to_sender(ref)
        elif verdict == "EXPIRED":
            if self._store.cancel(ref, JobState.PENDING, "expired before it was started").verdict == "DONE":
                self._observer("cancelled", ref)
        elif verdict == "MOVED":
            name, lane = found
            queue, _, priority = lane.rpartition(":")
            moved = JobRef(id=ref.id, name=name, queue=queue, priority=int(priority))
            if moved != ref:
                self._publish([WakeUp(ref=moved, wake="0")])
        elif verdict == "MISSING":
            logger.warning("dropping a wake-up without a job: %s (%s)", ref.id, ref.name)
            self._observer("orphaned", ref)

    def _return_to_sender(self, ref: JobRef) -> None:
        """Publish a wake-up again that this worker, without a lease, may not answer."""
        self._publish([WakeUp(ref=ref, wake="0")])

    # -- run

    def perform(self, execution: Execution) -> Outcome | Released:
        """Run a claimed job and record how it ended.

        Raises:
            Fenced: somebody else decides about this job now; what the handler did is not recorded.
        """
        try:
            outcome = self._run(execution)
            execution.outcome = outcome
            return self._record(execution, outcome)
        finally:
            self._seat.vacate()

    def _run(self, execution: Execution) -> Outcome | Released:
        try:
            context = self._decode(execution)
            with restored(context.scope), in_job(context), self._seat.interruptible():
                value = self._handler(execution.definition, context, execution.timeout_ms)
            return Completed(value, execution.definition.typed.result.encode(value))
        except Fenced:
            raise
        except BaseException as error:
            if self._is_shutdown(error):
                self._record(execution, Released())
                raise
            return self._classify(execution, error)

    def _decode(self, execution: Execution) -> JobContext:
        claim, ref = execution.claim, execution.ref
        arguments = execution.definition.typed.arguments.decode(claim.payload)
        timeout = execution.timeout_ms
        execution.context = context = JobContext(
            ref=ref,
            attempt=execution.attempt,
            token=int(claim.token.partition(".")[0]),
            claim=claim.token,
            deadline=None if timeout is None else from_ms(claim.claimed_at) + timedelta(milliseconds=timeout),
            scope=Scope.from_path(ref.scope),
            arguments=arguments,
            store=self._store,
            is_cancelled=self._seat.cancelled,
        )
        return context

    def _classify(self, execution: Execution, error: BaseException) -> Outcome:
        failure = failure_of(error)
        if isinstance(error, Cancel) or (isinstance(error, asyncio.CancelledError) and self._seat.cancelled()):
            return Cancelled(failure.message or "cancelled by its handler")
        if isinstance(error, Snooze):
            if execution.claim.snoozes >= self._settings.max_snoozes:
                return Failed("snoozed too often", failure, "snoozes", error)
            return Retrying(error.delay_ms, "snoozes", failure, error)
        return classify_error(error, failure, execution.attempt, execution.policy)

    def settle(self, stored: Stored, error: BaseException | None, *, reason: str = "") -> None:
        """Record for a process that cannot any more: a timeout (``error``), a cancel (``reason``), or a stop.

        A no-op where somebody else decides about the job by now.
        """
        definition = self._registry.get(stored.ref.name)
        if definition is None:
            return
        claim = Claim.of(stored)
        policy = StoredRetry(stored.spec["retry"]) if "retry" in stored.spec else definition.retry_policy
        execution = Execution(
            ref=stored.ref,
            definition=definition,
            claim=claim,
            holder=stored.holder,
            spec=dict(stored.spec),
            policy=policy,
            timeout_ms=None,
        )
        outcome: Outcome | Released = Released()
        if error is not None:
            outcome = classify_error(error, failure_of(error), execution.attempt, policy)
        elif reason:
            outcome = Cancelled(reason)
        with suppress(Fenced):
            self._record(execution, outcome)

    # -- record

    def _record(self, execution: Execution, outcome: Outcome | Released) -> Outcome | Released:
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
        ref, tell = execution.ref, self._observer
        elapsed = (monotonic_ms() - execution.started) / 1000
        if isinstance(outcome, Completed):
            tell("completed", ref, elapsed=elapsed, result=outcome.value)
        elif isinstance(outcome, Retrying):
            due = from_ms(int(answer.detail)) if answer.verdict == "DONE" else datetime.now(UTC)
            tell("retrying", ref, attempt=execution.attempt, next_run_at=due, error=outcome.error)
        elif isinstance(outcome, Failed):
            tell("failed", ref, error=outcome.error, failure=outcome.failure)
            tell("dead_lettered", ref, error=outcome.error, failure=outcome.failure)
        elif isinstance(outcome, Cancelled):
            tell("cancelled", ref)
        else:
            self._publish([WakeUp(ref=ref, wake=answer.detail, spec=execution.spec, attempt=execution.attempt)])

    def _publish(self, wakeups: list[WakeUp]) -> None:
        try:
            self._publisher.publish(wakeups)
            self._store.clear_marks([(wakeup.ref.id, wakeup.wake) for wakeup in wakeups])
        except StoreUnavailable as error:
            logger.warning("%d wake-ups wait for the broker and will be swept: %s", len(wakeups), error)


def classify_error(error: BaseException, failure: Failure, attempt: int, policy: Policy) -> Outcome:
    """Decide what an error means for a job whose ``attempt``-th try ended with it."""
    last = attempt >= policy.max_attempts
    reason = ""
    if isinstance(error, Fail):
        reason = "failed by its handler"
    elif isinstance(error, PayloadError):
        reason = "payload"
    elif last:
        reason = "attempts used up"
    elif not isinstance(error, RetryAfter) and policy.gives_up(error):
        reason = "given up"
    if reason:
        return Failed(reason, failure, error=error)
    if isinstance(error, RetryAfter):
        return Retrying(error.delay_ms, "attempts", failure, error)
    try:
        delay = to_ms(policy.delay(attempt))
    except Exception as broken:  # noqa: BLE001 - a user's Backoff may raise anything
        return Failed("backoff", failure_of(broken), error=error)
    return Retrying(delay, "attempts", failure, error)


def give_back(store: JobStore, ref: JobRef, observer: Observer, settings: Settings) -> None:
    """Delay the wake-up of a job this worker does not know; dead-letter it when no live worker has, for too long.

    A worker that knows the name reopens it (``upkeep.Revival``).
    """
    answer = store.give_back(ref, pause=max(1_000, settings.renew_every))
    if answer.verdict != "ABANDON":
        return
    since = f"{from_ms(int(answer.detail)):%Y-%m-%d %H:%M:%S} UTC"
    error = {
        "type": "dispatch_celery.errors.UnknownJob",
        "message": f"no live worker has known the job name {ref.name!r} since {since};"
        " deploy a worker that does, and it goes on by itself",
        "traceback": "",
    }
    if store.abandon(ref, error=json.dumps(error), reason="unknown").verdict == "DONE":
        observer("failed", ref, error=None)
        observer("dead_lettered", ref, error=None)
