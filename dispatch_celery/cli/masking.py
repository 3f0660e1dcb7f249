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
from typing import Any, Final

from pydantic import SecretStr

from dispatch_celery.cli.plain import printable
from dispatch_celery.errors import ConfigurationError
from dispatch_celery.jobs.annotations import Annotations, entry, hides, items, plain
from dispatch_celery.jobs.secrets import is_secret

__all__ = ["EVERYTHING", "MASK", "NAMES", "Hints", "Masking", "block", "line", "refuse_masks", "words"]

MASK: Final = "***"
NAMES: Final = (
    "password", "passwd", "passphrase", "secret", "token", "apikey", "accesskey", "privatekey", "authorization",
    "credential", "cookie", "signature", "creditcard", "cardnumber", "cvv", "ssn",
)  # fmt: skip
_DEEPEST: Final = 40
_LONGEST: Final = 20_000
_LONGEST_LINE: Final = 300
_IN_URL: Final = re.compile(r"(?<=://)([^\s/:@]*):[^\s/@]+@(?:[^\s/@\"'<>]+@)*")
"""A password may hold an ``@`` that is not encoded: whoever parses a URL goes by the last one."""


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
        return {key: self._named(str(key), value, hints.get(key)) for key, value in arguments.items()}

    def result(self, name: str, result: Any, version: int = 0) -> Any:
        """Return a result with what is secret masked."""
        hint = self._hints(name, version).get("return")
        return MASK if result is not None and is_secret(hint) else self._value(result, plain(hint), 0)

    def value(self, value: Any) -> Any:
        """Return any other JSON value with what is secret masked."""
        return self._value(value, (), 0)

    def _named(self, key: str, value: Any, hint: Any) -> Any:
        return MASK if is_secret(hint) or self._is_told(key) else self._value(value, plain(hint), 1)

    def _is_told(self, key: str) -> bool:
        """Return whether a name says that what it names is secret."""
        folded = _folded(key)
        return any(name in folded for name in self._names)

    def _value(self, value: Any, hints: Annotations, depth: int) -> Any:
        if depth > _DEEPEST:
            return "..."
        if isinstance(value, str):
            return words(value)
        if isinstance(value, Mapping):
            return {words(str(key)): self._entry(str(key), part, hints, depth) for key, part in value.items()}
        if isinstance(value, list | tuple):
            return [self._item(part, items(hints, place), depth) for place, part in enumerate(value)]
        return value

    def _entry(self, key: str, value: Any, hints: Annotations, depth: int) -> Any:
        hidden, inner = entry(hints, key)
        return MASK if hidden or self._is_told(key) else self._value(value, inner, depth + 1)

    def _item(self, value: Any, hints: Annotations, depth: int) -> Any:
        return MASK if hides(hints) else self._value(value, hints, depth + 1)

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
