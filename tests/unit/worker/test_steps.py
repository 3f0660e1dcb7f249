"""How a worker calls the function of a step: in its middleware, apart from the body, within the step's own context."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import pytest

from dispatch_celery.errors import WorkflowMisuse
from dispatch_celery.ids import RunId
from dispatch_celery.middleware.base import ExecutionContext, MiddlewareStack
from dispatch_celery.scope import Scope
from dispatch_celery.work.body import in_body, refuse_in_body
from dispatch_celery.worker.handlers import Handlers
from dispatch_celery.worker.steps import StepRunner
from dispatch_celery.workflows.model import RunRef
from dispatch_celery.workflows.step_definition import StepCall, StepDefinition
from dispatch_celery.workflows.steps import StepContext, current_step, in_step

mood: ContextVar[str] = ContextVar("mood", default="unset")


class Seat:
    """A seat that only notes what it is asked for."""

    def __init__(self) -> None:
        self.noted: list[Any] = []

    def limit(self, timeout_ms: int | None) -> None:
        """Note a limit."""
        self.noted.append(timeout_ms)

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Note the block."""
        self.noted.append("interruptible")
        yield
        self.noted.append("done")


@pytest.fixture
def handlers() -> Iterator[Handlers]:
    """Return handlers with middleware that tells."""
    stack = MiddlewareStack()
    stack.add(tells)
    stack.add(atells)
    made = Handlers(stack)
    yield made
    made.close()


def tells(context: ExecutionContext, call_next: Callable[[], Any]) -> Any:
    mood.set(f"set for {context.name}")
    return ["sync", *call_next()]


async def atells(context: ExecutionContext, call_next: Callable[[], Any]) -> Any:
    return ["async", *await call_next()]


def step(n: int) -> list[str]:
    """Return what it sees."""
    refuse_in_body("a verb in a step")
    return [current_step().name, mood.get(), str(n)]


async def astep(n: int) -> list[str]:
    """Return what it sees on the event loop."""
    await asyncio.to_thread(refuse_in_body, "a verb in a thread of a step")
    return step(n)


def context(name: str = "charge", identity: str = "charge#1") -> StepContext:
    return StepContext(
        id=identity,
        name=name,
        ref=RunRef(id=RunId.mint(), name="checkout", queue="q", version=1),
        attempt=2,
        token=3,
        idempotency_key="run:0:charge#1",
        deadline=None,
        scope=Scope(),
        arguments={"n": 7},
    )


def call(fn: Callable[..., Any], timeout: float | None = None) -> StepCall[Any]:
    return StepCall("charge", StepDefinition(fn, name="charge", timeout=timeout), {"n": 7})


def runner(handlers: Handlers, seat: Seat | None = None) -> StepRunner:
    return StepRunner(seat or Seat(), handlers)  # type: ignore[arg-type]  # what of a seat is used here


def test_a_step_runs_in_its_middleware(handlers: Handlers) -> None:
    """Async ones around async steps only; all of it is outside of the body that called."""
    with in_body("checkout"):
        assert runner(handlers).run(call(step), context()) == ["sync", "charge", "set for charge", "7"]
        assert runner(handlers).run(call(astep), context()) == ["sync", "async", "charge", "set for charge", "7"]
        with pytest.raises(WorkflowMisuse):
            refuse_in_body("a verb after a step")


def test_what_a_step_sets_stays_in_it(handlers: Handlers) -> None:
    """A body must not see on its first pass what no replay would set."""
    runner(handlers).run(call(step), context())

    assert mood.get() == "unset"


@pytest.mark.parametrize(("timeout", "noted"), [(None, []), (1.5, [1_500])])
def test_a_step_is_interruptible_and_its_middleware_with_it(
    handlers: Handlers, timeout: float | None, noted: list[int]
) -> None:
    """Within its time, which is over with it."""
    seat = Seat()
    runner(handlers, seat).run(call(step, timeout), context())

    assert seat.noted == [*noted, "interruptible", "done", *([None] if noted else [])]


@pytest.mark.parametrize("ends", [SystemExit, KeyboardInterrupt])
def test_the_event_loop_survives_what_ends_a_process(handlers: Handlers, ends: type[BaseException]) -> None:
    """It is the outcome of its own step; the next one finds the loop turning."""

    async def leaves(n: int) -> None:
        raise ends(n)

    with pytest.raises(ends):
        runner(handlers).run(call(leaves), context())
    assert runner(handlers).run(call(astep), context())[-1] == "7"


def test_a_context_tells_what_a_middleware_of_jobs_asks_for() -> None:
    """Queue, scope, arguments, whether it was cancelled; and that it is a step, or an undo."""
    mine = context()

    assert (mine.run_id, mine.queue, mine.ref.name) == (mine.ref.id, "q", "checkout")
    assert (mine.scope, mine.arguments, mine.cancelled) == (Scope(), {"n": 7}, False)
    assert (mine.is_undo, context("refund", "undo:charge#1").is_undo) == (False, True)


def test_progress_without_a_holder_is_quiet() -> None:
    """A context made by hand has nowhere to record it."""
    with in_step(context()) as mine:
        mine.progress(1, 2, "half")
        asyncio.run(mine.aprogress(1))
