"""The life of one slice of a run: claim it with its journal, replay its function, record how far it came.

Knows nothing of Celery. What a run's end or rest looks like to Celery is ``tracing``'s business.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Final

from pydantic_core import from_json

from dispatch_celery.config import Settings
from dispatch_celery.errors import Fenced, NonDeterminism, Suspended, WorkflowMisuse
from dispatch_celery.ids import RunId
from dispatch_celery.retry import Retry
from dispatch_celery.scope import Scope, restored
from dispatch_celery.work import spans
from dispatch_celery.work.body import out_of_body
from dispatch_celery.work.model import WakeUp, WorkRef
from dispatch_celery.work.ports import Observer, Publisher, Seat
from dispatch_celery.work.records import Stored, make_ref
from dispatch_celery.work.store import WorkStore
from dispatch_celery.worker.claiming import Claimer
from dispatch_celery.worker.run_recorder import RunExecution, RunOutcome, RunRecorder
from dispatch_celery.workflows.body import call_body
from dispatch_celery.workflows.engine import Engine
from dispatch_celery.workflows.held import RunClaim
from dispatch_celery.workflows.holder import Anew, Holder, Paused, Stuck, Unwound
from dispatch_celery.workflows.journal import last_trace
from dispatch_celery.workflows.limits import JournalLimits
from dispatch_celery.workflows.members import Fleet
from dispatch_celery.workflows.model import STUCK, RunState
from dispatch_celery.workflows.registry import WorkflowRegistry
from dispatch_celery.workflows.slice import ServerClock
from dispatch_celery.workflows.steps import Runner
from dispatch_celery.workflows.store import RunStore
from dispatch_celery.workflows.topics import Topics

__all__ = ["RunExecutor"]

logger = logging.getLogger(__name__)

_CHANGED: Final = "its code has changed"


class RunExecutor:
    """Runs slices for one process (or one thread pool) of a worker."""

    def __init__(
        self,
        *,
        store: RunStore,
        jobs: WorkStore,
        registry: WorkflowRegistry,
        publisher: Publisher,
        settings: Settings,
        seat: Seat,
        observer: Observer,
        runner: Runner,
        fleet: Fleet,
        topics: Topics,
        step_retry: Retry,
        is_shutdown: Callable[[BaseException], bool] = lambda _: False,
        sleep: Callable[[float], None] = time.sleep,
        pid: Callable[[], int] = os.getpid,
        clock: Callable[[RunClaim], Callable[[], int]] = lambda claim: ServerClock(claim.claimed_at),
    ) -> None:
        self._store = store
        self._registry = registry
        self._recorder = RunRecorder(jobs, publisher, observer)
        self._settings = settings
        self._seat = seat
        self._observer = observer
        self._runner = runner
        self._fleet = fleet
        self._topics = topics
        self._step_retry = step_retry
        self._is_shutdown = is_shutdown
        self._sleep = sleep
        self._clock = clock
        self._claimer = Claimer(
            seat=seat, settings=settings, observer=observer, publish=self._recorder.publish, sleep=sleep, pid=pid
        )

    def claim(self, ref: WorkRef) -> RunExecution | None:
        """Take the run of a wake-up; None if there is nothing to do for it here."""
        verdict, claim = self._claimer.take(ref, lambda **who: self._store.claim(ref, **who))
        if verdict != "CLAIMED":
            return None
        spec: dict[str, Any] = from_json(claim.spec)
        claim.ref = ref = make_ref(WorkRef, RunId(ref.id), ref.name, ref.lane, spec)
        version = int(spec.get("version", 1))
        definition = self._registry.get(ref.name, version)
        if definition is None:
            self._give_back(claim, version)
            return None
        holder = self._holder(claim)
        engine = Engine(
            holder,
            runner=self._runner,
            fleet=self._fleet,
            topics=self._topics,
            step_retry=self._step_retry,
            max_payload=self._settings.max_payload,
            limits=JournalLimits(self._settings.max_promises, self._settings.max_journal),
            announce=partial(self._announce, ref),
            is_shutdown=self._is_shutdown,
            clock=self._clock(claim),
            on_loop=definition.is_async,
        )
        engine.definition = definition
        self._seat.occupy(ref.id, claim.token, timeout_ms=None)
        self._observer("resumed" if claim.entries or claim.generation else "started", ref)
        return RunExecution(ref=ref, definition=definition, claim=claim, spec=spec, engine=engine)

    def _holder(self, claim: RunClaim) -> Holder:
        return Holder(claim, store=self._store, seat=self._seat, sleep=self._sleep)

    def _give_back(self, claim: RunClaim, version: int) -> None:
        """Let a version that this worker does not know wait for one that does."""
        self._holder(claim).release(pause=max(1_000, self._settings.renew_every))
        logger.info("%s waits for a worker that knows version %d of %s", claim.ref.id, version, claim.ref.name)

    def _announce(self, ref: WorkRef, moment: str, **facts: Any) -> None:
        with out_of_body():  # what hooks and receivers do is none of the body's doing
            self._observer(moment, ref, **facts)

    def perform(self, execution: RunExecution) -> RunOutcome:
        """Replay a claimed run as far as it goes, and record where it stands.

        Raises:
            Fenced: somebody else decides about this run now.
        """
        earlier = last_trace(execution.claim.entries) if spans.followed() else ""
        with spans.around(execution.ref, execution.spec, earlier=earlier) as ended:
            try:
                outcome = self._recorded(execution, self._run(execution))
                ended(outcome.state, outcome.error)
                return outcome
            finally:
                self._seat.vacate()

    def _run(self, execution: RunExecution) -> RunOutcome:
        claim = execution.claim
        if claim.undoing:
            return self._steered(execution, self._unwind)
        if claim.cancel:
            # Its function need not be asked, and may be what hangs; what is to be undone is on record.
            return RunOutcome(RunState.CANCELLED, reason=claim.cancel)
        return self._steered(execution, self._forward)

    def _steered(self, execution: RunExecution, work: Callable[[RunExecution], RunOutcome]) -> RunOutcome:
        """Do some work, and answer the control signals that end it early."""
        try:
            return work(execution)
        except Unwound as unwound:
            return self._unwound(execution.claim, unwound)
        except Paused as paused:
            return RunOutcome(RunState.PENDING, pause=paused.delay)
        except Stuck as stuck:
            return RunOutcome(RunState.PARKED, detail=str(stuck), reason=STUCK)

    def _forward(self, execution: RunExecution) -> RunOutcome:
        while True:
            ended = self._pass(execution)
            if ended is not None:
                return ended
            if execution.engine.rest():
                return RunOutcome(RunState.WAITING)

    def _unwind(self, execution: RunExecution) -> RunOutcome:
        """Undo what the run has done; what it ends as is on record."""
        try:
            with restored(Scope.from_path(execution.spec.get("scope", ""))):
                execution.engine.saga.unwind()
        except BaseException as error:
            if self._is_shutdown(error):
                self._recorded(execution, RunOutcome(RunState.PENDING))
            raise
        return RunOutcome(RunState(execution.claim.undoing), undone=True)

    def _pass(self, execution: RunExecution) -> RunOutcome | None:
        """Run the function once from the top; None if it is to rest."""
        execution.engine.begin()
        try:
            try:
                value = call_body(execution.definition, execution.engine)
            except Suspended:
                execution.engine.check_rest()
                return None
            execution.engine.check_end()
        except Anew as anew:
            return RunOutcome(RunState.PENDING, anew=anew)
        except (Unwound, Paused, Stuck, Fenced):
            raise
        except NonDeterminism as error:
            return RunOutcome(RunState.PARKED, detail=str(error), reason=_CHANGED)
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

    def _failed(self, execution: RunExecution, error: BaseException) -> RunOutcome:
        if self._seat.cancelled():
            return RunOutcome(RunState.CANCELLED, reason=execution.claim.cancel or "cancelled by request")
        try:
            execution.engine.check_end(error)
        except NonDeterminism as other:
            return RunOutcome(RunState.PARKED, detail=str(other), reason=_CHANGED)
        except Exception as misuse:  # noqa: BLE001 - what check_end says of the code is the better error
            return RunOutcome(RunState.FAILED, error=error if isinstance(error, WorkflowMisuse) else misuse)
        return RunOutcome(RunState.FAILED, error=error)

    def _recorded(self, execution: RunExecution, outcome: RunOutcome) -> RunOutcome:
        """Record how the slice ended; return what it came to. What is to be undone first is undone here."""
        recorded = self._recorder.record(execution, outcome)
        if recorded is not None:
            return recorded
        undone = self._steered(execution, self._unwind)
        return self._recorded(execution, replace(undone, error=outcome.error) if undone.undone else undone)

    def settle(self, stored: Stored, *, crashed: bool) -> None:
        """Take a run from a process that was ended: it goes on elsewhere."""
        counter = "crashes" if crashed else ""
        answer = self._store.release(stored.ref, holder=stored.holder, token=stored.token, counter=counter)
        if answer.verdict == "DONE":
            self._recorder.publish([WakeUp(ref=stored.ref, wake=answer.detail, spec=stored.spec)])
