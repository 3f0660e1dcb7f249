"""A call's arguments for people: short, printable, and without what is secret.

Masked: parameters and fields annotated with ``Secret``, pydantic's ``SecretStr`` and ``SecretBytes``, and
model fields declared with ``Field(repr=False)``. Shown in Flower, in logs of Celery, and on the command line.
"""

from __future__ import annotations

import dataclasses
import reprlib
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Final, TypeVar, cast, get_args, get_origin, get_type_hints

from pydantic import BaseModel, SecretBytes, SecretStr
from pydantic.fields import FieldInfo
from typing_extensions import is_typeddict

__all__ = ["Secret", "Summary", "hidden_fields", "is_secret"]

MASK: Final = "***"
_LONGEST: Final = 400
_LARGE: Final = 10**18
_SHORT: Final = 50


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
    if annotation in (SecretStr, SecretBytes):
        return True
    if get_origin(annotation) is Annotated:
        inner, *marks = get_args(annotation)
        return _MARK in marks or is_secret(inner)
    return any(is_secret(part) for part in get_args(annotation))


def hidden_fields(kind: type) -> tuple[frozenset[str], Mapping[str, Any]] | None:
    """Return the fields of a class that are never shown, and the annotations of all; None where it has no fields.

    A payload is plain data, so who shows one has to know by the class what is secret in it.
    """
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        fields = kind.model_fields
        hidden = {name for name, field in fields.items() if _hidden(field)}
        names = {field.alias or name: name for name, field in fields.items()}
        hidden |= {alias for alias, name in names.items() if name in hidden}
        return frozenset(hidden), {alias: fields[name].annotation for alias, name in names.items()}
    unshown: set[str] = set()
    if dataclasses.is_dataclass(kind):
        unshown = {field.name for field in dataclasses.fields(kind) if not field.repr}
    if dataclasses.is_dataclass(kind) or is_typeddict(kind) or hasattr(kind, "_fields"):
        hints = _hints(cast("Any", kind))
        if isinstance(hints, _Unresolved):
            return frozenset(unshown), hints
        return frozenset(unshown | {name for name, hint in hints.items() if is_secret(hint)}), hints
    return None


class _Masking(reprlib.Repr):
    """Bounded in depth, width and length, like ``reprlib``; models and dataclasses field by field."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = self.maxlong = 60
        self.maxdict = self.maxlist = self.maxtuple = self.maxset = self.maxfrozenset = 6
        self.maxlevel = 4

    def repr1(self, x: Any, level: int) -> str:
        return self.repr_instance(x, level) if _fields(x) is not None else super().repr1(x, level)

    def repr_instance(self, x: Any, level: int) -> str:
        if isinstance(x, SecretStr | SecretBytes):
            return MASK
        fields = _fields(x)
        if fields is None:
            return super().repr_instance(x, level)
        if level <= 0:
            return f"{type(x).__name__}(...)"
        shown = [f"{name}={MASK if hidden else self.repr1(value, level - 1)}" for name, value, hidden in fields[:8]]
        return f"{type(x).__name__}({', '.join(shown)}{', ...' if len(fields) > 8 else ''})"


def _fields(value: Any) -> list[tuple[str, Any, bool]] | None:
    if isinstance(value, BaseModel):
        return [(name, value.__dict__.get(name), _hidden(field)) for name, field in type(value).model_fields.items()]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        hints = _hints(type(value))
        return [
            (field.name, getattr(value, field.name, None), not field.repr or is_secret(hints.get(field.name)))
            for field in dataclasses.fields(value)
        ]
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        hints = _hints(type(value))
        return [(name, part, is_secret(hints.get(name))) for name, part in zip(value._fields, value, strict=True)]
    return None


@cache
def _hints(kind: type) -> Mapping[str, Any]:
    """Return a class's annotations, resolved; without them everything in it is hidden."""
    try:
        return get_type_hints(kind, include_extras=True)
    except Exception:  # noqa: BLE001 - a user's annotations may fail in any way
        return _Unresolved()


class _Unresolved(dict[str, Any]):
    """Annotations that cannot be resolved: each field counts as secret."""

    def get(self, name: str, default: Any = None) -> Any:  # noqa: ARG002 - a mapping's signature
        return SecretStr


def _hidden(field: FieldInfo) -> bool:
    return not field.repr or _MARK in field.metadata or is_secret(field.annotation)


_masking: Final = _Masking()


def _masked(value: Any, hint: Any) -> Any:
    """Return a typed dict with its secret entries masked."""
    if is_typeddict(hint) and isinstance(value, Mapping):
        hints = _hints(hint)
        return {name: MASK if is_secret(hints.get(name)) else part for name, part in value.items()}
    return value


class Summary:
    """Shows calls of one function: ``name=value, ...``, masked, printable, and at most some hundred characters long."""

    def __init__(self, hints: Mapping[str, Any]) -> None:
        self._hidden = frozenset(name for name, hint in hints.items() if is_secret(hint))
        self._typed_dicts = {name: hint for name, hint in hints.items() if is_typeddict(hint)}

    def __call__(self, arguments: Mapping[str, Any]) -> str:
        """Return a call's arguments for people."""
        text = ", ".join([f"{name}={self._shown(name, value)}" for name, value in arguments.items()])
        if not text.isprintable():
            text = "".join([part if part.isprintable() else ascii(part)[1:-1] for part in text])
        return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."

    def _shown(self, name: str, value: Any) -> str:
        if name in self._hidden:
            return MASK
        kind = type(value)
        if (kind is int and -_LARGE < value < _LARGE) or (kind is str and len(value) < _SHORT):
            return repr(value)
        try:
            return _masking.repr(_masked(value, self._typed_dicts.get(name)))
        except Exception as error:  # noqa: BLE001 - a user's __repr__ may raise anything
            return f"<{type(error).__name__} in its repr>"
