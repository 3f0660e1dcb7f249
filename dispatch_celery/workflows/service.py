"""The verbs of runs for callers and operators: start, get, list, count, state, cancel, resume, timeline, handle."""

from __future__ import annotations

import asyncio
import builtins
import json
import logging
import time
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any, Final

from dispatch_celery.clock import to_ms
from dispatch_celery.codec import Codec
from dispatch_celery.errors import (
    IdempotencyConflict,
    RunCancelled,
    RunFailed,
    RunNotFound,
    RunParked,
    StateConflict,
    StoreUnavailable,
)
from dispatch_celery.events.model import Event
from dispatch_celery.events.service import EventService
from dispatch_celery.ids import EventId, RunId, TypedId
from dispatch_celery.retry import Retry
from dispatch_celery.scope import current_scope
from dispatch_celery.store.client import Store
from dispatch_celery.store.keys import Keys
from dispatch_celery.store.listener import Listener
from dispatch_celery.store.paging import Page, Pager
from dispatch_celery.store.replies import ask_all
from dispatch_celery.store.scripts import Call
from dispatch_celery.work.body import IN_A_STEP, refuse_in_body
from dispatch_celery.work.model import SCHEMA, WakeUp
from dispatch_celery.work.ports import Observer, Publisher
from dispatch_celery.work.records import Stored, WorkRecords
from dispatch_celery.work.scripts import Answer, woken_by
from dispatch_celery.work.store import WorkStore
from dispatch_celery.work.waiting import Ends
from dispatch_celery.workflows.definition import RunCall, WorkflowDefinition
from dispatch_celery.workflows.handle import RunHandle
from dispatch_celery.workflows.model import ENDED, STUCK, Promise, Run, RunPhase, RunRef, RunState
from dispatch_celery.workflows.records import RunRecords
from dispatch_celery.workflows.registry import WorkflowRegistry
from dispatch_celery.workflows.store import NewRun, RunStore

__all__ = ["RunEnds", "RunService"]

logger = logging.getLogger(__name__)

_KIND: Final = "run-"
_TRIES: Final = 20
_UNDOING: Final = (
    "{} is {} and undoes what it has done already: wait for it, or see its timeline and use retry_undo or skip_undo;"
    " cancel it with discard_undo=True, while nobody holds it, to leave its effects as they are"
)


class RunEnds(Ends):
    """Outcomes of runs. A parked one counts as ended: who waits for it would wait for a person."""

    ended = ENDED | {RunState.PARKED}

    def __init__(
        self, records: WorkRecords, keys: Keys, listener: Listener, codec_of: Callable[[str, int], Codec | None]
    ) -> None:
        super().__init__(records, keys, listener)
        self._codec_of = codec_of

    def missing(self, work_id: str) -> Exception:
        """Return the error for an id without a record."""
        return _not_found(work_id)

    def outcome(self, work_id: TypedId, fields: Mapping[str, bytes], codec: Codec | None) -> Any:
        """Return a run's result, or raise why it has none."""
        run = RunRecords.of(work_id, fields)
        if run.state == RunState.COMPLETED:
            codec = codec or self._codec_of(run.name, run.version)
            data = fields.get("result", b"null")
            return json.loads(data) if codec is None else codec.decode(data)
        if run.state == RunState.CANCELLED:
            raise RunCancelled(f"{run.id} ({run.name}) was cancelled: {run.reason}", id=run.id)
        if run.state == RunState.PARKED:
            raise RunParked(f"{run.id} ({run.name}) waits for a person: {run.reason}: {run.detail}", id=run.id)
        failure = run.failure
        if failure is None:
            raise RunFailed(f"{run.id} ({run.name}) failed without a recorded error", id=run.id)
        raise RunFailed(
            f"{run.id} ({run.name}) failed: {failure.type}: {failure.message}",
            id=run.id,
            error_type=failure.type,
            error_message=failure.message,
            remote_traceback=failure.traceback,
        )


class RunService:
    """Everything callers may do with runs. Safe for threads.

    Each verb has an ``a`` twin for event loops: the same, without holding the loop.
    """

    def __init__(
        self,
        *,
        port: Store,
        keys: Keys,
        store: RunStore,
        jobs: WorkStore,
        stored: WorkRecords,
        records: RunRecords,
        registry: WorkflowRegistry,
        publisher: Publisher,
        events: EventService,
        ends: RunEnds,
        observer: Observer,
        default_queue: str,
        max_payload: int,
        default_step_retry: Retry,
    ) -> None:
        self._port = port
        self._keys = keys
        self._store = store
        self._jobs = jobs
        self._stored = stored
        self._records = records
        self._registry = registry
        self._publisher = publisher
        self._events = events
        self._ends = ends
        self._observer = observer
        self._default_queue = default_queue
        self._pager = Pager(port)
        self.max_payload = max_payload
        self.default_step_retry = default_step_retry

    # -- start

    def start(self, name: str, /, **arguments: Any) -> RunHandle[Any]:
        """Start the latest version of a workflow that this app declares, by name.

        Raises:
            WorkflowNotFound: it declares none of that name.
            PayloadError: an argument is unknown, missing, or does not fit.
        """
        refuse_in_body("dispatch.start({0!r})", "use wf.run_child or wf.spawn_child of its definition", name)
        definition = self._registry.latest(name)
        payload = definition.typed.arguments.encode_plain(definition.typed.bind((), arguments))
        return self.start_call(RunCall(definition, payload, definition.summary(arguments)))

    def start_call(self, call: RunCall[Any]) -> RunHandle[Any]:
        """Store a run and wake a worker; one round trip.

        Raises:
            IdempotencyConflict: its key is used with other arguments.
        """
        return RunHandle(self.write(self.new_run(call)), self, call.definition.typed.result)

    def new_run(
        self, call: RunCall[Any], *, run_id: RunId | None = None, extra: Mapping[str, Any] | None = None
    ) -> NewRun:
        """Return what would be written for a call; its id is minted here, so writing it twice is one run."""
        definition, options = call.definition, call.options
        spec: dict[str, Any] = {"schema": SCHEMA, "summary": call.summary, "version": definition.version}
        tenant = current_scope().path
        if tenant:
            spec["scope"] = tenant
        if options.idempotency_key is not None:
            spec["idempotency_key"] = options.idempotency_key
        spec |= extra or {}
        ref = RunRef(
            id=run_id or RunId.mint(),
            name=definition.name,
            queue=options.queue or definition.queue or self._default_queue,
            priority=definition.priority if options.priority is None else options.priority,
            scope=tenant,
            idempotency_key=options.idempotency_key or "",
            version=definition.version,
        )
        return NewRun(
            ref=ref,
            spec=spec,
            payload=call.payload,
            delay=options.delay_ms,
            run_at=options.run_at_ms,
            timeout=definition.timeout_ms if options.timeout is None else to_ms(options.timeout),
            digest=sha256(call.payload).hexdigest()[:32] if options.idempotency_key is not None else "",
        )

    def write(self, run: NewRun) -> RunId:
        """Write a run and publish its wake-up; return the id under which it is found."""
        wakeup = WakeUp(ref=run.ref, wake="1", spec=run.spec)
        riders = self._publisher.riders([wakeup]) if run.delay is None and run.run_at is None else []
        if riders:
            riders.append(self._store.clearing(run.ref.id, "1"))
        verdict, *details = self._store.start(run, riders)
        if verdict == "CONFLICT":
            raise IdempotencyConflict(
                f"idempotency key {run.ref.idempotency_key!r} of {run.ref.name} belongs to {details[0]} with other"
                " arguments: use another key, or the same arguments",
                existing_id=details[0],
                refused_id=run.ref.id,
            )
        if verdict == "EXISTING":
            return RunId(details[0])
        if verdict == "CREATED":
            self._observer("enqueued", run.ref)
        if riders:
            self._publisher.announce([wakeup])
        elif details[0] == RunState.PENDING:
            self._publish(wakeup)
        return run.ref.id

    # -- read

    def get(self, run_id: RunId | str) -> Run:
        """Return a run's record.

        Raises:
            RunNotFound: it never existed here, or its retention has passed.
        """
        (run,) = self._records.runs([RunId.parse(run_id)])
        if run is None:
            raise _not_found(run_id)
        return run

    def state(self, run_id: RunId | str) -> RunState:
        """Return a run's state."""
        return RunState(self._found(RunId.parse(run_id)).state)

    def timeline(self, run_id: RunId | str) -> builtins.list[Promise]:
        """Return every durable call of a run: the resolved ones in the order of their outcomes, then the open ones."""
        self.state(run_id)
        return self._records.timeline(RunId.parse(run_id))

    def handle(self, run_id: RunId | str) -> RunHandle[Any]:
        """Return the handle of a stored id, its result as its workflow declares it, if this app does."""
        return RunHandle(RunId.parse(run_id), self)

    def handle_of(self, run_id: str, definition: WorkflowDefinition[..., Any]) -> RunHandle[Any]:
        """Return the handle of a stored id, typed by a definition."""
        return RunHandle(RunId.parse(run_id), self, definition.typed.result)

    def list(
        self,
        *,
        state: RunState | str | None = None,
        name: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page[Run]:
        """Return one page of runs, newest first; ``next_cursor`` of a page is the ``cursor`` of the next."""
        states = [RunState(state)] if state is not None else builtins.list(RunState)
        indexes = [
            self._keys.state(one, _KIND) if name is None else self._keys.name(one, name, _KIND) for one in states
        ]
        return self._pager.page(
            indexes, self._records.runs, keep=_any, limit=limit, cursor=cursor, until=None, since=None
        )

    def count(self, *, name: str | None = None) -> dict[RunState, int]:
        """Return how many runs there are in each state."""
        calls = [
            Call.command("ZCARD", self._keys.state(one, _KIND) if name is None else self._keys.name(one, name, _KIND))
            for one in RunState
        ]
        return {state: int(reply) for state, reply in zip(RunState, ask_all(self._port, calls), strict=True)}

    def result_of(self, run_id: RunId, codec: Codec | None, timeout_ms: int | None) -> Any:
        """Wait for a run's end and return its result; see ``RunHandle.result``."""
        return self._ends.wait(run_id, codec, timeout_ms)

    async def aresult_of(self, run_id: RunId, codec: Codec | None, timeout_ms: int | None) -> Any:
        """Do as ``result_of`` on an event loop."""
        return await self._ends.await_(run_id, codec, timeout_ms)

    # -- change

    def cancel(self, run_id: RunId | str, *, reason: str = "", discard_undo: bool = False) -> RunState:
        """Cancel a run: at once if nobody holds it, else its worker is told. Idempotent.

        A run that has done something to be undone undoes it first, and is cancelled then. ``discard_undo`` leaves those
        effects as they are, and ends also a run whose undoing is stuck; nobody may hold it.

        Raises:
            StateConflict: it has completed or failed, or is undoing already and ``discard_undo`` is not given.
        """
        refuse_in_body("dispatch.runs.cancel()", "use wf.cancel(promise) for what this run has sent, else " + IN_A_STEP)
        run_id = RunId.parse(run_id)
        why = reason or "cancelled by request"
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
                answer = self._jobs.flag(stored.ref, stored.holder, why)
            else:
                answer = self._store.cancel(stored.ref, state, why, discard=discard_undo)
                if answer.verdict == "OPEN":
                    answer = self._store.turn(stored.ref, state, why)
            reached = self._cancelled(stored, answer)
            if reached is not None:
                return reached
            time.sleep(0.005)
        raise StateConflict(f"{run_id} changes its state too fast to be cancelled: try again")

    def _cancelled(self, stored: Stored, answer: Answer) -> RunState | None:
        """Return what a cancel has come to; None where the run had moved on before it."""
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
        stored = self._found(RunId.parse(run_id))
        if stored.state != RunState.COMPLETED:
            return self.cancel(run_id, reason=reason)
        answer = self._store.reverse(stored.ref, reason)
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

    def _found(self, run_id: RunId) -> Stored:
        (stored,) = self._stored.stored([run_id])
        if stored is None:
            raise _not_found(run_id)
        return stored

    def _publish(self, wakeup: WakeUp) -> None:
        try:
            self._publisher.publish([wakeup])
            ask_all(self._port, [self._store.clearing(wakeup.ref.id, wakeup.wake)])
        except StoreUnavailable as error:
            logger.warning("the wake-up of %s waits for the broker and will be swept: %s", wakeup.ref.id, error)

    # -- the same on an event loop, written by .ci/make_twins.py

    async def astart(self, name: str, /, **arguments: Any) -> RunHandle[Any]:
        """Do as ``start``, without holding the event loop."""
        return await asyncio.to_thread(self.start, name, **arguments)

    async def aget(self, run_id: RunId | str) -> Run:
        """Do as ``get``, without holding the event loop."""
        return await asyncio.to_thread(self.get, run_id)

    async def astate(self, run_id: RunId | str) -> RunState:
        """Do as ``state``, without holding the event loop."""
        return await asyncio.to_thread(self.state, run_id)

    async def atimeline(self, run_id: RunId | str) -> builtins.list[Promise]:
        """Do as ``timeline``, without holding the event loop."""
        return await asyncio.to_thread(self.timeline, run_id)

    async def alist(
        self,
        *,
        state: RunState | str | None = None,
        name: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page[Run]:
        """Do as ``list``, without holding the event loop."""
        return await asyncio.to_thread(self.list, state=state, name=name, limit=limit, cursor=cursor)

    async def acount(self, *, name: str | None = None) -> dict[RunState, int]:
        """Do as ``count``, without holding the event loop."""
        return await asyncio.to_thread(self.count, name=name)

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


def _any(_: Run) -> bool:
    return True


def _not_found(run_id: str) -> RunNotFound:
    return RunNotFound(f"there is no run {run_id}: it never existed in this namespace, or its retention has passed")
