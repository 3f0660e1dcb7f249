"""Calls the functions of jobs, steps and undos, in their middleware.

Sync ones are called where we stand, coroutines on the process's one event loop.

One loop per process, in a thread of its own, so that clients and pools a handler keeps live as long as the
process. A coroutine past its deadline is cancelled; a sync function is interrupted by the worker where that is
possible (prefork, by signal) and otherwise runs on without its token (ARCHITECTURE 3.7).
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Final

from dispatch_celery.errors import JobTimeout
from dispatch_celery.jobs.definition import JobDefinition
from dispatch_celery.middleware.base import ExecutionContext, MiddlewareStack
from dispatch_celery.workflows.step_definition import StepDefinition

__all__ = ["EventLoopThread", "Executable", "Handlers"]

Executable = JobDefinition[..., Any, Any] | StepDefinition[..., Any, Any]
"""What has a function to be called."""

_LOOK: Final = 0.25
"""Seconds between two looks at the cancel mark while a coroutine runs."""


class EventLoopThread:
    """The event loop of a process, started at its first coroutine. A fork gets its own."""

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def loop(self) -> asyncio.AbstractEventLoop:
        """Return the running loop of this process."""
        if self._pid != os.getpid():
            self._reset()
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=_run_until_stopped, args=(self._loop,), name="dispatch-loop", daemon=True
                )
                self._thread.start()
            return self._loop

    def close(self) -> None:
        """Stop the loop of this process."""
        if self._pid != os.getpid() or self._loop is None:
            return
        loop, thread = self._loop, self._thread
        loop.call_soon_threadsafe(loop.stop)
        if thread is not None:
            thread.join(timeout=2.0)
        if not loop.is_running():
            loop.close()
        self._reset()


def _run_until_stopped(loop: asyncio.AbstractEventLoop) -> None:
    while True:
        try:
            loop.run_forever()
        except (SystemExit, KeyboardInterrupt):
            # asyncio lets them end the loop; they are the outcome of one task, and the loop belongs to all.
            continue
        return


class Handlers:
    """What executors call to run a function in its middleware."""

    def __init__(self, middleware: MiddlewareStack) -> None:
        self._middleware = middleware
        self._loops = EventLoopThread()

    def __call__(self, definition: Executable, context: ExecutionContext, timeout_ms: int | None) -> Any:
        """Run the function of a job or step and return its value."""
        args, kwargs = definition.typed.call(context.arguments)
        if not definition.is_async:
            return self._middleware.around(context, lambda: definition.__wrapped__(*args, **kwargs))()

        async def handler() -> Any:
            return await definition.__wrapped__(*args, **kwargs)

        wrapped = self._middleware.around_async(context, handler)
        return self._middleware.around(context, lambda: self.on_loop(wrapped, lambda: context.cancelled, timeout_ms))()

    def close(self) -> None:
        """Stop the process's event loop."""
        self._loops.close()

    def on_loop(self, start: Callable[[], Any], is_cancelled: Callable[[], bool], timeout_ms: int | None) -> Any:
        """Run a coroutine on the loop, in a copy of this thread's context, until it ends or is cancelled."""
        loop = self._loops.loop()
        outer = contextvars.copy_context()
        ended = threading.Event()
        box: list[asyncio.Task[Any]] = []

        async def body() -> Any:
            coroutine: Coroutine[Any, Any, Any] = start()
            return await coroutine

        def launch() -> None:
            task = loop.create_task(body(), context=outer)
            task.add_done_callback(lambda _: ended.set())
            box.append(task)

        loop.call_soon_threadsafe(launch)
        timed_out = False
        left = None if timeout_ms is None else timeout_ms / 1000
        try:
            while not ended.wait(_LOOK if left is None else max(0.0, min(_LOOK, left))):
                if left is not None:
                    left -= _LOOK
                    timed_out = timed_out or left <= 0
                if timed_out or is_cancelled():
                    loop.call_soon_threadsafe(box[0].cancel)
                    ended.wait()
        except BaseException:
            # The worker interrupts this thread: the coroutine must not run on behind its back.
            loop.call_soon_threadsafe(lambda: box and box[0].cancel())
            raise
        task = box[0]
        if task.cancelled():
            if timed_out and timeout_ms is not None:
                raise JobTimeout(f"the attempt ran longer than its timeout of {timeout_ms / 1000:g} s")
            raise asyncio.CancelledError
        error = task.exception()
        if error is not None:
            raise error
        return task.result()
