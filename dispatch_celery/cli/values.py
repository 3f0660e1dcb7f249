"""JSON given on the command line, or on the standard input. Errors never repeat it: it may hold secrets."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any, Never

import click

__all__ = ["json_object", "json_value"]


def json_value(words: str) -> Any:
    """Return one JSON value."""
    try:
        return _read(words)
    except (ValueError, RecursionError) as error:
        raise click.BadParameter(
            f'give one JSON value, such as \'{{"by": "ann"}}\', \'"text"\' or null ({error});'
            " '-' reads it from the standard input"
        ) from None


def json_object(words: str) -> Mapping[str, Any]:
    """Return one JSON object: arguments by name."""
    try:
        found = _read(words)
    except (ValueError, RecursionError) as error:
        found, why = None, f" ({error})"
    else:
        why = "" if isinstance(found, dict) else f" (this is a {type(found).__name__})"
    if not isinstance(found, dict):
        raise click.BadParameter(
            f'give one JSON object of arguments by name, such as \'{{"order_id": "o-1"}}\'{why};'
            " '-' reads it from the standard input"
        )
    return found


def _read(words: str) -> Any:
    return json.loads(sys.stdin.read() if words == "-" else words, parse_constant=_no_constant)


def _no_constant(name: str) -> Never:
    raise ValueError(f"{name} is no JSON")
