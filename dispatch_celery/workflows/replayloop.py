"""The event loop of one async workflow: runs what is ready, in order, and knows neither I/O nor a clock.

Tasks, futures, ``asyncio.gather`` and task groups work on it as on any loop. Whatever would depend on the outside
(time, sockets, threads, subprocesses) is refused with the name of the durable verb: a replay could not repeat it.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from typing import Any, Final, NoReturn

from dispatch_celery.errors import WorkflowMisuse
from dispatch_celery.workflows.journal import Branch

__all__ = ["ReplayLoop", "current_branch"]

logger = logging.getLogger(__name__)

_LONG: Final = 0.2
"""Seconds of one turn after which a workflow is told that it blocks."""

_branch: ContextVar[Branch] = ContextVar("dispatch_branch")


def current_branch() -> Branch:
    """Return the branch of the running task."""
    return _branch.get()


_Base: Any = asyncio.AbstractEventLoop  # most of its methods are refused, not written


class ReplayLoop(_Base):  # type: ignore[misc]  # see above
    """A loop that does what it is told, and nothing else."""

    def __init__(self, name: str, timer: Callable[[float, Callable[[], None]], None]) -> None:
        self._name = name
        self._timer = timer
        self._ready: deque[asyncio.Handle] = deque()
        self._tasks: list[asyncio.Task[Any]] = []
        self._warned = False
        self._raised: BaseException | None = None
        self.unheard: list[dict[str, Any]] = []

    # -- driving

    def start(self, main: Coroutine[Any, Any, Any], root: Branch) -> asyncio.Task[Any]:
        """Make the task of the workflow's function."""
        context = copy_context()
        context.run(_branch.set, root)
        return self._task(main, context)

    def turn(self) -> None:
        """Run until nothing is ready.

        Raises:
            BaseException: what a task raised that no task may keep.
        """
        before = events._get_running_loop()  # noqa: SLF001 - asyncio has no other way to drive a loop by hand
        events._set_running_loop(self)  # noqa: SLF001 - as above
        try:
            while self._ready:
                handle = self._ready.popleft()
                if not handle.cancelled():
                    self._run(handle)
        finally:
            events._set_running_loop(before)  # noqa: SLF001 - as above

    def _run(self, handle: asyncio.Handle) -> None:
        began = time.perf_counter()
        handle._run()  # noqa: SLF001 - as asyncio's own loops do
        took = time.perf_counter() - began
        if took > _LONG and not self._warned:
            self._warned = True
            logger.warning(
                "the workflow %s held its loop for %.1f s between two awaits: blocking work belongs in a step",
                self._name,
                took,
            )
        if self._raised is not None:
            raised, self._raised = self._raised, None
            raise raised

    def leave(self) -> None:
        """Let every task go that has not ended: their ``finally`` blocks run, nothing of them goes on."""
        for task in reversed(self._tasks):
            if not task.done():
                task._log_destroy_pending = False  # noqa: SLF001 - it is meant to
                coroutine = task.get_coro()
                if coroutine is not None:
                    try:
                        coroutine.close()
                    except Exception as error:  # noqa: BLE001 - the user's, on the way out
                        logger.warning("the workflow %s, on being suspended: %r", self._name, error)
                    except BaseException as error:  # noqa: BLE001 - it awaits while it is closed
                        logger.debug("the workflow %s, on being suspended: %r", self._name, error)
        self._ready.clear()
        self._tasks.clear()

    # -- what asyncio asks of a loop

    def call_soon(self, callback: Callable[..., object], *args: Any, context: Context | None = None) -> asyncio.Handle:
        """Run a callback in its turn."""
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def create_future(self) -> asyncio.Future[Any]:
        """Return a future of this loop."""
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, *, name: str | None = None, context: Context | None = None) -> asyncio.Task[Any]:
        """Make a task, with a branch of its own below that of its maker."""
        context = copy_context() if context is None else context
        maker = _branch.get()
        identity, _ = maker.take("task")
        context.run(_branch.set, Branch(f"{identity}/", in_order=False))
        task = self._task(coro, context)
        if name is not None:
            task.set_name(name)
        return task

    def _task(self, coro: Any, context: Context) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.Task(coro, loop=self, context=context)
        self._tasks.append(task)
        return task

    def call_later(
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Run a callback later: for ``asyncio.wait_for`` only, whose time is a durable timer."""
        who = _asker()
        if who != "wait_for":
            verb = "wf.sleep(...)" if who == "sleep" else "asyncio.wait_for(..., timeout), or wf.sleep(...)"
            raise WorkflowMisuse(
                f"asyncio.{who} in the workflow {self._name} would take another time on each replay: await {verb}"
            )
        handle = asyncio.TimerHandle(0.0, callback, args, self, context)

        def fire() -> None:
            if not handle.cancelled():
                self._ready.append(handle)

        self._timer(delay, fire)
        return handle

    def call_at(
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Run a callback at a time of this loop, which stands still at 0."""
        return self.call_later(when, callback, *args, context=context)

    def time(self) -> float:
        """Return 0: a replay has no clock."""
        return 0.0

    def get_debug(self) -> bool:
        """Return False."""
        return False

    def is_running(self) -> bool:
        """Return True: it runs when anybody asks."""
        return True

    def is_closed(self) -> bool:
        """Return False."""
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Keep what no task has heard of."""
        self.unheard.append(context)

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        """Keep what no task has heard of."""
        self.unheard.append(context)

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Do nothing: a cancelled timer is passed over when it is due."""

    def __getattribute__(self, name: str) -> Any:
        if name in _OUTSIDE:
            return lambda *_args, **_kwargs: self._refuse(name)
        return super().__getattribute__(name)

    def _refuse(self, what: str) -> NoReturn:
        raise WorkflowMisuse(
            f"the workflow {self._name} reaches outside (loop.{what}): what a replay cannot repeat belongs in a step;"
            " await wf.step(function, ...)"
        )


_OUTSIDE: Final = frozenset(
    {
        "run_in_executor", "getaddrinfo", "getnameinfo", "create_connection", "create_server", "sock_recv",
        "sock_sendall",
        "sock_connect", "sock_accept", "sock_recv_into", "create_datagram_endpoint", "connect_read_pipe",
        "connect_write_pipe", "subprocess_shell", "subprocess_exec", "add_reader", "add_writer", "remove_reader",
        "remove_writer", "add_signal_handler", "create_unix_connection", "create_unix_server", "sendfile", "start_tls",
        "call_soon_threadsafe", "run_until_complete", "run_forever",
    }
)  # fmt: skip


def _asker() -> str:
    """Return which function of asyncio asks for a timer."""
    frame = sys._getframe(2)  # noqa: SLF001 - asyncio does not say who asks
    names: list[str] = []
    while frame is not None and len(names) < 8 and "asyncio" in frame.f_code.co_filename:
        names.append(frame.f_code.co_name)
        frame = frame.f_back  # type: ignore[assignment]  # None ends the loop
    if "wait_for" in names:
        return "wait_for"
    return "sleep" if "sleep" in names else "timeout" if names else "get_running_loop().call_later"
