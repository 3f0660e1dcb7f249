"""Finds what would arrive as something else: subclasses that lose fields, unions that JSON cannot tell apart."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

__all__ = ["alike", "lost_fields", "may_narrow"]


def may_narrow(declared: frozenset[type]) -> bool:
    """Return whether any declared class has subclasses at all: almost none has, and nothing else is looked at."""
    return any(cls.__subclasses__() for cls in declared)


def lost_fields(value: Any, declared: frozenset[type]) -> str:
    """Return a sentence about the first instance that would lose fields; empty if none would."""
    for part in _instances(value):
        kind = type(part)
        if kind in declared:
            continue
        bases = [base for base in kind.__mro__[1:] if base in declared]
        more = sorted(_fields(kind) - _fields(bases[0])) if bases else []
        if more:
            return (
                f"a {kind.__name__} is given where {bases[0].__name__} is declared, and {', '.join(more)} would be"
                f" lost: declare {bases[0].__name__} | {kind.__name__}"
            )
    return ""


def _instances(value: Any) -> Iterator[Any]:
    """Yield every model and dataclass in a value that is known to be finite."""
    if isinstance(value, BaseModel) or (dataclasses.is_dataclass(value) and not isinstance(value, type)):
        yield value
        for name in _fields(type(value)):
            yield from _instances(getattr(value, name, None))
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _instances(part)
    elif isinstance(value, list | tuple | set | frozenset):
        for part in value:
            yield from _instances(part)


def _fields(kind: Any) -> set[str]:
    if issubclass(kind, BaseModel):
        return set(kind.model_fields)
    return {field.name for field in dataclasses.fields(kind)}


def alike(sent: Any, arrived: Any) -> bool:
    """Return whether two values agree in every type and every part, without asking classes for their equality."""
    if type(sent) is not type(arrived):
        return False
    if isinstance(sent, BaseModel) or dataclasses.is_dataclass(sent):
        names = _fields(type(sent))
        return all(alike(getattr(sent, name, None), getattr(arrived, name, None)) for name in names)
    if isinstance(sent, Mapping):
        kinds = {(type(key), key) for key in sent} == {(type(key), key) for key in arrived}
        return kinds and all(alike(part, arrived[key]) for key, part in sent.items())
    if isinstance(sent, list | tuple):
        return len(sent) == len(arrived) and all(map(alike, sent, arrived))
    if isinstance(sent, set | frozenset):
        return {(type(part), part) for part in sent} == {(type(part), part) for part in arrived}
    return bool(sent == arrived)
