"""How people intervene: cancel, compensate, see undos through, let parked runs go on, tell a run something."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any, Final

from dispatch_celery.errors import Fenced, StateConflict, StoreUnavailable
from dispatch_celery.events.model import Event, Place
from dispatch_celery.ids import EventId, RunId
from dispatch_celery.store.replies import text
from dispatch_celery.work.body import IN_A_STEP, refuse_in_body
from dispatch_celery.work.model import WakeUp, WorkRef
from dispatch_celery.work.records import Stored
from dispatch_celery.work.scripts import Answer, woken_by
from dispatch_celery.workflows.model import ENDED, STUCK, RunPhase, RunState
from dispatch_celery.workflows.reading import RunReading
from dispatch_celery.workflows.topics import waiter_of

__all__ = ["RunOperating"]

logger = logging.getLogger(__name__)

_TRIES: Final = 20
_UNDOING: Final = (
    "{} is {} and undoes what it has done already: wait for it, or see its timeline and use retry_undo or skip_undo;"
    " cancel it with discard_undo=True, while nobody holds it, to leave its effects as they are"
)


class RunOperating(RunReading):
    """The verbs that move a run on."""

    def cancel(self, run_id: RunId | str, *, reason: str = "", discard_undo: bool = False) -> RunState:
        """Cancel a run: at once if nobody holds it, else its worker is told. Idempotent.

        A run that has done something to be undone undoes it first, and is cancelled then. ``discard_undo`` leaves those
        effects as they are, and ends also a run whose undoing is stuck; nobody may hold it.

        Raises:
            StateConflict: it has completed or failed, or is undoing already and ``discard_undo`` is not given.
        """
        refuse_in_body("dispatch.runs.cancel()", "use wf.cancel(promise) for what this run has sent, else " + IN_A_STEP)
        return self.call_off(RunId.parse(run_id), reason or "cancelled by request", discard_undo=discard_undo)

    def call_off(self, run_id: RunId, reason: str, *, by: str = "", discard_undo: bool = False) -> RunState:
        """Do as ``cancel``, in the name of the run it belongs to where ``by`` is that run's token and revision.

        Raises:
            StateConflict: as ``cancel``.
            Fenced: that run is held by somebody else now, or does not stand where ``by`` says.
        """
        for _ in range(_TRIES):
            stored = self._found(run_id)
            state = RunState(stored.state)
            if state == RunState.CANCELLED:
                return state
            if state in ENDED:
                raise StateConflict(f"{run_id} has {state}: there is nothing to cancel")
            if state == RunState.RUNNING:
                if discard_undo:
                    raise StateConflict(f"{run_id} is held by a worker: discard_undo takes a run that nobody holds")
                answer = self._jobs.flag(stored.ref, stored.holder, reason, by=by)
            else:
                answer = self._store.cancel(stored.ref, state, reason, discard=discard_undo, by=by)
                if answer.verdict == "OPEN":
                    answer = self._store.turn(stored.ref, state, reason, by=by)
            reached = self._cancelled(stored, answer)
            if reached is not None:
                if state == RunState.WAITING and reached != RunState.WAITING:
                    self._leave_topics(run_id)
                return reached
            time.sleep(0.005)
        raise StateConflict(f"{run_id} changes its state too fast to be cancelled: try again")

    def _leave_topics(self, run_id: RunId) -> None:
        """Strike a run off wherever it waits for events; where that fails, the next publication there does.

        Somebody may have taken it back by now: where it waits since then is left.
        """
        try:
            raw = self._stored.raw(run_id)
            if text(raw.get("state")) == RunState.WAITING and "undoing" not in raw:
                return
            entries, _ = self._records.entries(run_id)
            for entry in entries:
                places = [Place.of_digest(digest) for digest in entry.head.get("p", {})]
                generation = entry.head.get("g", 0)
                if places and not entry.is_resolved and generation <= int(raw.get("generation", 0)):
                    self._events.forget(places, waiter_of(run_id, entry.identity, generation))
        except StoreUnavailable as error:
            logger.debug("%s is still registered where it waited: %s", run_id, error)

    def _cancelled(self, stored: Stored, answer: Answer) -> RunState | None:
        """Return what a cancel has come to; None where the run had moved on before it."""
        _refuse_fenced(stored.ref, answer)
        if answer.verdict == "ASKED":
            return RunState.RUNNING
        if answer.verdict == "DONE":
            self._observer("cancelled", stored.ref)
            for wakeup in woken_by(stored.ref, answer):
                self._publish(wakeup)
            return RunState.CANCELLED
        if answer.verdict == "READY":
            self._observer("compensating", stored.ref)
            if answer.detail:
                self._publish(WakeUp(ref=stored.ref, wake=answer.detail, spec=stored.spec))
            return RunState.PENDING
        if answer.verdict == "UNDOING":
            if answer.detail == RunState.CANCELLED and stored.state != RunState.PARKED:
                return RunState(stored.state)  # asked again
            raise StateConflict(_UNDOING.format(stored.ref.id, stored.state))
        return None

    def compensate(self, run_id: RunId | str, *, reason: str = "compensated by request") -> RunState:
        """Undo what a run has done, and end it as cancelled: one that goes on, rests or is parked, or has completed.

        Raises:
            StateConflict: it has failed, is undoing already, or has completed with nothing that can be undone.
        """
        refuse_in_body("dispatch.runs.compensate()", "use wf.compensate() for this run, else " + IN_A_STEP)
        return self.take_back(RunId.parse(run_id), reason)

    def take_back(self, run_id: RunId, reason: str, *, by: str = "") -> RunState:
        """Do as ``compensate``, in the name of the run it belongs to where ``by`` is that run's token and revision.

        Raises:
            StateConflict: as ``compensate``.
            Fenced: as ``call_off``.
        """
        stored = self._found(run_id)
        if stored.state != RunState.COMPLETED:
            return self.call_off(run_id, reason, by=by)
        answer = self._store.reverse(stored.ref, reason, by=by)
        _refuse_fenced(stored.ref, answer)
        if answer.verdict == "EMPTY":
            raise StateConflict(f"{run_id} has completed, and nothing it did can be undone")
        if answer.verdict != "READY":
            raise StateConflict(f"{run_id} is {answer.detail} by now: nothing was changed")
        self._observer("compensating", stored.ref)
        self._publish(WakeUp(ref=stored.ref, wake=answer.detail, spec=stored.spec))
        return RunState.PENDING

    def retry_undo(self, run_id: RunId | str) -> RunState:
        """Let a run whose undoing is stuck go on, with a new set of attempts for the undo that was given up.

        Raises:
            StateConflict: it is not parked because an undo was given up.
        """
        run = self.get(run_id)
        if run.state != RunState.PARKED or (run.reason != STUCK and run.phase != RunPhase.UNDOING):
            raise StateConflict(f"{run_id} is {run.shown}, and no undo of it was given up: there is none to try again")
        return self.resume(run_id)

    def skip_undo(self, run_id: RunId | str, identity: str) -> RunState:
        """Strike off one undo of a parked run, because it is not needed or was done by hand, and let the run go on.

        ``identity`` is that of the step, as ``timeline`` and the run's ``detail`` say it, such as ``charge#1``.

        Raises:
            StateConflict: the run is not parked, or has no such undo that is open.
        """
        refuse_in_body("dispatch.runs.skip_undo()")
        stored = self._found(RunId.parse(run_id))
        identity = identity.removeprefix("undo:")
        answer = self._store.skip(stored.ref, identity)
        if answer.verdict == "STATE":
            raise StateConflict(f"{run_id} is {answer.detail}, not parked: no undo of it can be skipped")
        if answer.verdict == "MISSING":
            raise StateConflict(f"{run_id} has no open undo {identity!r}; see its timeline")
        run = self.get(run_id)
        return self.resume(run_id) if run.reason == STUCK or run.phase == RunPhase.UNDOING else RunState.PARKED

    def publish(self, run_id: RunId | str, event: Event[Any] | str, payload: Any = None) -> EventId:
        """Publish an event to one run: a wait of it for that name takes it, whatever key it waits for.

        The run need not exist yet: its id can be that of a handle, or derived by the caller.

        Raises:
            PayloadError: the payload does not fit the event's type, or cannot be written as JSON.
            StateConflict: its inbox is full; nothing was stored.
        """
        return self._events.publish_to(run_id, event, payload)

    def resume(self, run_id: RunId | str) -> RunState:
        """Let a parked run go on: replay it, with today's code.

        Raises:
            StateConflict: it is not parked.
        """
        refuse_in_body("dispatch.runs.resume()")
        stored = self._found(RunId.parse(run_id))
        answer = self._store.resume(stored.ref)
        if answer.verdict != "READY":
            raise StateConflict(f"{run_id} is {answer.detail}, not parked")
        self._publish(WakeUp(ref=stored.ref, wake=answer.detail, spec=stored.spec))
        return RunState.PENDING

    # -- the same on an event loop, written by .ci/make_twins.py

    async def acancel(self, run_id: RunId | str, *, reason: str = "", discard_undo: bool = False) -> RunState:
        """Do as ``cancel``, without holding the event loop."""
        return await asyncio.to_thread(self.cancel, run_id, reason=reason, discard_undo=discard_undo)

    async def acompensate(self, run_id: RunId | str, *, reason: str = "compensated by request") -> RunState:
        """Do as ``compensate``, without holding the event loop."""
        return await asyncio.to_thread(self.compensate, run_id, reason=reason)

    async def aretry_undo(self, run_id: RunId | str) -> RunState:
        """Do as ``retry_undo``, without holding the event loop."""
        return await asyncio.to_thread(self.retry_undo, run_id)

    async def askip_undo(self, run_id: RunId | str, identity: str) -> RunState:
        """Do as ``skip_undo``, without holding the event loop."""
        return await asyncio.to_thread(self.skip_undo, run_id, identity)

    async def apublish(self, run_id: RunId | str, event: Event[Any] | str, payload: Any = None) -> EventId:
        """Do as ``publish``, without holding the event loop."""
        return await asyncio.to_thread(self.publish, run_id, event, payload)

    async def aresume(self, run_id: RunId | str) -> RunState:
        """Do as ``resume``, without holding the event loop."""
        return await asyncio.to_thread(self.resume, run_id)


def _refuse_fenced(ref: WorkRef, answer: Answer) -> None:
    if answer.verdict == "FENCED":
        raise Fenced(f"{ref.id} is left as it is: the run it belongs to is not held by who asks any more")
