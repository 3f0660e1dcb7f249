"""From the bytes of a list to a kombu message, or a reason why not.

Promises: whatever the bytes are, `decode` returns a message or raises `Undecodable`, and nothing else. It is stricter
than kombu where kombu would guess (bytes that are not UTF-8 are refused, not replaced: a task must not run with
altered arguments), and milder where kombu would die of something it does not need (no delivery tag, no delivery info).
"""

from __future__ import annotations

import json
from typing import Any, Final

from kombu.utils.json import loads as kombu_loads

__all__ = ["MARK", "Undecodable", "decode", "decode_entry"]

# The header of an envelope made by claim.lua around bytes it could not read.
MARK: Final = "dispatch-undecodable"


class Undecodable(ValueError):
    """The bytes are no message. ``raw`` are the bytes as they were first sent."""

    def __init__(self, reason: str, raw: bytes) -> None:
        super().__init__(reason)
        self.raw = raw


def decode(channel: Any, raw: bytes, tag: str, queue: str) -> Any:
    """Return the message of ``raw``, known to the broker as ``tag``.

    Raises:
        Undecodable: it is none.
    """
    try:
        payload = _payload(raw)
        if MARK in (payload.get("headers") or {}):
            return _refuse(payload)
        properties = payload["properties"]
        if not isinstance(payload.get("body") or "", str):
            return _refuse_as("the body is not text", raw)
        info = properties.get("delivery_info")
        if not isinstance(info, dict):
            info = properties["delivery_info"] = {}
        info.setdefault("exchange", "")
        info.setdefault("routing_key", queue)
        properties["delivery_tag"] = tag or properties.get("delivery_tag")
        return channel.Message(payload, channel=channel)
    except Undecodable:
        raise
    except Exception as error:  # noqa: BLE001 - the bytes come from anywhere; any error is a property of theirs
        return _refuse_as(f"{type(error).__name__}: {error}"[:200], raw)


def decode_entry(entry: bytes) -> tuple[str, bytes]:
    """Return the queue and the raw message of an entry of ``unacked`` that cannot be restored."""
    raw, _, key = entry[1:-1].rsplit(b", ", 2) if entry.count(b", ") >= 2 else (entry, b"", b'""')
    queue = key.decode(errors="replace").strip('"')
    try:
        payload = json.loads(raw)
        if MARK in (payload.get("headers") or {}):
            raw = _original(payload)
    except Exception:  # noqa: BLE001 - it is here because it cannot be read; its bytes are kept as they are
        return queue, raw
    return queue, raw


def _payload(raw: bytes) -> dict[str, Any]:
    text = raw.decode()
    # kombu's hook runs in Python for every object; a message without its marker needs none.
    payload = kombu_loads(text) if '"__type__"' in text else json.loads(text)
    if not isinstance(payload, dict) or not isinstance(payload.get("properties"), dict):
        _refuse_as("not a message envelope", raw)
    return payload  # type: ignore[no-any-return]  # checked above


def _original(payload: dict[str, Any]) -> bytes:
    body = payload.get("body")
    return body.encode("utf-8", "surrogatepass") if isinstance(body, str) else b""


def _refuse(payload: dict[str, Any]) -> None:
    raise Undecodable("restored from unacked", _original(payload))


def _refuse_as(reason: str, raw: bytes) -> None:
    raise Undecodable(reason, raw)
