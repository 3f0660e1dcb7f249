"""Runs several steps of one run at the same time: each in a thread of its own, a greenlet under gevent.

The run's own thread begins them and hears what came of each; it alone touches the run's seat. A thread ends with the
function it was made for, and none is waited for at the end of the process: where code does not end, the worker acts by
its pool's rule (``overseer``), whose limit is the first of all limits here.

A pool process of its own may be interrupted, so a sync step past its time, or of a cancelled run, is told by an
exception at its next instruction, as a step that runs alone is. In threads, greenlets and solo nothing is interrupted.
Coroutines are cancelled anywhere.
"""

from __future__ import annotations

import ctypes
import threading
from collections import deque
from collections.abc import Callable
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from typing import Any, Final

from dispatch_celery.clock import monotonic_ms
from dispatch_celery.jobs.outcome import Cancel
from dispatch_celery.work.ports import Seat
from dispatch_celery.worker.bootsteps import AttemptTimeout
from dispatch_celery.workflows.step_definition import StepCall
from dispatch_celery.workflows.steps import Made, StepContext, in_step

__all__ = ["Handler", "ThreadTeam"]

Handler = Callable[[Any, StepContext, int | None], Any]

_SYNC_WIDTH: Final = 8
"""How many sync steps of one run work at the same time."""
_ASYNC_WIDTH: Final = 50
"""How many async ones; each only waits in its thread for the event loop of the process."""


@dataclass(slots=True, eq=False)
class _Attempt:
    """One attempt, and the thread it runs in."""

    call: StepCall[Any]
    context: StepContext
    deadline: int | None
    around: Context = field(default_factory=copy_context)
    gate: threading.Lock = field(default_factory=threading.Lock)
    thread: threading.Thread | None = None
    """None before its code begins, and when it has ended."""
    told: type[Exception] | None = None
    """What was raised in it, once at most: so that it cannot come while the one before it is handled."""
    is_late: bool = False

    def interrupt(self, kind: type[Exception]) -> None:
        """Raise an exception at the next instruction of its code, if that has not ended."""
        with self.gate:
            if self.told is None:
                self.told = kind
                if self.thread is not None:
                    _raise_in(self.thread, kind)

    def interruptible(self, code: Callable[[], Any]) -> Made:
        """Run its code, into which an exception may be raised, and nowhere else; called in its thread."""
        made: Made | None = None
        while True:
            try:
                made = made or self._run(code)
                with self.gate:
                    self.thread = None
                _raise_in(threading.current_thread(), None)
            except (AttemptTimeout, Cancel) as told:  # it came when the code had ended
                made = made or Made(self.context.id, error=told)
                continue
            return made

    def _run(self, code: Callable[[], Any]) -> Made:
        try:
            with self.gate:
                self.thread = threading.current_thread()
                told = self.told
            if told is None:
                return Made(self.context.id, code())
            return Made(self.context.id, error=told())
        except BaseException as error:  # noqa: BLE001 - who waits for it decides what it means
            return Made(self.context.id, error=error)


class ThreadTeam:
    """The steps of one run that are under way at the same time."""

    def __init__(self, seat: Seat, handler: Handler) -> None:
        self._seat = seat
        self._handler = handler
        self._attempts: dict[str, _Attempt] = {}
        self._news = threading.Condition()
        self._made: deque[Made] = deque()
        self._limit: int | None = None
        self._is_stopped = False

    def has_room(self, call: StepCall[Any]) -> bool:
        """Whether one more may be started now."""
        is_async = call.definition.is_async
        running = sum(one.call.definition.is_async == is_async for one in self._attempts.values())
        return running < (_ASYNC_WIDTH if is_async else _SYNC_WIDTH)

    def start(self, call: StepCall[Any], context: StepContext) -> None:
        """Begin an attempt, in a copy of the caller's context."""
        timeout_ms = call.definition.timeout_ms
        attempt = _Attempt(call, context, None if timeout_ms is None else monotonic_ms() + timeout_ms)
        self._attempts[context.id] = attempt
        self._keep_limit()
        thread = threading.Thread(target=self._work, args=(attempt,), name=f"dispatch-step {context.id}", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # the process may not have more threads
            self._tell(Made(context.id, error=error))

    def next(self, patience: float) -> Made | None:
        """Wait so many seconds for something to come of one of them."""
        with self._news:
            if not self._made and self._late() is None:
                self._news.wait(min([patience, *self._time_left()]))
            made = self._made.popleft() if self._made else None
        if made is not None:
            del self._attempts[made.identity]
            self._keep_limit()
            return made
        return self._overdue()

    def stop(self) -> None:
        """Tell what runs to stop; what comes of it does not matter any more."""
        self._is_stopped = True
        for attempt in list(self._attempts.values()):
            self._interrupt(attempt, Cancel)

    # -- in the threads

    def _work(self, attempt: _Attempt) -> None:
        try:
            made = attempt.around.run(self._called, attempt)
        except BaseException as error:  # noqa: BLE001 - as above: it must be heard of
            made = Made(attempt.context.id, error=error)
        self._tell(made)

    def _called(self, attempt: _Attempt) -> Made:
        definition = attempt.call.definition
        with in_step(attempt.context):
            return attempt.interruptible(lambda: self._handler(definition, attempt.context, definition.timeout_ms))

    def _tell(self, made: Made) -> None:
        with self._news:
            self._made.append(made)
            self._news.notify()

    # -- their time

    def _overdue(self) -> Made | None:
        """Return that the time of one is up, once; its code is told, and will be heard of when it has ended."""
        attempt = self._late()
        if attempt is None:
            return None
        attempt.is_late = True
        if attempt.context.report is not None:
            attempt.context.report.close()
        self._interrupt(attempt, AttemptTimeout)
        return Made(attempt.context.id, error=AttemptTimeout("the attempt ran longer than its timeout"), is_over=False)

    def _late(self) -> _Attempt | None:
        return next((one for one in self._limited() if monotonic_ms() >= (one.deadline or 0)), None)

    def _time_left(self) -> list[float]:
        return [max(0, (one.deadline or 0) - monotonic_ms()) / 1000 for one in self._limited()]

    def _limited(self) -> list[_Attempt]:
        """Return those that are to be told when their time is up; the event loop does it for coroutines."""
        if self._is_stopped:
            return []
        return [
            one
            for one in self._attempts.values()
            if one.deadline is not None and not one.is_late and not one.call.definition.is_async
        ]

    def _interrupt(self, attempt: _Attempt, kind: type[Exception]) -> None:
        if self._seat.stands_alone and not attempt.call.definition.is_async:
            attempt.interrupt(kind)

    def _keep_limit(self) -> None:
        """Give the worker the first of all limits to watch."""
        first = min((one.deadline for one in self._attempts.values() if one.deadline is not None), default=None)
        if first != self._limit:
            self._limit = first
            self._seat.limit(None if first is None else first - monotonic_ms())


def _raise_in(thread: threading.Thread, kind: type[Exception] | None) -> None:
    """Raise an exception at a thread's next instruction; None takes back what has not been raised yet."""
    ident = ctypes.c_ulong(thread.ident or 0)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ident, ctypes.py_object(kind) if kind is not None else None)
