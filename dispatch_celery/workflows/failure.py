"""A step's error as plain data, and made again: on the first pass as on replay, so that ``except`` behaves alike.

What a workflow catches is an instance of both ``StepFailed`` and of the original class, with its arguments and its
JSON attributes. The class is looked up where it is imported already; nothing is imported for it and nothing unpickled.
A class that cannot be made this way (its layout does not mix, its ``__new__`` refuses) is a plain ``StepFailed``.
"""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from functools import lru_cache
from typing import Any, Final, cast

from dispatch_celery.errors import StepFailed
from dispatch_celery.jobs.outcome import failure_of
from dispatch_celery.work.model import Failure

__all__ = ["encode_error", "failure_in", "rebuilt"]

_LARGEST_PART: Final = 8_192
"""Characters of JSON of one argument or attribute that are stored; a larger one is left out, or cut."""
_MOST_PARTS: Final = 32


def encode_error(error: BaseException) -> bytes:
    """Return an exception as JSON."""
    failure = failure_of(error)
    kind = type(error)
    return json.dumps(
        {
            "type": failure.type,
            "module": kind.__module__,
            "qualname": kind.__qualname__,
            "message": failure.message,
            "traceback": failure.traceback,
            "args": _arguments(error.args),
            "attributes": _attributes(vars(error)),
        }
    ).encode()


def failure_in(payload: bytes) -> Failure:
    """Return a stored error for people to read."""
    data = json.loads(payload)
    return Failure(type=data["type"], message=data["message"], traceback=data["traceback"])


def rebuilt(step: str, payload: bytes) -> StepFailed:
    """Return a stored error as what the workflow is to catch."""
    data = json.loads(payload)
    words = f"step {step} failed: {data['type']}: {data['message']}"
    facts = {
        "id": step,
        "error_type": data["type"],
        "error_message": data["message"],
        "remote_traceback": data["traceback"],
    }
    error = _of_class(data, facts) or StepFailed(words, **facts)
    if type(error) is not StepFailed:
        error.add_note(words)
    error.add_note(data["traceback"])
    return error


def _of_class(data: dict[str, Any], facts: dict[str, str]) -> StepFailed | None:
    found: Any = sys.modules.get(data["module"])
    for part in data["qualname"].split("."):
        found = getattr(found, part, None)
    if not isinstance(found, type) or not issubclass(found, Exception):
        return None
    try:
        mixed = _mixed(found)  # type: ignore[arg-type]  # a class can be hashed
        error: StepFailed = mixed.__new__(mixed, *data["args"])
        error.args = tuple(data["args"])
        # A built-in class keeps its state outside of args (an OSError its errno); no __init__ of the user's is called.
        builtin = next(base for base in found.__mro__ if base.__module__ == "builtins")
        cast("Any", builtin).__init__(error, *data["args"])
        vars(error).update(data["attributes"])
        for name, fact in facts.items():
            setattr(error, name, fact)
    except Exception:  # noqa: BLE001 - the user's class, or its metaclass, may refuse in any way
        return None
    return error


@lru_cache(maxsize=256)
def _mixed(found: Any) -> type[StepFailed]:
    """Return a class that is both ``StepFailed`` and another one.

    Raises:
        Exception: it cannot be made; whatever the class says.
    """
    made: type[StepFailed] = found
    if not issubclass(found, StepFailed):
        names = {"__module__": found.__module__, "__qualname__": found.__qualname__}
        made = type(found.__name__, (StepFailed, found), names)
    return made


def _plain(value: Any) -> Any:
    """Return a small value as JSON holds it.

    Raises:
        Exception: it is none, it is too large, or it is hostile.
    """
    text = json.dumps(value, allow_nan=False)
    if len(text) > _LARGEST_PART:
        raise ValueError(f"{len(text):,} characters")
    return json.loads(text)


def _arguments(values: tuple[Any, ...]) -> list[Any]:
    """Return an exception's arguments; of one that is no JSON, how it is printed."""
    plain = []
    for value in values[:_MOST_PARTS]:
        try:
            plain.append(_plain(value))
        except Exception:  # noqa: BLE001 - the user's object, which may do anything when it is looked at
            plain.append(_printed(value))
    return plain


def _printed(value: Any) -> str:
    try:
        return f"{value!r:.500}"
    except Exception:  # noqa: BLE001 - as above
        return f"<a {type(value).__name__} that cannot be printed>"


def _attributes(values: dict[str, Any]) -> dict[str, Any]:
    """Return those of an exception's attributes that are JSON, and small."""
    plain = {}
    for name, value in list(values.items())[:_MOST_PARTS]:
        with suppress(Exception):
            plain[name] = _plain(value)
    plain.pop("__notes__", None)
    return plain
