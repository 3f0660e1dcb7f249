"""Where users declare steps: functions with a name, types, a policy, and perhaps what undoes their effect."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import cached_property, wraps
from typing import Any, Concatenate, Final, Generic, ParamSpec, Protocol, TypeVar, overload

from dispatch_celery.clock import Duration, to_ms
from dispatch_celery.codec import Signature
from dispatch_celery.errors import ConfigurationError
from dispatch_celery.jobs.options import check_duration
from dispatch_celery.retry import Retry
from dispatch_celery.work.body import refuse_in_body
from dispatch_celery.workflows.undo import Undo

__all__ = [
    "BoundStep",
    "StepCall",
    "StepDecorator",
    "StepDefinition",
    "UndoStepDecorator",
    "check_parameters",
    "is_celery_task",
]

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
C_co = TypeVar("C_co", covariant=True)
U = TypeVar("U")

_LONGEST_NAME: Final = 200


@dataclass(frozen=True, slots=True)
class StepCall(Generic[R_co]):
    """A step with its arguments bound; nothing has happened yet."""

    name: str
    definition: StepDefinition[..., R_co, Any]
    arguments: dict[str, Any]

    def whole(self) -> StepCall[R_co]:
        """Return the call with what was left to its defaults: who undoes it may have others, or none."""
        return StepCall(self.name, self.definition, {**self.definition.typed.defaults, **self.arguments})

    def encode(self, limit: int) -> bytes:
        """Return its arguments as JSON, checked, and of at most ``limit`` bytes."""
        return self.definition.typed.arguments.encode(self.arguments, limit=limit)


class StepDefinition(Generic[P, R, C_co]):
    """A declared step. Calling it outside of a workflow runs the function here, with nothing durable about it."""

    def __init__(
        self,
        fn: Callable[P, C_co],
        *,
        name: str | None = None,
        retry: Retry | None = None,
        timeout: Duration | None = None,
        undo: Callable[..., Any] | None = None,
        undo_retry: Retry | None = None,
    ) -> None:
        if is_celery_task(fn):
            name, fn = str(getattr(fn, "name", "")) if name is None else name, _called_here(fn)
        if not inspect.isfunction(fn):
            raise ConfigurationError(f"a step is a function, not {fn!r}: wrap it in a def")
        self.name = check_step_name(fn.__name__.replace("<lambda>", "lambda") if name is None else name)
        check_parameters(self.name, inspect.signature(fn))
        if retry is not None and not isinstance(retry, Retry):
            raise ConfigurationError(f"{self.name}: retry must be a Retry, not {retry!r}")
        check_duration("timeout", timeout)
        self.__wrapped__: Callable[P, C_co] = fn
        self.__name__, self.__qualname__, self.__module__ = fn.__name__, fn.__qualname__, fn.__module__
        self.__doc__ = fn.__doc__
        self.retry = retry
        self.timeout_ms = None if timeout is None else to_ms(timeout)
        self.is_async = inspect.iscoroutinefunction(fn)
        self.undone_by: Undo | None = None
        if undo_retry is not None and not isinstance(undo_retry, Retry):
            raise ConfigurationError(f"{self.name}: undo_retry must be a Retry, not {undo_retry!r}")
        self._undo_retry = undo_retry
        if undo is not None:
            self.undo(undo)

    def undo(self, fn: Callable[Concatenate[R | None, P], U], /) -> Callable[Concatenate[R | None, P], U]:
        """Let a function undo the step's effect when its run fails, is cancelled, or is out of time; a decorator too.

        It takes the step's result first, None where its outcome is not known (an undo must bear that nothing has
        happened), then the step's own arguments. It runs at least once, and is tried again by ``undo_retry``.
        """
        own = inspect.signature(self.__wrapped__)
        starred = next((p for p in own.parameters.values() if p.kind is p.VAR_KEYWORD), None)
        if starred is not None:
            raise ConfigurationError(
                f"{self.name}: a step that takes {str(starred)!r} has no undo, which could not name those arguments"
            )
        made = Undo.of(fn, retry=self._undo_retry, timeout_ms=self.timeout_ms)
        names, theirs = _places(own), _places(inspect.signature(fn))
        if len(theirs[0]) != len(names[0]) + 1 or theirs[1] != names[1]:
            raise ConfigurationError(
                f"{self.name}: its undo {fn.__qualname__} must take the step's result and then"
                f" {list(own.parameters)}, not {list(made.parameters)}"
            )
        self.undone_by = made
        return fn

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> C_co:
        """Run the function here: a plain call."""
        refuse_in_body("{0}()", "use wf.step({0}, ...)", self.__name__)
        return self.__wrapped__(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<step {self.name}{inspect.signature(self.__wrapped__)}>"

    @cached_property
    def typed(self) -> Signature:
        """Its parameters and result, as codecs; built at first use, when every annotation can be resolved."""
        return Signature(self.__wrapped__, name=f"step {self.name}")

    @cached_property
    def renamed(self) -> dict[str, str]:
        """The undo's name of each parameter it calls otherwise."""
        if self.undone_by is None:
            return {}
        own, _ = _places(inspect.signature(self.__wrapped__))
        return {mine: other for mine, other in zip(own, self.undone_by.parameters[1:], strict=False) if mine != other}

    def bind(self, *args: P.args, **kwargs: P.kwargs) -> StepCall[R]:
        """Return a call to be made later or among others, as in ``wf.gather(charge.bind(order), ...)``.

        Raises:
            PayloadError: an argument is unknown or missing.
        """
        return StepCall(self.name, self, self.typed.bind(args, kwargs))

    def options(self, *, name: str | None = None) -> BoundStep[P, R, C_co]:
        """Return the step under another name: what its identity is made of."""
        return BoundStep(self, check_step_name(name) if name is not None else self.name)


class BoundStep(Generic[P, R, C_co]):
    """A step with options for its next calls."""

    def __init__(self, definition: StepDefinition[P, R, C_co], name: str) -> None:
        self.definition = definition
        self.name = name
        self.__wrapped__: Callable[P, C_co] = definition.__wrapped__

    def bind(self, *args: P.args, **kwargs: P.kwargs) -> StepCall[R]:
        """Return a call under this name; see ``StepDefinition.bind``."""
        return StepCall(self.name, self.definition, self.definition.typed.bind(args, kwargs))

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> C_co:
        """Run the function here: a plain call."""
        refuse_in_body("{0}()", "use wf.step({0}.options(...), ...)", self.definition.__name__)
        return self.__wrapped__(*args, **kwargs)


class StepDecorator(Protocol):
    """What ``@dispatch.step(...)`` returns."""

    @overload
    def __call__(self, fn: Callable[P, Coroutine[Any, Any, R]], /) -> StepDefinition[P, R, Coroutine[Any, Any, R]]: ...
    @overload
    def __call__(self, fn: Callable[P, R], /) -> StepDefinition[P, R, R]: ...


class UndoStepDecorator(Protocol[P]):
    """What ``@dispatch.step(undo=...)`` returns: for a step with the undo's parameters but for the first."""

    @overload
    def __call__(self, fn: Callable[P, Coroutine[Any, Any, R]], /) -> StepDefinition[P, R, Coroutine[Any, Any, R]]: ...
    @overload
    def __call__(self, fn: Callable[P, R], /) -> StepDefinition[P, R, R]: ...


def is_celery_task(fn: Any) -> bool:
    """Return whether something is a plain Celery task: as a step it runs where its workflow does, without a message."""
    return callable(fn) and callable(getattr(fn, "run", None)) and hasattr(fn, "apply_async") and hasattr(fn, "name")


def _called_here(task: Any) -> Any:
    """Return a plain Celery task as a function: Celery's own ``retry`` in it raises what it was called for."""

    @wraps(task.run)
    def call(*args: Any, **kwargs: Any) -> Any:
        return task(*args, **kwargs)

    return call


def check_step_name(name: str) -> str:
    """Refuse a name that an identity cannot hold."""
    if not isinstance(name, str) or not 1 <= len(name) <= _LONGEST_NAME or not name.isprintable():
        raise ConfigurationError(f"a step's name must be 1 to {_LONGEST_NAME} printable characters, not {name!r}")
    if any(mark in name for mark in "/# "):
        raise ConfigurationError(f"a step's name cannot hold '/', '#' or spaces, which identities use: {name!r}")
    return name


def check_parameters(name: str, shape: inspect.Signature) -> None:
    """Refuse parameters whose arguments cannot be stored by name."""
    for parameter in shape.parameters.values():
        if parameter.kind is parameter.VAR_POSITIONAL:
            raise ConfigurationError(
                f"{name}: '*{parameter.name}' cannot be stored by name; take a list parameter instead"
            )


def _places(shape: inspect.Signature) -> tuple[list[str], set[str]]:
    """Return the parameters that have a place, and those that have a name only."""
    parameters = shape.parameters.values()
    named = {parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY}
    return [parameter.name for parameter in parameters if parameter.name not in named], named
