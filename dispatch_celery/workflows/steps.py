"""A step about to run: its checked arguments, what it can ask about itself, and who runs it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Protocol

from dispatch_celery.errors import NotInStep, WorkflowMisuse
from dispatch_celery.workflows.step_definition import BoundStep, StepDefinition
from dispatch_celery.workflows.store import RunClaim

__all__ = ["Runner", "StepCall", "StepContext", "context_of", "current_step", "in_step"]


@dataclass(frozen=True, slots=True)
class StepCall:
    """One call of a step."""

    name: str
    definition: StepDefinition[..., Any, Any]
    arguments: dict[str, Any]

    @classmethod
    def of(cls, fn: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> StepCall:
        """Return the call of a step, a step with options, or a plain function.

        Raises:
            WorkflowMisuse: it is none of them.
            PayloadError: an argument is unknown or missing.
        """
        if isinstance(fn, BoundStep):
            name, definition = fn.name, fn.definition
        else:
            definition = fn if isinstance(fn, StepDefinition) else _plain(fn)
            name = definition.name
        return cls(name, definition, definition.typed.bind(args, kwargs))

    def encode(self) -> bytes:
        """Return its arguments as JSON, checked."""
        return self.definition.typed.arguments.encode(self.arguments)


@lru_cache(maxsize=1_000)
def _plain(fn: Any) -> StepDefinition[..., Any, Any]:
    if not callable(fn) or not hasattr(fn, "__code__"):
        raise WorkflowMisuse(f"wf.step takes a step or a function, not {fn!r}")
    return StepDefinition(fn)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepContext:
    """One attempt of a step, from inside."""

    id: str
    """Its identity in the run."""
    run_id: str
    attempt: int
    """From 1; what ``max_attempts`` counts."""
    token: int
    """Grows with every claim of the run: hand it to a resource that refuses an older one."""
    idempotency_key: str
    """The same in every attempt: hand it to the outside world, so that an effect happens once there."""
    deadline: datetime | None


class Runner(Protocol):
    """Calls a step's function in this process."""

    def run(self, call: StepCall, context: StepContext) -> Any:
        """Return what it returns, raise what it raises."""
        ...


def context_of(call: StepCall, claim: RunClaim, identity: str, attempt: int) -> StepContext:
    """Return what one attempt of a step, or of an undo, may know of itself."""
    timeout_ms = call.definition.timeout_ms
    return StepContext(
        id=identity,
        run_id=claim.ref.id,
        attempt=attempt,
        token=int(claim.token.partition(".")[0]),
        idempotency_key=f"{claim.ref.id}:{claim.generation}:{identity}",
        deadline=None if timeout_ms is None else datetime.now(UTC) + timedelta(milliseconds=timeout_ms),
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


@contextmanager
def in_step(context: StepContext) -> Iterator[StepContext]:
    """Make ``context`` the running step of a block."""
    mark = _current.set(context)
    try:
        yield context
    finally:
        _current.reset(mark)
