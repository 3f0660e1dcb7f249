"""What annotations say of the parts of a payload, which is plain data: what is in it, and what nobody is shown. Pure.

A value may be of any of several annotations, as one of ``A | B`` is. Which one it is of, its plain data does not tell:
so what is secret by one of them is never shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import UnionType
from typing import Annotated, Any, Final, NewType, NotRequired, Required, TypeVar, Union, get_args, get_origin

from pydantic import RootModel
from typing_extensions import ReadOnly

from dispatch_celery.jobs.secrets import hidden_fields, is_secret

__all__ = ["Annotations", "entry", "hides", "items", "plain"]

Annotations = tuple[Any, ...]
"""Those that a value may be of."""

_WRAPPERS: Final = (Required, NotRequired, ReadOnly)
_DEEPEST: Final = 20
"""How many names an annotation may have for another: a name may stand for itself."""


def plain(hint: Any, depth: int = 0) -> Annotations:
    """Return the classes that an annotation stands for: of a union all, of another name for one that one."""
    if hint is None or depth > _DEEPEST:
        return ()
    origin, args = _origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        inner = args
    elif origin is Annotated or origin in _WRAPPERS:
        inner = args[:1]
    elif isinstance(hint, NewType):
        inner = (hint.__supertype__,)
    elif isinstance(hint, TypeVar):
        inner = hint.__constraints__ or (hint.__bound__,)
    elif hasattr(hint, "__value__"):  # ``type X = ...``, also with arguments
        inner = (hint.__value__, *args)
    elif isinstance(hint, type) and issubclass(hint, RootModel):
        inner = tuple(field.annotation for field in hint.model_fields.values())
    else:
        return (hint,)
    return tuple(one for part in inner for one in plain(part, depth + 1))


def hides(hints: Iterable[Any]) -> bool:
    """Return whether a value that may be of these annotations is never shown."""
    return any(is_secret(hint) for hint in hints)


def entry(hints: Annotations, key: str) -> tuple[bool, Annotations]:
    """Return whether an entry of an object is never shown, and what it may be of."""
    hidden, found = False, []
    for hint in hints:
        origin, args = _origin(hint), get_args(hint)
        kind: Any = origin or hint
        fields = hidden_fields(kind) if isinstance(kind, type) else None
        if fields is not None:
            hidden = hidden or key in fields[0]
            found += [fields[1].get(key), *args]  # of a generic class: what its fields are is among its arguments
        elif isinstance(kind, type) and issubclass(kind, Mapping):
            found += args[-1:]
    return hidden or hides(found), _all(found)


def items(hints: Annotations, place: int) -> Annotations:
    """Return what the item at a place of a list may be of."""
    found: list[Any] = []
    for hint in hints:
        origin, args = _origin(hint), get_args(hint)
        fields = hidden_fields(hint) if isinstance(hint, type) and issubclass(hint, tuple) else None
        if fields is not None:
            names: tuple[str, ...] = hint._fields
            found.append(fields[1].get(names[place]) if place < len(names) else None)
        elif isinstance(origin, type) and issubclass(origin, Iterable) and not issubclass(origin, Mapping):
            found += [one for one in args if one is not ...]
    return _all(found)


def _all(found: Iterable[Any]) -> Annotations:
    return tuple(one for hint in found for one in (*_marked(hint), *plain(hint)))


def _marked(hint: Any) -> Annotations:
    """Return an annotation that is secret itself, for ``plain`` looks behind the mark."""
    return (hint,) if is_secret(hint) else ()


def _origin(hint: Any) -> Any:
    return get_origin(hint)
