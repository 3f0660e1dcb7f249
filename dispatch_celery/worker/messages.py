"""The message that wakes a worker: an ordinary Celery task message, with one header of ours and no arguments.

The arguments are in the record; the message carries what people look at (the masked summary) and what Celery's
own hand-over needs (callbacks, chains, chords). Header ``dispatch``: ``<job id> <queue>:<priority>``, and for a run
``<run id> <queue>:<priority> <version>``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from dispatch_celery.errors import ConfigurationError, InvalidId
from dispatch_celery.ids import JobId, RunId
from dispatch_celery.jobs.model import JobRef
from dispatch_celery.jobs.options import check_queue
from dispatch_celery.work.model import WakeUp, WorkRef
from dispatch_celery.work.spans import TRACE
from dispatch_celery.workflows.model import RunRef

__all__ = ["HEADER", "celery_id", "embed_of", "envelope_of", "header_of", "headers_of", "ref_of"]

HEADER: Final = "dispatch"
_LARGEST: Final = 1_048_576
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
    body = message.body
    text = bytes(body).decode("utf-8", "backslashreplace") if isinstance(body, bytes | memoryview) else str(body)
    whole = {
        "headers": message.headers,
        "content_type": message.content_type,
        "properties": message.properties,
        "delivery_info": message.delivery_info,
        "body": text,
    }
    return json.dumps(whole, default=repr, skipkeys=True).encode()[:_LARGEST]


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
