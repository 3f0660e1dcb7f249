"""The life of one attempt: claim, decode, run, classify, record, tell. Each step takes the record and adds to it.

Knows nothing of Celery: a wake-up comes in as a ``JobRef``, an ``Outcome`` goes out, and everything that can
fail (store, broker, clock, other processes) is behind a port. So the crash explorer runs this very code.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any, Final, cast

from pydantic_core import from_json

from dispatch_celery.clock import from_ms
from dispatch_celery.config import Settings
from dispatch_celery.errors import Fenced
from dispatch_celery.jobs.context import JobContext, in_job
from dispatch_celery.jobs.definition import JobDefinition
from dispatch_celery.jobs.model import Claim, JobRef, JobState
from dispatch_celery.jobs.options import StoredRetry
from dispatch_celery.jobs.outcome import (
    Cancel,
    Cancelled,
    Completed,
    Failed,
    Outcome,
    Retrying,
    Snooze,
    classify_error,
    failure_of,
)
from dispatch_celery.jobs.registry import Registry
from dispatch_celery.jobs.store import JobStore
from dispatch_celery.scope import Scope, restored
from dispatch_celery.work import spans
from dispatch_celery.work.model import WorkRef
from dispatch_celery.work.ports import Observer, Publisher, Seat
from dispatch_celery.work.records import Stored, make_ref
from dispatch_celery.work.scripts import woken_by
from dispatch_celery.worker.claiming import Claimer
from dispatch_celery.worker.execution import Execution, Released
from dispatch_celery.worker.recorder import Recorder

__all__ = ["Executor"]

logger = logging.getLogger(__name__)

Handler = Callable[[JobDefinition[..., Any, Any], JobContext, int | None], Any]

_PART_OF_REF: Final = frozenset({"scope", "idempotency_key", "unique", "parent"})
"""What of a job a wake-up does not tell, and every script about it has to know."""


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
        unknown: Callable[[WorkRef], None],
        is_shutdown: Callable[[BaseException], bool] = lambda _: False,
        sleep: Callable[[float], None] = time.sleep,
        pid: Callable[[], int] = os.getpid,
    ) -> None:
        self._store = store
        self._registry = registry
        self._recorder = Recorder(store=store, publisher=publisher, observer=observer, sleep=sleep)
        self._settings = settings
        self._seat = seat
        self._observer = observer
        self._handler = handler
        self._unknown = unknown
        self._is_shutdown = is_shutdown
        self._claimer = Claimer(
            seat=seat, settings=settings, observer=observer, publish=self._recorder.publish, sleep=sleep, pid=pid
        )

    # -- claim

    def claim(self, ref: JobRef) -> Execution | None:
        """Take the job of a wake-up; None if there is nothing to do for it here."""
        definition = self._registry.get(ref.name)
        if definition is None:
            self._unknown(ref)
            return None
        claim = self._claimed(ref)
        if claim is None:
            return None
        spec: dict[str, Any] = from_json(claim.spec)
        if not _PART_OF_REF.isdisjoint(spec):
            ref = make_ref(JobRef, ref.id, ref.name, ref.lane, spec)
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
        verdict, found = self._claimer.take(ref, lambda **who: self._store.claim(ref, **who))
        if isinstance(found, Claim):
            return found
        if verdict == "EXPIRED":
            whole = self._store.whole(ref)
            answer = self._store.cancel(whole, JobState.PENDING, "expired before it was started")
            if answer.verdict == "DONE":
                self._observer("cancelled", whole)
                if woken := woken_by(whole, answer):
                    self._recorder.publish(woken)
        return None

    # -- run

    def perform(self, execution: Execution) -> Outcome | Released:
        """Run a claimed job and record how it ended.

        Raises:
            Fenced: somebody else decides about this job now; what the handler did is not recorded.
        """
        waited = execution.claim.waited
        with spans.around(execution.ref, execution.spec, attempt=execution.attempt, waited=waited) as ended:
            try:
                outcome = self._run(execution)
                execution.outcome = outcome
                recorded = self._recorder.record(execution, outcome)
                if isinstance(recorded, Retrying) and recorded.counter == "snoozes":
                    ended("snoozed", None)
                else:
                    ended(type(recorded).__name__.lower(), getattr(recorded, "error", None))
                return recorded
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
                self._recorder.record(execution, Released())
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
            ref=cast("JobRef", stored.ref),
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
            self._recorder.record(execution, outcome)
