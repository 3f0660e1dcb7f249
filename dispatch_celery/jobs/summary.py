"""A call's arguments for people: short, printable, and without what is secret.

What is secret by its annotation is masked (``secrets``). Shown in Flower, in logs of Celery, and on the command line.
"""

from __future__ import annotations

import dataclasses
import reprlib
from collections.abc import Mapping
from itertools import islice
from typing import Any, Final, get_args

from pydantic import BaseModel, SecretBytes, SecretStr
from typing_extensions import is_typeddict

from dispatch_celery.jobs.annotations import Annotations, entry, hides, items, plain
from dispatch_celery.jobs.secrets import hints_of, is_hidden, is_secret

__all__ = ["Summary"]

MASK: Final = "***"
_LONGEST: Final = 400
_LARGE: Final = 10**18
_SHORT: Final = 50
_WIDEST: Final = 6


class _Masking(reprlib.Repr):
    """Bounded in depth, width and length, like ``reprlib``; models and dataclasses field by field."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = self.maxlong = 60
        self.maxdict = self.maxlist = self.maxtuple = self.maxset = self.maxfrozenset = _WIDEST
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
        return [(name, value.__dict__.get(name), is_hidden(field)) for name, field in type(value).model_fields.items()]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        hints = hints_of(type(value))
        return [
            (field.name, getattr(value, field.name, None), not field.repr or is_secret(hints.get(field.name)))
            for field in dataclasses.fields(value)
        ]
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        hints = hints_of(type(value))
        return [(name, part, is_secret(hints.get(name))) for name, part in zip(value._fields, value, strict=True)]
    return None


_masking: Final = _Masking()


def _masked(value: Any, hints: Annotations) -> Any:
    """Return typed dicts, also in lists and mappings, with their secret entries masked, as far as they are shown."""
    if isinstance(value, Mapping):
        found = [(key, part, *entry(hints, str(key))) for key, part in islice(value.items(), _WIDEST + 1)]
        return {key: MASK if hidden else _masked(part, inner) for key, part, hidden, inner in found}
    if type(value) in (list, tuple):
        parts = [(part, items(hints, place)) for place, part in enumerate(value[: _WIDEST + 1])]
        return type(value)([MASK if hides(inner) else _masked(part, inner) for part, inner in parts])
    return value


def _holds_typed_dicts(hint: Any) -> bool:
    """Return whether values of an annotation hold typed dicts: those do not know by themselves what is secret."""
    return any(is_typeddict(one) or any(map(_holds_typed_dicts, get_args(one))) for one in plain(hint))


class Summary:
    """Shows calls of one function: ``name=value, ...``, masked, printable, and at most some hundred characters long."""

    def __init__(self, hints: Mapping[str, Any]) -> None:
        self._hidden = frozenset(name for name, hint in hints.items() if is_secret(hint))
        self._typed_dicts = {name: plain(hint) for name, hint in hints.items() if _holds_typed_dicts(hint)}

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
            return _masking.repr(_masked(value, self._typed_dicts[name]) if name in self._typed_dicts else value)
        except Exception as error:  # noqa: BLE001 - a user's __repr__ may raise anything
            return f"<{type(error).__name__} in its repr>"
