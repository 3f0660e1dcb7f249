"""How an effect is undone: a function found by its name, with arguments as JSON, so that no forward code is needed.

An undo may have to run in another process, long after the code that asked for it was deployed away. So it is stored as
``<module>:<qualified name>`` and looked up among what the process has imported; nothing is imported for it.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from dispatch_celery.errors import ConfigurationError
from dispatch_celery.jobs.options import StoredRetry
from dispatch_celery.retry import Exponential, Retry

__all__ = ["DEFAULT_UNDO_RETRY", "Undo", "find_undo"]

DEFAULT_UNDO_RETRY: Final = Retry(10, Exponential(1.0))
"""The policy of undos that declare none: some minutes of trying before a person is asked."""

_declared: dict[str, Callable[..., Any]] = {}
"""Undos declared in this process, so that those that are no attribute of a module are found again, too."""


@dataclass(frozen=True, slots=True)
class Undo:
    """What undoes the effect of a step, or of anything else a run has done."""

    name: str
    parameters: tuple[str, ...]
    retry: dict[str, Any]
    timeout_ms: int | None

    @classmethod
    def of(cls, fn: Callable[..., Any], *, retry: Retry | None = None, timeout_ms: int | None = None) -> Undo:
        """Return the undo that a function is.

        Raises:
            ConfigurationError: it has no name of its own to be found by, or its policy cannot be stored.
        """
        if not inspect.isfunction(fn) or "<lambda>" in fn.__qualname__:
            raise ConfigurationError(f"an undo is found by its name, so it must be a function with one, not {fn!r}")
        parameters = inspect.signature(fn).parameters.values()
        starred = next((p for p in parameters if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD)), None)
        if starred is not None:
            raise ConfigurationError(f"the undo {fn.__qualname__} cannot take {str(starred)!r}: name its parameters")
        name = f"{fn.__module__}:{fn.__qualname__}"
        _declared[name] = fn
        try:
            policy = StoredRetry.dump(retry or DEFAULT_UNDO_RETRY)
        except ConfigurationError:
            backoff = getattr(retry, "backoff", None)
            raise ConfigurationError(
                f"undo_retry of {fn.__qualname__} is stored with the run, which cannot hold the backoff {backoff!r}:"
                " use Constant, Linear or Exponential"
            ) from None
        return cls(name, tuple(parameter.name for parameter in parameters), policy, timeout_ms)

    @classmethod
    def of_module(cls, fn: Callable[..., Any]) -> Undo:
        """Return the undo that a function of a module is.

        Raises:
            ConfigurationError: it is nested: it would hold what one run's call had, and be found by another's.
        """
        undo = cls.of(fn)
        if "<locals>" in undo.name:
            raise ConfigurationError(
                f"add_undo takes a function of a module, not {fn.__qualname__}: another process could not find it, and"
                " this one might find that of another run"
            )
        return undo


def find_undo(name: str) -> Callable[..., Any] | None:
    """Return the undo of a name, if this process has imported it."""
    if name in _declared:
        return _declared[name]
    module, _, path = name.partition(":")
    found: Any = sys.modules.get(module)
    for part in path.split("."):
        found = getattr(found, part, None)
    if not inspect.isfunction(found):  # a step or job of that name: the undo is the function in it
        found = getattr(found, "__wrapped__", None)
    return found if inspect.isfunction(found) else None
