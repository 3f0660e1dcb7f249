"""What is secret by its annotation.

Parameters and fields annotated with ``Secret``, pydantic's ``SecretStr`` and ``SecretBytes``, or ``Field(repr=False)``,
also where the annotation is another name for one of those.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Final, NewType, TypeVar, cast, get_args, get_origin, get_type_hints

from pydantic import AliasChoices, AliasPath, BaseModel, RootModel, SecretBytes, SecretStr
from pydantic.fields import FieldInfo
from typing_extensions import is_typeddict

__all__ = ["Secret", "hidden_fields", "hints_of", "is_hidden", "is_secret"]


class _Marked:
    """The marker behind ``Secret[...]``."""

    def __repr__(self) -> str:
        return "Secret"


_MARK: Final = _Marked()
_T = TypeVar("_T")
Secret = Annotated[_T, _MARK]
"""``password: Secret[str]``: the value travels, and is shown as asterisks wherever people look."""


def is_secret(annotation: Any) -> bool:
    """Return whether a value with this annotation is never shown."""
    return _is_secret(annotation, frozenset())


def _is_secret(annotation: Any, seen: frozenset[int]) -> bool:
    """Do so; ``seen`` are the names that were followed: one may stand for something with itself in it."""
    if annotation in (SecretStr, SecretBytes):
        return True
    if get_origin(annotation) is Annotated:
        inner, *marks = get_args(annotation)
        hidden = any(mark is _MARK or (isinstance(mark, FieldInfo) and not mark.repr) for mark in marks)
        return hidden or _is_secret(inner, seen)
    if any(_is_secret(part, seen) for part in get_args(annotation)):
        return True
    meant = () if id(annotation) in seen else _meant(annotation)
    return any(_is_secret(part, seen | {id(annotation)}) for part in meant)


def _meant(annotation: Any) -> tuple[Any, ...]:
    """Return what an annotation is only another name for."""
    if isinstance(annotation, NewType):
        return (annotation.__supertype__,)
    if isinstance(annotation, TypeVar):
        return annotation.__constraints__ or (annotation.__bound__,)
    if isinstance(annotation, type) and not get_args(annotation) and issubclass(annotation, RootModel):
        root = annotation.model_fields.get("root")
        return (SecretStr,) if root is not None and is_hidden(root) else ()
    return (annotation.__value__,) if hasattr(annotation, "__value__") else ()


def hidden_fields(kind: type) -> tuple[frozenset[str], Mapping[str, Any]] | None:
    """Return the fields of a class that are never shown, and the annotations of all; None where it has no fields.

    A payload is plain data, so who shows one has to know by the class what is secret in it.
    """
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        known: dict[str, Any] = {}
        hidden: set[str] = set()
        for name, field in kind.model_fields.items():
            names = {name, *_aliases(field)}
            known |= dict.fromkeys(names, field.annotation)
            hidden |= names if is_hidden(field) else set()
        for name, made in kind.model_computed_fields.items():
            names = {name, made.alias or name}
            known |= dict.fromkeys(names, made.return_type)
            hidden |= names if not made.repr or is_secret(made.return_type) else set()
        return frozenset(hidden), known
    unshown: set[str] = set()
    if dataclasses.is_dataclass(kind):
        unshown = {field.name for field in dataclasses.fields(kind) if not field.repr}
    if dataclasses.is_dataclass(kind) or is_typeddict(kind) or hasattr(kind, "_fields"):
        hints = hints_of(cast("Any", kind))
        if isinstance(hints, _Unresolved):
            return frozenset(unshown), hints
        return frozenset(unshown | {name for name, hint in hints.items() if is_secret(hint)}), hints
    return None


def _aliases(field: FieldInfo) -> list[str]:
    """Return the names that a field has in a payload beside its own, coming or going."""
    coming = field.validation_alias
    found = coming.choices if isinstance(coming, AliasChoices) else [coming]
    names = [one.path[0] if isinstance(one, AliasPath) else one for one in found]
    return [name for name in (field.alias, field.serialization_alias, *names) if isinstance(name, str)]


@cache
def hints_of(kind: type) -> Mapping[str, Any]:
    """Return a class's annotations, resolved; without them everything in it is hidden."""
    try:
        return get_type_hints(kind, include_extras=True)
    except Exception:  # noqa: BLE001 - a user's annotations may fail in any way
        return _Unresolved()


class _Unresolved(dict[str, Any]):
    """Annotations that cannot be resolved: each field counts as secret."""

    def get(self, name: str, default: Any = None) -> Any:  # noqa: ARG002 - a mapping's signature
        return SecretStr


def is_hidden(field: FieldInfo) -> bool:
    """Return whether a field of a model is never shown."""
    return not field.repr or _MARK in field.metadata or is_secret(field.annotation)
