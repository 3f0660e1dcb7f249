"""How runs begin: bound and checked by the caller, written with their wake-up in one trip."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from dispatch_celery.clock import to_ms
from dispatch_celery.errors import IdempotencyConflict
from dispatch_celery.ids import RunId
from dispatch_celery.scope import current_scope
from dispatch_celery.work import spans
from dispatch_celery.work.body import refuse_in_body
from dispatch_celery.work.model import SCHEMA, WakeUp
from dispatch_celery.workflows.definition import RunCall, WorkflowDefinition
from dispatch_celery.workflows.handle import RunHandle
from dispatch_celery.workflows.model import RunRef, RunState
from dispatch_celery.workflows.operating import RunOperating
from dispatch_celery.workflows.store import NewRun

__all__ = ["RunStarting"]


class RunStarting(RunOperating):
    """The verbs that begin a run, or find one again."""

    def handle(self, run_id: RunId | str) -> RunHandle[Any]:
        """Return the handle of a stored id, its result as its workflow declares it, if this app does."""
        return RunHandle(RunId.parse(run_id), self)

    def handle_of(self, run_id: str, definition: WorkflowDefinition[..., Any]) -> RunHandle[Any]:
        """Return the handle of a stored id, typed by a definition."""
        return RunHandle(RunId.parse(run_id), self, definition.typed.result)

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
        spans.made(ref, spec)
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

    # -- the same on an event loop, written by .ci/make_twins.py

    async def astart(self, name: str, /, **arguments: Any) -> RunHandle[Any]:
        """Do as ``start``, without holding the event loop."""
        return await asyncio.to_thread(self.start, name, **arguments)
