"""The message that wakes a worker: an ordinary Celery task message, with one header of ours and no arguments.

The arguments are in the record; the message carries what people look at (the masked summary) and what Celery's
own hand-over needs (callbacks, chains, chords). Header ``dispatch``: ``<job id> <queue>:<priority>``, and for a run
``<run id> <queue>:<priority> <version>``.
"""

from __future__ import annotations

import base64
import calendar
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

from dispatch_celery.errors import ConfigurationError, InvalidId, StateConflict
from dispatch_celery.ids import JobId, RunId
from dispatch_celery.jobs.model import JobRef
from dispatch_celery.jobs.options import check_queue
from dispatch_celery.work.model import WakeUp, WorkRef
from dispatch_celery.work.spans import TRACE
from dispatch_celery.workflows.model import RunRef

__all__ = ["HEADER", "Envelope", "celery_id", "embed_of", "envelope_of", "header_of", "headers_of", "ref_of"]

HEADER: Final = "dispatch"
_LARGEST: Final = 1_048_576
_PROPERTIES: Final = frozenset(
    {
        "correlation_id",
        "reply_to",
        "delivery_mode",
        "priority",
        "expiration",
        "message_id",
        "timestamp",
        "type",
        "app_id",
    }
)
"""Of a message's properties, those its sender gave; the others are the broker's."""
_TIME: Final = "seconds since 1970"
_PRIORITIES: Final = frozenset("0123456789")


def celery_id(wakeup: WakeUp) -> str:
    """Return the id Celery knows the job by: its own, or the one a foreign caller chose."""
    return str(wakeup.spec.get("celery_id") or wakeup.ref.id)


def headers_of(wakeup: WakeUp, origin: str) -> dict[str, Any]:
    """Return the headers of task message protocol 2 for a wake-up."""
    spec, ref = wakeup.spec, wakeup.ref
    task_id = celery_id(wakeup)
    canvas: Mapping[str, Any] = spec.get("canvas", {})
    headers: dict[str, Any] = {**spec.get(TRACE, {}), **spec.get("headers", {})}
    headers |= {
        "lang": "py",
        "task": ref.name,
        "id": task_id,
        "shadow": None,
        "eta": None,
        "expires": None,
        "group": canvas.get("group_id"),
        "group_index": canvas.get("group_index"),
        "retries": wakeup.attempt - 1,
        "timelimit": [None, None],
        "root_id": canvas.get("root_id") or task_id,
        "parent_id": canvas.get("parent_id"),
        "argsrepr": "()",
        "kwargsrepr": f"{{{spec.get('summary', '')}}}",
        "origin": origin,
        "ignore_result": False,
        "replaced_task_nesting": 0,
        "stamped_headers": None,
        "stamps": {},
        HEADER: header_of(ref),
    }
    return headers


def header_of(ref: WorkRef) -> str:
    """Return our header: which job or run a message wakes, where it is ready, and what version a run is of."""
    return f"{ref.id} {ref.lane} {ref.version}" if ref.version else f"{ref.id} {ref.lane}"


def embed_of(wakeup: WakeUp) -> dict[str, Any]:
    """Return what Celery does when the task ends: its callbacks, the rest of a chain, the chord it belongs to."""
    canvas = wakeup.spec.get("canvas", {})
    return {name: canvas.get(name) for name in ("callbacks", "errbacks", "chain", "chord")}


def envelope_of(message: Any) -> bytes:
    """Return a whole message as JSON, for a raw dead letter: a person wants to see where it came from."""
    data = _bytes_of(message)
    try:
        text, encoding = data.decode(), None
    except UnicodeDecodeError:
        text, encoding = base64.b64encode(data).decode(), "base64"
    whole = {
        "headers": message.headers,
        "content_type": message.content_type,
        "content_encoding": message.content_encoding,
        "properties": message.properties,
        "delivery_info": message.delivery_info,
        "body_encoding": encoding,
        "body": text,
    }
    try:
        kept = json.dumps(whole, default=_kept_time)
    except (TypeError, ValueError):
        kept = json.dumps({**whole, "approximate": True}, default=repr, skipkeys=True)
    return kept.encode()[:_LARGEST]


def _bytes_of(message: Any) -> bytes:
    """Return a body as it was sent. py-amqp decodes those that say how; kombu leaves others as they are."""
    body = message.body
    if isinstance(body, bytes | memoryview):
        return bytes(body)
    try:
        return str(body).encode(message.content_encoding or "utf-8")
    except (LookupError, UnicodeError):
        return str(body).encode("utf-8", "surrogatepass")


def _kept_time(value: Any) -> dict[str, int]:
    """Return a time in a header as JSON has it: RabbitMQ writes them itself, into ``x-death``."""
    if not isinstance(value, datetime):
        raise TypeError(type(value))
    return {_TIME: calendar.timegm(value.utctimetuple())}


def _found_time(table: dict[str, Any]) -> Any:
    try:
        return datetime.fromtimestamp(table[_TIME], UTC) if table.keys() == {_TIME} else table
    except (TypeError, ValueError, OverflowError, OSError):  # a sender's own header of that name, which is no time
        return table


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """A kept message as it came, to be sent again."""

    body: bytes
    content_type: str
    content_encoding: str
    headers: Mapping[str, Any]
    properties: Mapping[str, Any]
    exchange: str
    routing_key: str

    @classmethod
    def parse(cls, raw: bytes) -> Envelope | None:
        """Return what ``envelope_of`` kept; None if these bytes are of another form: a broker's own.

        Raises:
            StateConflict: it was kept in part, or in words, and is not what it was.
        """
        try:
            whole = json.loads(raw, object_hook=_found_time)
        except ValueError:
            if raw.startswith(b'{"headers": ') and len(raw) >= _LARGEST:
                raise StateConflict(f"the message was larger than {_LARGEST:,} bytes, and is kept in part") from None
            return None
        if not isinstance(whole, dict) or not {"content_type", "delivery_info", "properties", "body"} <= whole.keys():
            return None
        if whole.get("approximate"):
            raise StateConflict("the message has headers that are no JSON, which were kept in words only")
        route = whole["delivery_info"] or {}
        headers = dict(whole["headers"] or {})
        headers.pop("compression", None)  # kombu has undone it
        is_base64 = whole.get("body_encoding") == "base64"
        return cls(
            body=base64.b64decode(whole["body"]) if is_base64 else whole["body"].encode(),
            content_type=whole["content_type"] or "application/json",
            content_encoding=whole.get("content_encoding") or "utf-8",
            headers=headers,
            properties={name: value for name, value in (whole["properties"] or {}).items() if name in _PROPERTIES},
            exchange=route.get("exchange") or "",
            routing_key=route.get("routing_key") or "",
        )


def ref_of(name: str, header: Any) -> WorkRef | None:
    """Return the job or run a message wakes; None if the header is not one of ours."""
    if not isinstance(header, str):
        return None
    job_id, _, rest = header.partition(" ")
    is_run = job_id.startswith("run_")
    lane, _, version = rest.rpartition(" ") if is_run else (rest, "", "0")
    found = _lane(lane)
    if found is None or not (version.isascii() and version.isdecimal()):
        return None
    try:
        if is_run:
            return RunRef(
                id=RunId.parse(job_id), name=name, queue=found[0], priority=found[1], version=int(version[:9])
            )
        return JobRef(id=JobId.parse(job_id), name=name, queue=found[0], priority=found[1])
    except InvalidId:
        return None


@lru_cache(maxsize=1_000)
def _lane(lane: str) -> tuple[str, int] | None:
    """Return queue and priority; None if this is no lane."""
    queue, _, priority = lane.rpartition(":")
    try:
        check_queue(queue)
    except ConfigurationError:
        return None
    return (queue, int(priority)) if priority in _PRIORITIES else None
