"""How a slice of a run ends: written under its token, told to who listens, published to who goes on."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dispatch_celery.clock import monotonic_ms
from dispatch_celery.errors import StoreUnavailable, WorkflowMisuse
from dispatch_celery.jobs.outcome import failure_of
from dispatch_celery.work.model import WakeUp, WorkRef
from dispatch_celery.work.ports import Observer, Publisher
from dispatch_celery.work.records import encode_failure
from dispatch_celery.work.scripts import woken_by
from dispatch_celery.work.store import WorkStore
from dispatch_celery.workflows.definition import WorkflowDefinition
from dispatch_celery.workflows.engine import Engine
from dispatch_celery.workflows.held import RunClaim
from dispatch_celery.workflows.holder import Anew
from dispatch_celery.workflows.journal import consumed_by
from dispatch_celery.workflows.model import RunState

__all__ = ["RunExecution", "RunOutcome", "RunRecorder"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """How a slice ended: the run's new state, and its value or error where it has one."""

    state: RunState
    value: Any = None
    error: BaseException | None = None
    reason: str = ""
    detail: str = ""
    pause: int = 0
    """Milliseconds until it is ready again."""
    undone: bool = False
    """Whether what it did was undone before it ended."""
    anew: Anew | None = None
    """What its next generation begins with."""


@dataclass(slots=True, kw_only=True)
class RunExecution:
    """One slice of a run on its way through the pipeline."""

    ref: WorkRef
    definition: WorkflowDefinition[..., Any]
    claim: RunClaim
    spec: Mapping[str, Any]
    engine: Engine
    started: int = field(default_factory=monotonic_ms)


class RunRecorder:
    """Writes what slices come to, for one process of a worker."""

    def __init__(self, jobs: WorkStore, publisher: Publisher, observer: Observer) -> None:
        self._jobs = jobs
        self._publisher = publisher
        self._observer = observer

    def record(self, execution: RunExecution, outcome: RunOutcome) -> RunOutcome | None:
        """Record how a slice ended; return what it came to, or None where what the run did is to be undone first.

        Raises:
            Fenced: somebody else decides about this run now.
        """
        ref, holder = execution.ref, execution.engine.holder
        if outcome.state == RunState.WAITING:
            self._observer("waiting", ref)
        elif outcome.state == RunState.PARKED:
            holder.park(outcome.reason, outcome.detail)
        elif outcome.anew is not None:
            return self._continued(execution, outcome.anew)
        elif outcome.state == RunState.PENDING:
            answer = holder.release(pause=outcome.pause)
            if not outcome.pause:
                self.publish([WakeUp(ref=ref, wake=answer.detail, spec=execution.spec)])
        else:
            return self._ended(execution, outcome)
        self._tell(execution, outcome)
        return outcome

    def _continued(self, execution: RunExecution, anew: Anew) -> RunOutcome | None:
        """Let the run begin anew."""
        engine = execution.engine
        spec = {**execution.spec, "summary": anew.summary}
        answer = engine.holder.continue_as_new(anew.payload, spec, sorted(consumed_by(engine.journal.all)))
        if answer.verdict == "CANCELLING":
            return self._ended(execution, RunOutcome(RunState.CANCELLED, reason=answer.detail))
        if answer.verdict == "OPEN":
            misuse = WorkflowMisuse(
                "wf.continue_as_new() while a child that has completed could have to be undone: a new generation would"
                " know nothing of it; call wf.compensate(), or start the child with options(detached=True)"
            )
            return self._ended(execution, RunOutcome(RunState.FAILED, error=misuse))
        engine.leave_topics()
        if answer.verdict == "DONE":
            self.publish([WakeUp(ref=execution.ref, wake=answer.detail, spec=spec)])
        return RunOutcome(RunState.PENDING)

    def _ended(self, execution: RunExecution, outcome: RunOutcome) -> RunOutcome | None:
        fields: list[Any] = []
        if outcome.state == RunState.COMPLETED:
            try:
                fields = ["result", execution.definition.typed.result.encode(outcome.value)]
            except Exception as error:  # noqa: BLE001 - what it returned is not what it declares
                return self._ended(execution, RunOutcome(RunState.FAILED, error=error))
        elif outcome.error is not None:
            fields = ["error", encode_failure(failure_of(outcome.error))]
        elif outcome.reason:
            fields = ["reason", outcome.reason]
        answer = execution.engine.holder.finish(outcome.state, fields)
        if answer.verdict == "CANCELLING":
            return self._ended(execution, RunOutcome(RunState.CANCELLED, reason=answer.detail))
        if answer.verdict == "UNDOING" and outcome.undone:
            # A child has completed meanwhile and left effects: who claims the run anew is told of them.
            return self.record(execution, RunOutcome(RunState.PENDING))
        if answer.verdict == "UNDOING":
            return self._to_undo(execution, outcome, interrupted=bool(answer.detail))
        if answer.verdict == "DONE":
            self.publish(woken_by(execution.ref, answer))
        execution.engine.leave_topics()
        self._tell(execution, outcome)
        return outcome

    def _to_undo(self, execution: RunExecution, outcome: RunOutcome, *, interrupted: bool) -> RunOutcome | None:
        """Say that a run has failed or was cancelled and undoes from now on: here, or where it is claimed next."""
        self._observer("compensating", execution.ref)
        if interrupted or outcome.state == RunState.CANCELLED:
            # Under this token its process may still be ended for the cancel: what undoes is claimed anew.
            return self.record(execution, RunOutcome(RunState.PENDING))
        return None

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

    def publish(self, wakeups: list[WakeUp]) -> None:
        """Publish wake-ups; where the broker does not answer, their marks are swept."""
        if not wakeups:
            return
        try:
            self._publisher.publish(wakeups)
            self._jobs.clear_marks([(wakeup.ref.id, wakeup.wake) for wakeup in wakeups])
        except StoreUnavailable as error:
            logger.warning("%d wake-ups wait for the broker and will be swept: %s", len(wakeups), error)
