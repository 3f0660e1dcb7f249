"""Values as ``--json`` prints them: ids and enums as text, times as ISO 8601, bytes as base64, records as objects."""

from __future__ import annotations

import base64
from collections.abc import Callable, Collection, Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime, timedelta
from typing import Any, Final

__all__ = ["one_line", "plain", "printable"]


_SCALARS: Final[tuple[tuple[type, Callable[[Any], Any]], ...]] = (
    (str, str),
    (datetime, lambda moment: moment.isoformat(timespec="milliseconds")),
    (timedelta, timedelta.total_seconds),
    (bytes, lambda data: base64.b64encode(data).decode()),
)


def plain(value: Any, *, without: Collection[str] = ()) -> Any:
    """Return a value as JSON knows it; ``without`` names fields to leave out, at every depth of records."""
    if value is None or isinstance(value, bool | int | float):
        return value
    for kind, convert in _SCALARS:
        if isinstance(value, kind):
            return convert(value)
    if is_dataclass(value):
        shown = [field.name for field in fields(value) if field.name not in without]
        return {name: plain(getattr(value, name), without=without) for name in shown}
    if isinstance(value, Mapping):
        return {str(name): plain(item, without=without) for name, item in value.items()}
    return [plain(item, without=without) for item in value]


def printable(text: str) -> str:
    """Return text that cannot steer a terminal: control and invisible characters are spelled out."""
    return "".join(
        letter if letter.isprintable() or letter == "\n" else letter.encode("unicode_escape").decode()
        for letter in text.expandtabs(4)
    )


def one_line(text: str, longest: int = 200) -> str:
    """Return text on one line, cut where it is longer than people read in a table."""
    words = " ".join(text.split())
    return words if len(words) <= longest else f"{words[:longest]}..."
