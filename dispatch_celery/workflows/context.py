"""What a workflow is given: ``wf``, whose verbs are durable."""

from __future__ import annotations

import logging
import random
import uuid
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, overload

from dispatch_celery.clock import Duration, from_ms, to_ms, wall_ms
from dispatch_celery.codec import Signature
from dispatch_celery.errors import WorkflowMisuse
from dispatch_celery.ids import RunId
from dispatch_celery.jobs.options import check_duration
from dispatch_celery.workflows.definition import WorkflowDefinition
from dispatch_celery.workflows.engine import Engine
from dispatch_celery.workflows.step_definition import STEP_LIMIT
from dispatch_celery.workflows.steps import StepCall
from dispatch_celery.workflows.undo import Undo

__all__ = ["RunInfo", "Workflow", "WorkflowDecorator"]

P = ParamSpec("P")
R = TypeVar("R")


class RunInfo:
    """What a run knows of itself without asking."""

    __slots__ = ("created_at", "generation", "id", "name", "version")

    def __init__(self, *, id: RunId, name: str, version: int, created_at: datetime, generation: int) -> None:  # noqa: A002 - the word of the whole API
        self.id = id
        self.name = name
        self.version = version
        self.created_at = created_at
        self.generation = generation


class Workflow:
    """The durable verbs of a workflow written as a plain function.

    Its function runs from the top whenever its run goes on, so between two verbs it must do the same each time: effects
    belong in steps, and times, random numbers and ids come from here.
    """

    def __init__(self, engine: Engine, info: RunInfo) -> None:
        self._engine = engine
        self.info = info

    @overload
    def step(self, fn: Callable[P, Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs) -> R: ...
    @overload
    def step(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R: ...
    def step(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Run a step, a plain function too, at least once, and record its outcome exactly once.

        Raises:
            StepFailed: it failed for good; an instance of its own error class as well.
        """
        return self._engine.step(StepCall.of(fn, args, kwargs))

    def sleep(self, duration: Duration) -> None:
        """Rest for seconds or a timedelta. The deadline is stored once; no worker is held meanwhile."""
        check_duration("sleep", duration)
        self._engine.sleep(to_ms(duration))

    def sleep_until(self, moment: datetime) -> None:
        """Rest until a moment, which has a time zone."""
        if not isinstance(moment, datetime) or moment.tzinfo is None:
            raise WorkflowMisuse(f"sleep_until takes a datetime with a time zone, not {moment!r}")
        left = int(moment.timestamp() * 1000) - int(self._engine.fact("now", wall_ms))
        self._engine.sleep(max(0, left))

    def now(self) -> datetime:
        """Return the time, the same on every replay."""
        return from_ms(int(self._engine.fact("now", wall_ms))).astimezone(UTC)

    def random(self) -> float:
        """Return a number from 0 up to 1, the same on every replay."""
        return random.Random(self._seed("random")).random()

    def uuid(self) -> uuid.UUID:
        """Return a UUID, the same on every replay, unique to this call of this run."""
        return uuid.UUID(bytes=self._seed("uuid")[:16], version=4)

    def add_undo(self, fn: Callable[P, object], /, *args: P.args, **kwargs: P.kwargs) -> None:
        """Put on record that ``fn(*args)`` undoes what comes next, should the run fail or be cancelled.

        Call it before the effect: a crash in between is undone too. ``fn`` is found by its name, so it is a function
        of a module; it is tried ten times, then the run is parked for a person.
        """
        undo = Undo.of(fn)
        self._engine.add_undo(undo, Signature(fn, name=f"undo {undo.name}", limit=STEP_LIMIT).encode(args, kwargs))

    def compensate(self) -> None:
        """Undo now all that is to be undone so far, the last effect first, and go on: the run need not fail for it."""
        self._engine.compensate()

    def patched(self, change: str) -> bool:
        """Return whether the run takes changed code at this place: new runs do, runs that had passed it do not."""
        return self._engine.patched(change)

    @property
    def log(self) -> logging.LoggerAdapter[logging.Logger]:
        """A logger that is silent while the run repeats what is recorded."""
        return _Log(logging.getLogger(f"dispatch_celery.run.{self.info.name}"), self._engine)

    def _seed(self, what: str) -> bytes:
        identity = self._engine.derived(what)
        return sha256(f"{self.info.id}\0{self.info.generation}\0{identity}".encode()).digest()


class WorkflowDecorator(Protocol):
    """What ``@dispatch.workflow(...)`` returns."""

    def __call__(self, fn: Callable[Concatenate[Workflow, P], R], /) -> WorkflowDefinition[P, R]:
        """Make a function one version of a workflow."""
        ...


class _Log(logging.LoggerAdapter[logging.Logger]):
    def __init__(self, logger: logging.Logger, engine: Engine) -> None:
        super().__init__(logger, {"run_id": engine.claim.ref.id})
        self._engine = engine

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 - the standard library's name
        return not self._engine.replaying and super().isEnabledFor(level)
