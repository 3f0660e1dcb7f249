"""Drives an async workflow: lets its tasks run, then resolves what they await, one promise at a time.

What is recorded is delivered in an order that every replay repeats. A promise that somebody else resolves (a timer, a
member, an operator) has the place at which the server wrote it. One that the holder itself resolved (a step, an event
it took) carries how far the holder could see then: what was written beyond was delivered after it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from typing import Any, TypeVar

from dispatch_celery.clock import to_ms
from dispatch_celery.errors import WorkflowMisuse
from dispatch_celery.workflows.crowd import Crowd
from dispatch_celery.workflows.engine import Engine
from dispatch_celery.workflows.held import Awaited
from dispatch_celery.workflows.journal import delivery_order, rest_of
from dispatch_celery.workflows.members import FleetCall, outcome_of
from dispatch_celery.workflows.replayloop import ReplayLoop, current_branch
from dispatch_celery.workflows.slice import Asked
from dispatch_celery.workflows.step_definition import StepCall
from dispatch_celery.workflows.underway import UnderWay
from dispatch_celery.workflows.waiting import Wait

__all__ = ["Driver", "Promise"]

R_co = TypeVar("R_co", covariant=True)


class Promise(Coroutine[Any, Any, R_co]):
    """What an async workflow's verb returns: await it, gather it, make a task of it. Its identity is taken already."""

    def __init__(self, identity: str, make: Callable[[], Coroutine[Any, Any, R_co]], *, member_id: str = "") -> None:
        self.identity = identity
        """Its identity in the run."""
        self.member_id = member_id
        """The id of the job or child run that it stands for; empty for any other call."""
        self._make = make
        self._coroutine: Coroutine[Any, Any, R_co] | None = None

    @property
    def id(self) -> str:
        """The id of the job or child run; of any other call its identity in the run."""
        return self.member_id or self.identity

    def __repr__(self) -> str:
        return f"<promise {self.identity}{f' of {self.member_id}' if self.member_id else ''}>"

    def _made(self) -> Coroutine[Any, Any, R_co]:
        if self._coroutine is None:
            self._coroutine = self._make()
        return self._coroutine

    def __await__(self) -> Generator[Any, Any, R_co]:
        return self._made().__await__()

    def send(self, value: Any, /) -> Any:
        """Go on, as a coroutine does."""
        return self._made().send(value)

    def throw(self, typ: Any, val: Any = None, tb: Any = None, /) -> Any:
        """Raise within, as in a coroutine."""
        return self._made().throw(typ) if val is None and tb is None else self._made().throw(typ, val, tb)

    def close(self) -> None:
        """Let go, as of a coroutine."""
        if self._coroutine is not None:
            self._coroutine.close()


@dataclass(slots=True, eq=False)
class _Pending:
    """One promise that a task awaits, or that is kept although none does."""

    asked: Asked
    future: asyncio.Future[Any]
    read: Callable[[], Any]
    act: Callable[[], Wait | None] | None = None
    """What goes on with it here and now, and says what is to be waited for."""
    wait: Wait | None = None
    repeats: bool = False
    """Whether to act again when something has come of the steps under way."""
    is_due: bool = True
    around: Context = field(default_factory=copy_context)


class Driver:
    """One slice of an async run."""

    def __init__(self, engine: Engine, name: str) -> None:
        self._engine = engine
        self._name = name
        self._loop = ReplayLoop(name, self._timer)
        self._pending: list[_Pending] = []
        self._to_send: list[tuple[Asked, FleetCall]] = []
        self.steps = UnderWay(engine)

    def run(self, main: Coroutine[Any, Any, Any]) -> Any:
        """Run a workflow's function as far as it goes; return its value, or raise what it raises.

        Raises:
            Suspended: it waits.
        """
        self._engine.branch = current_branch
        try:
            with self.steps:
                task = self._loop.start(main, self._engine.root)
                self._go_on(task)
                return task.result()
        finally:
            self._engine.close()
            self._loop.leave()

    def _go_on(self, task: asyncio.Task[Any]) -> None:
        """Let the tasks run, and resolve what they await, until the function has ended."""
        while True:
            self._loop.turn()
            if self._engine.anew is not None:
                raise self._engine.anew  # whichever task has asked for it
            if task.done():
                self._last_orders()
                return
            # Who is late is on record already: what is recorded after it must not be handed out before it.
            if not self.steps.is_late and (self._deliver() or self._send() or self._act()):
                continue
            if not self.steps.turn():
                self._rest()
            for pending in self._pending:
                pending.is_due = pending.is_due or pending.repeats

    def _last_orders(self) -> None:
        """Do what nobody needs to await: send what was enqueued or spawned, call off what was cancelled."""
        self._pending = [pending for pending in self._pending if pending.asked.head["k"] == "cancel"]
        while not self._engine.has_left and (self._send() or self._act()):
            pass

    # -- for the verbs

    def ask(self, name: str, kind: str, arguments: bytes) -> Asked:
        """Give a call its identity in the branch of the running task."""
        return self._engine.ask(name, kind, arguments)

    def send(self, asked: Asked, call: FleetCall) -> None:
        """Have a job or child run sent, whether anybody awaits it or not."""
        if asked.entry is None:
            self._to_send.append((asked, call))

    def keep(
        self,
        asked: Asked,
        read: Callable[[], Any],
        *,
        act: Callable[[], Wait | None] | None = None,
        wait: Wait | None = None,
        repeats: bool = False,
    ) -> asyncio.Future[Any]:
        """Have a promise resolved, whether anybody awaits it or not; ``read`` returns its value or raises its error."""
        pending = _Pending(asked, self._loop.create_future(), read, act, wait, repeats)
        self._pending.append(pending)
        return pending.future

    async def resolved(
        self, asked: Asked, read: Callable[[], Any], *, leave: Callable[[], None] | None = None, **how: Any
    ) -> Any:
        """Wait until a promise is resolved, as ``keep`` does; ``leave`` is called when nobody waits any more."""
        future = self.keep(asked, read, **how)
        try:
            return await future
        finally:
            if not future.done() or future.cancelled():
                self._pending = [pending for pending in self._pending if pending.future is not future]
                if leave is not None:
                    leave()

    # -- within

    def _deliver(self) -> bool:
        """Hand out the next outcome; return whether there was one."""
        known = [
            (delivery_order(entry), n, pending)
            for n, pending in enumerate(self._pending)
            if (entry := pending.asked.entry) is not None and entry.is_resolved
        ]
        if not known:
            return False
        _, _, pending = min(known, key=lambda one: one[:2])
        self._pending.remove(pending)
        if not pending.future.done():
            try:
                value = pending.read()
            except Exception as error:  # noqa: BLE001 - it belongs to who awaits it
                pending.future.set_exception(error)
            else:
                pending.future.set_result(value)
        return True

    def _send(self) -> bool:
        """Send what is for the fleet; return whether there was any."""
        sending, self._to_send = [one for one in self._to_send if one[0].entry is None], []
        self._engine.spawn(sending)
        return bool(sending)

    def _act(self) -> bool:
        """Do the next thing that is to be done here; return whether there was one."""
        for pending in self._pending:
            if pending.act is not None and pending.is_due:
                pending.is_due = False
                pending.wait = pending.around.run(pending.act)
                return True
        return False

    def _rest(self) -> None:
        waits = []
        for pending in self._pending:
            entry = pending.asked.entry
            if pending.wait is not None:
                waits.append(pending.wait)
            elif entry is not None:
                waits.append(Wait([Awaited(entry.identity, "open", None, rest_of(entry.head))]))
        if not waits:
            raise WorkflowMisuse(
                f"the workflow {self._name} awaits something that is none of wf's verbs, so nothing can wake it:"
                " await what wf's verbs return, and put everything else into steps"
            )
        self._engine.suspend(waits)

    def _timer(self, delay: float, fire: Callable[[], None]) -> None:
        """Give ``asyncio.wait_for`` a durable timer."""
        milliseconds = max(0, to_ms(delay))
        asked = self.ask("wait_for", "sleep", b"%d" % milliseconds)
        wait = Wait([Awaited(asked.identity, "sleeping", milliseconds, rest_of(asked.head))])
        self.keep(asked, lambda: None, wait=wait).add_done_callback(lambda _: fire())

    # -- what several verbs have in common

    def step(self, asked: Asked, call: StepCall[Any]) -> Coroutine[Any, Any, Any]:
        """Return a step to be awaited; others that are awaited with it run at the same time."""
        engine, steps = self._engine, self.steps

        def act() -> Wait | None:
            steps.add(asked, call)
            rest = steps.resting.get(asked.identity)
            return None if rest is None else Wait([rest])

        return self.resolved(
            asked,
            lambda: outcome_of(engine.entry(asked), call.definition.typed.result).result(),
            act=act,
            repeats=True,
            leave=lambda: steps.drop(asked.identity),
        )

    def crowd(self, crowd: Crowd, read: Callable[[], R_co]) -> Promise[R_co]:
        """Return a gather, map or race to be awaited."""
        return Promise(
            crowd.asked.identity,
            lambda: self.resolved(crowd.asked, read, act=crowd.advance, repeats=True, leave=crowd.leave),
        )

    def alone(self, asked: Asked, act: Callable[[], None]) -> Promise[None]:
        """Return what is done when no step is under way."""

        def when_alone() -> None:
            if asked.entry is None and not self.steps.is_busy:
                act()

        return Promise(asked.identity, lambda: self.resolved(asked, lambda: None, act=when_alone, repeats=True))
