"""A step about to run: its checked arguments, what it can ask about itself, and who runs it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final, Protocol

from dispatch_celery.errors import Fenced, NotInStep, WorkflowMisuse
from dispatch_celery.jobs.definition import BoundJob, JobDefinition
from dispatch_celery.scope import Scope
from dispatch_celery.work.body import out_of_body
from dispatch_celery.work.model import WorkRef
from dispatch_celery.work.progress import report_progress
from dispatch_celery.workflows.definition import BoundWorkflow, WorkflowDefinition
from dispatch_celery.workflows.holder import Holder
from dispatch_celery.workflows.step_definition import BoundStep, StepCall, StepDefinition, is_celery_task

__all__ = [
    "InTurn",
    "Made",
    "Reporter",
    "Runner",
    "StepContext",
    "Team",
    "context_of",
    "current_step",
    "in_step",
    "step_call",
    "step_here",
]

_UNDO: Final = "undo:"
"""What the identity of an undo begins with."""


def step_call(fn: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> StepCall[Any]:
    """Return the call of a step, a step with options, or a plain function.

    Raises:
        WorkflowMisuse: it is none of them.
        PayloadError: an argument is unknown or missing.
    """
    if isinstance(fn, BoundStep | StepDefinition):
        return fn.bind(*args, **kwargs)
    if isinstance(fn, JobDefinition | BoundJob | WorkflowDefinition | BoundWorkflow):
        raise WorkflowMisuse(f"wf.step runs here what {fn!r} would run on the fleet: use wf.run_job or wf.run_child")
    return _plain(fn).bind(*args, **kwargs)


@lru_cache(maxsize=1_000)
def _plain(fn: Any) -> StepDefinition[..., Any, Any]:
    if not is_celery_task(fn) and (not callable(fn) or not hasattr(fn, "__code__")):
        raise WorkflowMisuse(f"wf.step takes a step, a function or a plain Celery task, not {fn!r}")
    return StepDefinition(fn)


class Reporter:
    """Records how far one attempt of a step has come, for as long as it runs."""

    def __init__(self, holder: Holder, identity: str, attempt: int) -> None:
        self._holder = holder
        self._facts = {"step": identity, "attempt": attempt}
        self._held = f"{identity} of {holder.claim.ref.id} does not run any more under token {holder.claim.token}"
        self._is_over = False

    def close(self) -> None:
        """Take no more: the attempt is over, though a thread it has left behind may not know."""
        self._is_over = True

    def __call__(self, done: float, total: float | None, message: str) -> None:
        """Record it, unless the server does not answer."""
        if self._is_over:
            raise Fenced(self._held)
        report_progress(self._holder.report, held=self._held, done=done, total=total, message=message, **self._facts)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepContext:
    """One attempt of a step or of an undo, from inside. Also what a middleware is given."""

    id: str
    """Its identity in the run, such as ``charge#1``; of the undo of that, ``undo:charge#1``."""
    name: str
    """The step's name; of an undo, its function's."""
    ref: WorkRef
    """The run it belongs to."""
    attempt: int
    """From 1; what ``max_attempts`` counts."""
    token: int
    """Grows with every claim of the run: hand it to a resource that refuses an older one."""
    idempotency_key: str
    """The same in every attempt: hand it to the outside world, so that an effect happens once there."""
    deadline: datetime | None
    """When this attempt times out; None without a timeout."""
    scope: Scope
    arguments: dict[str, Any]
    is_cancelled: Callable[[], bool] = bool
    report: Reporter | None = None

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self.ref.id

    @property
    def queue(self) -> str:
        """The queue its run waited in."""
        return self.ref.queue

    @property
    def is_undo(self) -> bool:
        """Whether this undoes a step."""
        return self.id.startswith(_UNDO)

    @property
    def cancelled(self) -> bool:
        """Whether the run was asked to cancel: clean up and raise ``Cancel``."""
        return self.is_cancelled()

    def progress(self, done: float, total: float | None = None, message: str = "") -> None:
        """Record how far this attempt has come; one round trip. Skipped while the server does not answer.

        ``runs.get`` shows it until the step has ended, or its run has left this worker.

        Raises:
            Fenced: the step does not run here any more; let it pass.
        """
        if self.report is not None:
            self.report(done, total, message)

    # -- the same on an event loop, written by .ci/make_twins.py

    async def aprogress(self, done: float, total: float | None = None, message: str = "") -> None:
        """Do as ``progress``, without holding the event loop."""
        await asyncio.to_thread(self.progress, done, total, message)


@dataclass(frozen=True, slots=True)
class Made:
    """What came of one attempt of a step that runs beside others."""

    identity: str
    value: Any = None
    error: BaseException | None = None
    is_over: bool = True
    """False where its time is up and its code still runs: it will be heard of again when that has ended."""


class Team(Protocol):
    """Runs the functions of several steps at the same time in this process, for the one that starts them."""

    def has_room(self, call: StepCall[Any]) -> bool:
        """Whether one more may be started now."""
        ...

    def start(self, call: StepCall[Any], context: StepContext) -> None:
        """Begin an attempt, in a copy of the caller's context."""
        ...

    def next(self, patience: float) -> Made | None:
        """Wait so many seconds for something to come of one of them."""
        ...

    def stop(self) -> None:
        """Tell what runs to stop; what comes of it does not matter any more."""
        ...


class InTurn:
    """A team of one: what is started runs when the next is waited for, one after the other, in the caller's thread."""

    def __init__(
        self, run: Callable[[StepCall[Any], StepContext], Any], choose: Callable[[int], int] = lambda _count: 0
    ) -> None:
        self._run = run
        self._choose = choose
        self._started: list[tuple[StepCall[Any], StepContext]] = []
        self._is_stopped = False

    def has_room(self, call: StepCall[Any]) -> bool:  # noqa: ARG002 - the port's signature
        """There is always room."""
        return True

    def start(self, call: StepCall[Any], context: StepContext) -> None:
        """Put an attempt into the line."""
        self._started.append((call, context))

    def next(self, patience: float) -> Made | None:  # noqa: ARG002 - the port's signature
        """Run one of the line; one that was told to stop before it began has ended."""
        if not self._started:
            return None
        call, context = self._started.pop(self._choose(len(self._started)))
        if self._is_stopped:
            return Made(context.id, error=asyncio.CancelledError())
        try:
            return Made(context.id, self._run(call, context))
        except (Exception, asyncio.CancelledError, SystemExit, KeyboardInterrupt) as error:  # noqa: BLE001 - its outcome
            return Made(context.id, error=error)

    def stop(self) -> None:
        """Let nothing more begin."""
        self._is_stopped = True


class Runner(Protocol):
    """Calls a step's function in this process."""

    def run(self, call: StepCall[Any], context: StepContext) -> Any:
        """Return what it returns, raise what it raises."""
        ...

    def team(self) -> Team:
        """Return what runs several at the same time."""
        ...


def context_of(
    call: StepCall[Any], holder: Holder, identity: str, attempt: int, is_cancelled: Callable[[], bool] | None = None
) -> StepContext:
    """Return what one attempt of a step, or of an undo, may know of itself."""
    timeout_ms, claim = call.definition.timeout_ms, holder.claim
    return StepContext(
        id=identity,
        name=call.definition.__name__ if identity.startswith(_UNDO) else call.name,
        ref=claim.ref,
        attempt=attempt,
        token=int(claim.token.partition(".")[0]),
        idempotency_key=f"{claim.ref.id}:{claim.generation}:{identity}",
        deadline=None if timeout_ms is None else datetime.now(UTC) + timedelta(milliseconds=timeout_ms),
        scope=Scope.from_path(claim.ref.scope),
        arguments=call.arguments,
        is_cancelled=is_cancelled or (lambda: holder.cancelled),
        report=Reporter(holder, identity, attempt),
    )


_current: ContextVar[StepContext | None] = ContextVar("dispatch_step", default=None)


def current_step() -> StepContext:
    """Return the running step.

    Raises:
        NotInStep: the code does not run inside a step.
    """
    context = _current.get()
    if context is None:
        raise NotInStep("current_step() works inside a running step; a plain call of the function is not one")
    return context


def step_here(run_id: str) -> str:
    """Return the identity of the step of a run in whose code we are; empty outside of them."""
    context = _current.get()
    return context.id if context is not None and context.run_id == run_id else ""


@contextmanager
def in_step(context: StepContext) -> Iterator[StepContext]:
    """Make ``context`` the running step of a block, which is no part of its workflow's body."""
    mark = _current.set(context)
    try:
        with out_of_body():
            yield context
    finally:
        _current.reset(mark)
        if context.report is not None:
            context.report.close()
