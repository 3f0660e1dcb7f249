"""Drives an async workflow: lets its tasks run, then resolves what they await, one promise at a time.

What is recorded is delivered in an order that every replay repeats. A promise that somebody else resolves (a timer, a
member, an operator) has the place at which the server wrote it. One that the holder itself resolved (a step, an event
it took) carries how far the holder could see then: what was written beyond was delivered after it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from dataclasses import dataclass
from typing import Any, TypeVar

from dispatch_celery.clock import to_ms
from dispatch_celery.errors import OutcomeError, Suspended, WorkflowMisuse
from dispatch_celery.workflows.engine import Engine
from dispatch_celery.workflows.journal import delivery_order, rest_of
from dispatch_celery.workflows.members import FleetCall
from dispatch_celery.workflows.replayloop import ReplayLoop, current_branch
from dispatch_celery.workflows.slice import Asked
from dispatch_celery.workflows.store import Awaited

__all__ = ["Driver", "Promise"]

R_co = TypeVar("R_co", covariant=True)


class Promise(Coroutine[Any, Any, R_co]):
    """What an async workflow's verb returns: await it, gather it, make a task of it. Its identity is taken already."""

    def __init__(self, id: str, make: Callable[[], Coroutine[Any, Any, R_co]]) -> None:  # noqa: A002 - the word of the API
        self.id = id
        """The id of the job or child run; of any other call its identity in the run."""
        self._make = make
        self._coroutine: Coroutine[Any, Any, R_co] | None = None

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
    """One promise that a task awaits."""

    asked: Asked
    future: asyncio.Future[Any]
    read: Callable[[], Any]
    act: Callable[[], Awaited | None] | None = None
    """What resolves it here and now, or says what is to be waited for."""
    awaited: Awaited | None = None


class Driver:
    """One slice of an async run."""

    def __init__(self, engine: Engine, name: str) -> None:
        self._engine = engine
        self._name = name
        self._loop = ReplayLoop(name, self._timer)
        self._pending: list[_Pending] = []
        self._to_send: list[tuple[Asked, FleetCall]] = []

    def run(self, main: Coroutine[Any, Any, Any]) -> Any:
        """Run a workflow's function as far as it goes; return its value, or raise what it raises.

        Raises:
            Suspended: it waits.
        """
        self._engine.branch = current_branch
        try:
            task = self._loop.start(main, self._engine.root)
            while True:
                self._loop.turn()
                if self._engine.anew is not None:
                    raise self._engine.anew  # whichever task has asked for it
                if task.done():
                    return task.result()
                if not (self._deliver() or self._send() or self._act()):
                    self._rest()
        finally:
            self._engine.close()
            self._loop.leave()

    # -- for the verbs

    def ask(self, name: str, kind: str, arguments: bytes) -> Asked:
        """Give a call its identity in the branch of the running task."""
        return self._engine.ask(name, kind, arguments)

    def send(self, asked: Asked, call: FleetCall) -> None:
        """Have a job or child run sent, whether anybody awaits it or not."""
        if asked.entry is None:
            self._to_send.append((asked, call))

    async def resolved(
        self,
        asked: Asked,
        read: Callable[[], Any],
        *,
        act: Callable[[], Awaited | None] | None = None,
        awaited: Awaited | None = None,
    ) -> Any:
        """Wait until a promise is resolved; ``read`` returns its value or raises its error."""
        pending = _Pending(asked, self._loop.create_future(), read, act, awaited)
        self._pending.append(pending)
        try:
            return await pending.future
        finally:
            if pending in self._pending:
                self._pending.remove(pending)

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
            if pending.act is not None:
                act, pending.act = pending.act, None
                pending.awaited = act()
                return True
        return False

    def _rest(self) -> None:
        awaited = []
        for pending in self._pending:
            entry = pending.asked.entry
            if pending.awaited is not None:
                awaited.append(pending.awaited)
            elif entry is not None:
                awaited.append(Awaited(entry.identity, "open", None, rest_of(entry.head)))
        if not awaited:
            raise WorkflowMisuse(
                f"the workflow {self._name} awaits something that is none of wf's verbs, so nothing can wake it:"
                " await what wf's verbs return, and put everything else into steps"
            )
        self._engine.suspend(awaited)

    def _timer(self, delay: float, fire: Callable[[], None]) -> None:
        """Give ``asyncio.wait_for`` a durable timer."""
        milliseconds = max(0, to_ms(delay))
        asked = self.ask("wait_for", "sleep", b"%d" % milliseconds)
        future = self._loop.create_future()
        future.add_done_callback(lambda _: fire())
        awaited = Awaited(asked.identity, "sleeping", milliseconds, rest_of(asked.head))
        self._pending.append(_Pending(asked, future, lambda: None, awaited=awaited))

    # -- what steps and waits do

    def step(self, perform: Callable[[], Any]) -> Callable[[], Awaited | None]:
        """Return the act of a step: its outcome is read from the journal, its next try may be far away."""

        def act() -> Awaited | None:
            try:
                perform()
            except OutcomeError:
                return None
            except Suspended:
                return self._engine.take_back_rest()
            return None

        return act
