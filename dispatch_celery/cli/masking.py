"""What of a payload people see: all but what is secret, as text that can neither steer nor flood what shows it. Pure.

Masked, whole values at every depth:

- parameters and fields that a declared job or workflow annotates with ``Secret``, ``SecretStr``, ``SecretBytes`` or
  ``Field(repr=False)``; Flower and the command line import the app, so they know them;
- keys whose name contains one of ``NAMES`` (case, ``-``, ``_`` and blanks do not count), or one of the setting
  ``dispatch_masked_fields``;
- the password in anything that reads like a URL, also in errors and tracebacks.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from types import UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin

from pydantic import SecretStr

from dispatch_celery.cli.plain import printable
from dispatch_celery.errors import ConfigurationError
from dispatch_celery.jobs.summary import hidden_fields, is_secret

__all__ = ["EVERYTHING", "MASK", "NAMES", "Hints", "Masking", "block", "line", "refuse_masks", "words"]

MASK: Final = "***"
NAMES: Final = (
    "password", "passwd", "passphrase", "secret", "token", "apikey", "accesskey", "privatekey", "authorization",
    "credential", "cookie", "signature", "creditcard", "cardnumber", "cvv", "ssn",
)  # fmt: skip
_DEEPEST: Final = 40
_LONGEST: Final = 20_000
_LONGEST_LINE: Final = 300
_LISTS: Final = (list, tuple, set, frozenset, Sequence)
_IN_URL: Final = re.compile(r"(?<=://)([^\s/:@]*):[^\s/@]+@")


_MASKED_URL: Final = re.compile(r"://[^\s/:@]*:" + re.escape(MASK) + "@")


class _Everything(dict[str, Any]):
    """Annotations that say of every name that it is secret."""

    def get(self, key: str, default: Any = None) -> Any:  # noqa: ARG002 - a mapping's signature
        return SecretStr


EVERYTHING: Final[Mapping[str, Any]] = _Everything()

Hints = Callable[[str, int], Mapping[str, Any]]
"""Returns the annotations of a job's parameters by its name, or of a workflow's by its name and version."""


class Masking:
    """Makes text of payloads."""

    def __init__(self, names: Sequence[str], hints: Hints) -> None:
        self._names = tuple(filter(None, map(_folded, (*NAMES, *names))))
        self._hints = hints

    def arguments(self, name: str, arguments: Mapping[str, Any], version: int = 0) -> Any:
        """Return a call's arguments with what is secret masked."""
        hints = self._hints(name, version)
        return {key: self._entry(str(key), value, hints.get(key), 0) for key, value in arguments.items()}

    def result(self, name: str, result: Any, version: int = 0) -> Any:
        """Return a result with what is secret masked."""
        hint = self._hints(name, version).get("return")
        return MASK if result is not None and is_secret(hint) else self._value(result, hint, 0)

    def value(self, value: Any) -> Any:
        """Return any other JSON value with what is secret masked."""
        return self._value(value, None, 0)

    def _entry(self, key: str, value: Any, hint: Any, depth: int) -> Any:
        folded = _folded(key)
        if (hint is not None and is_secret(hint)) or any(name in folded for name in self._names):
            return MASK
        return self._value(value, hint, depth + 1)

    def _value(self, value: Any, hint: Any, depth: int) -> Any:
        if depth > _DEEPEST:
            return "..."
        if isinstance(value, str):
            return words(value)
        if isinstance(value, Mapping):
            hidden, hints = _fields(hint)
            inner = _item(hint)
            return {
                str(key): MASK if key in hidden else self._entry(str(key), part, hints.get(str(key), inner), depth)
                for key, part in value.items()
            }
        if isinstance(value, list | tuple):
            inner = _item(hint)
            return [self._value(part, inner, depth + 1) for part in value]
        return value

    def text(self, value: Any) -> str:
        """Return a masked value as people read it: indented, printable, and cut where it is large."""
        whole = json.dumps(value, indent=2, ensure_ascii=False, default=str)
        return block(whole)


_LEAVE_OUT: Final = "leave this argument out, and it stays as it was, or write all of it anew"


def refuse_masks(edits: Mapping[str, Any], *, remedy: str = _LEAVE_OUT) -> None:
    """Refuse values that somebody copied from where they are shown, with a mask in them instead of what was there.

    Raises:
        ConfigurationError: the mask would take the place of what it hides.
    """
    for name, value in edits.items():
        if _holds_mask(value, 0):
            raise ConfigurationError(
                f"{line(name, 80)} holds {MASK}, which stands for what is hidden from you: {remedy}"
            )


def _holds_mask(value: Any, depth: int) -> bool:
    if depth > _DEEPEST:  # what lies deeper is hidden, too
        return True
    if isinstance(value, str):
        return value == MASK or _MASKED_URL.search(value) is not None
    if isinstance(value, Mapping):
        return any(_holds_mask(part, depth + 1) for part in value.values())
    return isinstance(value, list) and any(_holds_mask(part, depth + 1) for part in value)


def words(text: str) -> str:
    """Return text without the passwords of URLs in it."""
    return _IN_URL.sub(r"\1:***@", text) if "://" in text else text


def block(text: str, longest: int = _LONGEST) -> str:
    """Return text of several lines as it can be shown: control and invisible characters spelled out, cut where long."""
    shown = printable(words(text[: longest + 200]))[:longest]
    return shown if len(text) <= longest else f"{shown}\n... cut here: {len(text):,} characters in all"


def line(text: Any, longest: int = _LONGEST_LINE) -> str:
    """Return text on one line, likewise."""
    one = " ".join(str(text)[: 2 * longest].split())
    shown = printable(words(one))
    return shown if len(shown) <= longest else f"{shown[:longest]}…"


def _folded(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter not in "-_ .")


def _fields(hint: Any) -> tuple[frozenset[str], Mapping[str, Any]]:
    """Return which fields of an object are secret by its class, and the annotations of all."""
    for part in _alternatives(hint):
        if isinstance(part, type):
            found = hidden_fields(part)
            if found is not None:
                return found
    return frozenset(), {}


def _alternatives(hint: Any) -> Sequence[Any]:
    """Return a class and those it may be one of: of ``X | None`` both, of ``Annotated[X, ...]`` X."""
    if get_origin(hint) is Annotated:
        return _alternatives(get_args(hint)[0])
    args = get_args(hint)
    is_union = bool(args) and get_origin(hint) in (Union, UnionType)
    return [one for arg in args for one in _alternatives(arg)] if is_union else [hint]


def _item(hint: Any) -> Any:
    """Return the annotation of what a list or a mapping holds."""
    for part in _alternatives(hint):
        origin, args = get_origin(part), get_args(part)
        if args and (origin in _LISTS or (isinstance(origin, type) and issubclass(origin, Mapping))):
            return args[0] if origin in _LISTS else args[-1]
    return None
