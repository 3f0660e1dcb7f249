"""JSON given on the command line, or on the standard input. Errors never repeat it: it may hold secrets."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from typing import Any, Final, Never

import click

__all__ = ["json_object", "json_of_call", "json_value", "json_weights"]

_OF_CALL: Final = re.compile(r"(.+?#\d+)=(.*)", re.DOTALL)
"""Identities end with a number, so a ``=`` in the name of a step or an event is none that parts."""


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
    return _object(words, 'of arguments by name, such as \'{"order_id": "o-1"}\'')


def json_weights(words: str) -> Mapping[str, Any]:
    """Return one JSON object: the weights of keys, which the limit checks."""
    return _object(words, "of weights by key, such as '{\"big\": 3}'")


def _object(words: str, what: str) -> Mapping[str, Any]:
    try:
        found = _read(words)
    except (ValueError, RecursionError) as error:
        found, why = None, f" ({error})"
    else:
        why = "" if isinstance(found, dict) else f" (this is a {type(found).__name__})"
    if not isinstance(found, dict):
        raise click.BadParameter(f"give one JSON object {what}{why}; '-' reads it from the standard input")
    return found


def json_of_call(words: str) -> tuple[str, Any]:
    """Return the identity of a durable call, and one JSON value for it."""
    parted = _OF_CALL.fullmatch(words)
    if parted is None:
        raise click.BadParameter(
            "give a call of the timeline and one JSON value, such as 'charge#1={\"paid\": 3}', 'note#2=\"text\"' or"
            " 'ask#1=null'"
        )
    return parted[1], json_value(parted[2])


def _read(words: str) -> Any:
    return json.loads(sys.stdin.read() if words == "-" else words, parse_constant=_no_constant)


def _no_constant(name: str) -> Never:
    raise ValueError(f"{name} is no JSON")
