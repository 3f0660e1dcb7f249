"""Turns the bytes of a reply into text, and an error among the replies of a round trip into a raised one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from dispatch_celery.store.client import Store
from dispatch_celery.store.scripts import Call

__all__ = ["ask", "ask_all", "pairs", "text", "words"]


def text(value: Any) -> str:
    """Return one reply as text; nil is empty."""
    if value is None:
        return ""
    return value.decode() if isinstance(value, bytes) else str(value)


def words(reply: Iterable[Any]) -> list[str]:
    """Return a reply of several values as text."""
    return [text(value) for value in reply]


def pairs(reply: Sequence[Any]) -> dict[str, bytes]:
    """Return a flat reply of names and values as a mapping."""
    return {text(name): value for name, value in zip(reply[::2], reply[1::2], strict=True)}


def ask(store: Store, call: Call) -> Any:
    """Send one call and return its reply, or raise what the server answered."""
    (reply,) = store.execute([call])
    if isinstance(reply, Exception):
        raise reply
    return reply


def ask_all(store: Store, calls: Sequence[Call]) -> list[Any]:
    """Send calls in one trip and return their replies, or raise the first error among them."""
    if not calls:
        return []
    replies = store.execute(calls)
    for reply in replies:
        if isinstance(reply, Exception):
            raise reply
    return replies
