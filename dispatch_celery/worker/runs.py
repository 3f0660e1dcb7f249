"""The life of one slice of a run: claim it with its journal, replay its function, record how far it came.

Knows nothing of Celery. What a run's end or rest looks like to Celery is ``tracing``'s business.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from pydantic_core import from_json

from dispatch_celery.clock import from_ms, monotonic_ms
from dispatch_celery.config import Settings
from dispatch_celery.errors import Fenced, NonDeterminism, StoreUnavailable, Suspended
from dispatch_celery.ids import RunId
from dispatch_celery.jobs.model import WakeUp, WorkRef
from dispatch_celery.jobs.outcome import failure_of
from dispatch_celery.jobs.ports import Observer, Publisher, Seat
from dispatch_celery.jobs.records import Stored, encode_failure
from dispatch_celery.jobs.scripts import Answer
from dispatch_celery.jobs.store import JobStore
from dispatch_celery.retry import Retry
from dispatch_celery.scope import Scope, restored
from dispatch_celery.store.client import unavailable_pause
from dispatch_celery.worker.claiming import Claimer
from dispatch_celery.workflows.context import RunInfo, Workflow
from dispatch_celery.workflows.definition import WorkflowDefinition
from dispatch_celery.workflows.engine import Engine, Unwound
from dispatch_celery.workflows.model import RunState
from dispatch_celery.workflows.registry import WorkflowRegistry
from dispatch_celery.workflows.steps import Runner, StepCall, StepContext, in_step
from dispatch_celery.workflows.store import RunClaim, RunStore

__all__ = ["RunExecution", "RunExecutor", "RunOutcome", "StepRunner"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """How a slice ended: the run's new state, and its value or error where it has one."""

    state: RunState
    value: Any = None
    error: BaseException | None = None
    reason: str = ""


@dataclass(slots=True, kw_only=True)
class RunExecution:
    """One slice of a run on its way through the pipeline."""

    ref: WorkRef
    definition: WorkflowDefinition[..., Any]
    claim: RunClaim
    spec: Mapping[str, Any]
    engine: Engine
    started: int = field(default_factory=monotonic_ms)


class StepRunner:
    """Runs the functions of steps in this process."""

    def __init__(self, seat: Seat, run_async: Callable[..., Any]) -> None:
        self._seat = seat
        self._run_async = run_async

    def run(self, call: StepCall, context: Mapping[str, Any]) -> Any:
        """Call a step's function, interruptible by the worker."""
        timeout_ms = context["timeout_ms"]
        deadline = None if timeout_ms is None else datetime.now(UTC) + timedelta(milliseconds=timeout_ms)
        inside = StepContext(
            id=context["id"],
            run_id=context["run_id"],
            attempt=context["attempt"],
            token=context["token"],
            idempotency_key=context["idempotency_key"],
            deadline=deadline,
        )
        args, kwargs = call.definition.typed.call(call.arguments)
        with in_step(inside), self._limited(timeout_ms), self._seat.interruptible():
            if call.definition.is_async:
                start = partial(call.definition.__wrapped__, *args, **kwargs)
                return self._run_async(start, self._seat.cancelled, timeout_ms)
            return call.definition.__wrapped__(*args, **kwargs)

    @contextmanager
    def _limited(self, timeout_ms: int | None) -> Iterator[None]:
        """Let the worker end the block when its time is up."""
        if timeout_ms is None:
            yield
            return
        self._seat.limit(timeout_ms)
        try:
            yield
        finally:
            self._seat.limit(None)


class RunExecutor:
    """Runs slices for one process (or one thread pool) of a worker."""

    def __init__(
        self,
        *,
        store: RunStore,
        jobs: JobStore,
        registry: WorkflowRegistry,
        publisher: Publisher,
        settings: Settings,
        seat: Seat,
        observer: Observer,
        runner: Runner,
        step_retry: Retry,
        is_shutdown: Callable[[BaseException], bool] = lambda _: False,
        sleep: Callable[[float], None] = time.sleep,
        pid: Callable[[], int] = os.getpid,
    ) -> None:
        self._store = store
        self._jobs = jobs
        self._registry = registry
        self._publisher = publisher
        self._settings = settings
        self._seat = seat
        self._observer = observer
        self._runner = runner
        self._step_retry = step_retry
        self._is_shutdown = is_shutdown
        self._sleep = sleep
        self._claimer = Claimer(
            seat=seat, settings=settings, observer=observer, publish=self._publish, sleep=sleep, pid=pid
        )

    def claim(self, ref: WorkRef) -> RunExecution | None:
        """Take the run of a wake-up; None if there is nothing to do for it here."""
        verdict, claim = self._claimer.take(ref, lambda **who: self._store.claim(ref, **who))
        if verdict != "CLAIMED":
            return None
        spec: dict[str, Any] = from_json(claim.spec)
        version = int(spec.get("version", 1))
        definition = self._registry.get(ref.name, version)
        if definition is None:
            self._give_back(claim, version)
            return None
        engine = Engine(
            claim,
            store=self._store,
            seat=self._seat,
            runner=self._runner,
            step_retry=self._step_retry,
            sleep=self._sleep,
            announce=partial(self._announce, ref),
        )
        self._seat.occupy(ref.id, claim.token, timeout_ms=None)
        self._observer("resumed" if claim.entries else "started", ref)
        return RunExecution(ref=ref, definition=definition, claim=claim, spec=spec, engine=engine)

    def _give_back(self, claim: RunClaim, version: int) -> None:
        """Let a version that this worker does not know wait for one that does."""
        pause = max(1_000, self._settings.renew_every)
        self._insist(lambda: self._store.release(claim.ref, holder=claim.holder, token=claim.token, pause=pause))
        logger.info("%s waits for a worker that knows version %d of %s", claim.ref.id, version, claim.ref.name)

    def _announce(self, ref: WorkRef, moment: str, **facts: Any) -> None:
        self._observer(moment, ref, **facts)

    def perform(self, execution: RunExecution) -> RunOutcome:
        """Replay a claimed run as far as it goes, and record where it stands.

        Raises:
            Fenced: somebody else decides about this run now.
        """
        try:
            outcome = self._run(execution)
            return self._recorded(execution, outcome)
        finally:
            self._seat.vacate()

    def _run(self, execution: RunExecution) -> RunOutcome:
        if execution.claim.cancel:
            # Nothing is to be undone yet: its function need not be asked, and may be what hangs.
            return RunOutcome(RunState.CANCELLED, reason=execution.claim.cancel)
        while True:
            try:
                ended = self._pass(execution)
                if ended is not None:
                    return ended
                if execution.engine.rest():
                    return RunOutcome(RunState.WAITING)
            except Unwound as unwound:
                return self._unwound(execution.claim, unwound)

    def _pass(self, execution: RunExecution) -> RunOutcome | None:
        """Run the function once from the top; None if it is to rest."""
        execution.engine.begin()
        try:
            try:
                value = self._called(execution)
            except Suspended:
                execution.engine.check_rest()
                return None
            execution.engine.check_end()
        except (Unwound, Fenced):
            raise
        except NonDeterminism as error:
            return RunOutcome(RunState.PARKED, error=error, reason="its code has changed")
        except BaseException as error:
            if self._is_shutdown(error):
                self._recorded(execution, RunOutcome(RunState.PENDING))
                raise
            return self._failed(execution, error)
        return RunOutcome(RunState.COMPLETED, value)

    @staticmethod
    def _unwound(claim: RunClaim, unwound: Unwound) -> RunOutcome:
        if unwound.why == "released":
            return RunOutcome(RunState.PENDING)
        return RunOutcome(RunState.CANCELLED, reason=claim.cancel)

    @staticmethod
    def _called(execution: RunExecution) -> Any:
        claim, definition = execution.claim, execution.definition
        args, kwargs = definition.typed.call(definition.typed.arguments.decode(claim.payload))
        info = RunInfo(
            id=RunId(claim.ref.id),
            name=definition.name,
            version=definition.version,
            created_at=from_ms(claim.created_at),
            generation=claim.generation,
        )
        with restored(Scope.from_path(execution.spec.get("scope", ""))):
            return definition.__wrapped__(Workflow(execution.engine, info), *args, **kwargs)

    def _failed(self, execution: RunExecution, error: BaseException) -> RunOutcome:
        if self._seat.cancelled():
            return RunOutcome(RunState.CANCELLED, reason=execution.claim.cancel or "cancelled by request")
        try:
            execution.engine.check_end()
        except NonDeterminism as other:
            return RunOutcome(RunState.PARKED, error=other, reason="its code has changed")
        except Exception as misuse:  # noqa: BLE001 - what check_end says of the code is the better error
            return RunOutcome(RunState.FAILED, error=misuse)
        return RunOutcome(RunState.FAILED, error=error)

    def _recorded(self, execution: RunExecution, outcome: RunOutcome) -> RunOutcome:
        claim, ref = execution.claim, execution.ref
        if outcome.state == RunState.WAITING:
            self._observer("waiting", ref)
            return outcome
        if outcome.state == RunState.COMPLETED:
            try:
                result = execution.definition.typed.result.encode(outcome.value)
            except Exception as error:  # noqa: BLE001 - what it returned is not what it declares
                return self._recorded(execution, RunOutcome(RunState.FAILED, error=error))
            answer = self._finish(claim, RunState.COMPLETED, ["result", result])
        elif outcome.state == RunState.FAILED:
            assert outcome.error is not None  # noqa: S101 - a failure has an error
            error_text = encode_failure(failure_of(outcome.error))
            answer = self._finish(claim, RunState.FAILED, ["error", error_text])
        elif outcome.state == RunState.CANCELLED:
            answer = self._finish(claim, RunState.CANCELLED, ["reason", outcome.reason])
        elif outcome.state == RunState.PARKED:
            answer = self._insist(
                lambda: self._store.park(
                    ref, holder=claim.holder, token=claim.token, reason=outcome.reason, detail=str(outcome.error)
                )
            )
        else:
            answer = self._insist(lambda: self._store.release(ref, holder=claim.holder, token=claim.token))
            self._publish([WakeUp(ref=ref, wake=answer.detail, spec=execution.spec)])
        if answer.verdict == "CANCELLING":
            return self._recorded(execution, RunOutcome(RunState.CANCELLED, reason=answer.detail))
        if not answer.recorded:
            raise Fenced(f"{ref.id} is not held under {claim.token} any more")
        self._tell(execution, outcome)
        return outcome

    def _finish(self, claim: RunClaim, state: RunState, fields: list[Any]) -> Answer:
        return self._insist(lambda: self._store.finish(claim, state, fields))

    def _tell(self, execution: RunExecution, outcome: RunOutcome) -> None:
        elapsed = (monotonic_ms() - execution.started) / 1000
        if outcome.state == RunState.COMPLETED:
            self._observer("completed", execution.ref, elapsed=elapsed)
        elif outcome.state == RunState.FAILED:
            self._observer("failed", execution.ref, error=outcome.error)
        elif outcome.state == RunState.CANCELLED:
            self._observer("cancelled", execution.ref)
        elif outcome.state == RunState.PARKED:
            self._observer("parked", execution.ref, reason=outcome.reason)

    def _insist(self, send: Callable[[], Answer]) -> Answer:
        failures = 0
        while True:
            try:
                return send()
            except StoreUnavailable as error:
                failures += 1
                if failures == 1:
                    logger.warning("a run's outcome waits for the state server: %s", error)
                self._sleep(unavailable_pause(failures))

    def _publish(self, wakeups: list[WakeUp]) -> None:
        try:
            self._publisher.publish(wakeups)
            self._jobs.clear_marks([(wakeup.ref.id, wakeup.wake) for wakeup in wakeups])
        except StoreUnavailable as error:
            logger.warning("%d wake-ups wait for the broker and will be swept: %s", len(wakeups), error)

    def settle(self, stored: Stored, *, crashed: bool) -> None:
        """Take a run from a process that was ended: it goes on elsewhere."""
        counter = "crashes" if crashed else ""
        answer = self._store.release(stored.ref, holder=stored.holder, token=stored.token, counter=counter)
        if answer.verdict == "DONE":
            self._publish([WakeUp(ref=stored.ref, wake=answer.detail, spec=stored.spec)])
