"""A function's parameters: what a call is bound by, and called with."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from functools import cached_property
from typing import Any, NotRequired, Required, get_type_hints

from pydantic import ConfigDict
from typing_extensions import TypedDict

from dispatch_celery.codec.payload import Codec
from dispatch_celery.errors import ConfigurationError, PayloadError

__all__ = ["Signature"]


class Signature:
    """A function's parameters: binds calls to one JSON object by name, and back to a call.

    ``limit``: the largest arguments or result, in bytes; None: who encodes them says it.
    """

    def __init__(self, fn: Callable[..., Any], *, name: str, limit: int | None = None, skip: int = 0) -> None:
        self.name = name
        self._fn = fn
        self._limit = limit
        parameters = list(inspect.signature(fn).parameters.values())[skip:]
        for parameter in parameters:
            if parameter.kind is parameter.VAR_POSITIONAL:
                raise ConfigurationError(
                    f"{name}: '*{parameter.name}' cannot be stored by name; take a list parameter instead"
                )
        self._signature = inspect.Signature(parameters)
        self._positional = [p.name for p in parameters if p.kind is p.POSITIONAL_ONLY]
        self._open = next((p.name for p in parameters if p.kind is p.VAR_KEYWORD), None)
        self._names = tuple(p.name for p in parameters)
        self._places = sum(p.kind is p.POSITIONAL_OR_KEYWORD for p in parameters)
        self._required = frozenset(p.name for p in parameters if p.default is p.empty)
        self._known = frozenset(self._names)
        self.defaults: dict[str, Any] = {p.name: p.default for p in parameters if p.default is not p.empty}
        self._is_plain = not self._open and not self._positional

    @cached_property
    def _hints(self) -> dict[str, Any]:
        try:
            return get_type_hints(self._fn, include_extras=True)
        except Exception as error:
            raise ConfigurationError(f"{self.name}: its annotations cannot be resolved: {error}") from error

    @cached_property
    def arguments(self) -> Codec:
        """The codec of the argument object."""
        fields: dict[str, Any] = {}
        for parameter in self._signature.parameters.values():
            if parameter.name == self._open:
                continue
            hint = self._hints.get(parameter.name, Any)
            fields[parameter.name] = Required[hint] if parameter.default is parameter.empty else NotRequired[hint]
        make: Any = TypedDict  # checkers know its literal form only
        shape = make("arguments", fields)
        shape.__pydantic_config__ = ConfigDict(extra="allow" if self._open else "forbid")
        extras = self._hints.get(self._open) if self._open else None
        return Codec(shape, subject=f"{self.name}: arguments", limit=self._limit, extras=extras)

    @cached_property
    def result(self) -> Codec:
        """The codec of the return value."""
        return Codec(self._hints.get("return", Any), subject=f"{self.name}: result", limit=self._limit)

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Return a call's arguments by parameter name.

        Raises:
            PayloadError: an argument is unknown, missing, or given twice.
        """
        if self._is_plain and len(args) <= self._places:
            # What almost every call is; ``inspect`` takes ten times as long, and words the errors of the others.
            named = {**dict(zip(self._names, args, strict=False)), **kwargs}
            if len(named) == len(args) + len(kwargs) and self._required <= named.keys() <= self._known:
                return named
        try:
            bound = self._signature.bind(*args, **kwargs).arguments
        except TypeError as error:
            raise PayloadError(f"{self.name}{self._signature}: {self._unknown(kwargs) or error}") from None
        if self._open in bound:
            more = bound.pop(self._open)
            doubled = sorted(set(more) & set(bound))
            if doubled:
                raise PayloadError(f"{self.name}: {doubled[0]!r} is given as a positional and as a keyword argument")
            bound.update(more)
        return bound

    def encode(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bytes:
        """Return a call's arguments as JSON, bound and checked.

        Raises:
            PayloadError: an argument is unknown, missing, given twice, or does not fit its annotation.
        """
        return self.arguments.encode(self.bind(args, kwargs))

    def _unknown(self, given: Mapping[str, Any]) -> str:
        """Return what is wrong with a name that no parameter has; empty if every name is known."""
        unknown = next((name for name in given if name not in self._known and not self._open), None)
        if unknown is None:
            return ""
        meant = get_close_matches(str(unknown), self._names, n=1)
        return f"got an unexpected keyword argument {unknown!r}" + (f"; did you mean {meant[0]!r}?" if meant else "")

    def call(self, arguments: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return stored arguments as what the function is called with."""
        named = dict(arguments)
        return tuple(named.pop(name) for name in self._positional if name in named), named

    @property
    def hints(self) -> Mapping[str, Any]:
        """The annotation of every parameter that has one."""
        return self._hints
