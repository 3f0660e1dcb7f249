"""What Celery's worker, if this process is one, has done with the messages it was given.

The transport must know two things only the worker knows: how many messages wait for a free pool slot (claim again
when that falls to half of the window, not at every single free place), and which messages of a lost or closing
connection some pool process may already be running (giving those back would run them twice).

It reads `celery.worker.state`, and only if something else has imported it: a producer never pays for that import.
Every answer has a safe side, taken where the books say nothing: nothing waits, everything may be running.
"""

from __future__ import annotations

import sys
import weakref
from enum import Enum
from typing import Any

__all__ = ["Standing", "inline_pool", "mark_accepted", "remember", "standing", "stopping", "waiting", "withdraw"]


class Standing(Enum):
    """How far a message has come in the worker."""

    UNKNOWN = "unknown"  # no request: not a task, or its strategy has not decided
    DROPPED = "dropped"  # its request is no more: nobody can run it
    WAITING = "waiting"  # for its ETA or its rate limit; no pool has it
    HELD = "held"  # a pool of threads or greenlets has it, and will run it or drop it
    QUEUED = "queued"  # in prefork's buffer; no process has seen a byte of it
    SENT = "sent"  # written to a process, not known to be accepted
    RUNNING = "running"


def _state() -> Any:
    return sys.modules.get("celery.worker.state")


def waiting() -> int:
    """Return how many reserved tasks no pool slot has accepted yet."""
    state = _state()
    return max(len(state.reserved_requests) - len(state.active_requests), 0) if state else 0


def stopping() -> bool:
    """Return whether the worker was told to stop."""
    state = _state()
    return bool(state) and not all(
        flag is None or flag is False for flag in (state.should_stop, state.should_terminate)
    )


def inline_pool() -> bool:
    """Return whether tasks run on the thread of the event loop; Celery imports the solo pool only if it was chosen."""
    return "celery.concurrency.solo" in sys.modules


def remember(message: Any) -> None:
    """Note which request Celery made of a message it was just given; its own table forgets before we are asked."""
    state = _state()
    request = state.requests.get(message.headers.get("id")) if state else None
    if request is not None:
        message.dispatch_request = weakref.ref(request)


def standing(message: Any) -> tuple[Standing, Any]:
    """Return how far a message has come, and its request if there is one."""
    state, reference = _state(), getattr(message, "dispatch_request", None)
    if state is None or reference is None:
        return Standing.UNKNOWN, None
    request = reference()
    if request is None:
        return Standing.DROPPED, None
    if request in state.active_requests:
        return Standing.RUNNING, request
    result = request._apply_result  # noqa: SLF001 - Celery shows it nowhere else
    if result is None:
        return Standing.WAITING, request
    job = result()
    # Only prefork writes its jobs to pipes, and can be seen not to have. Other pools hold on to what they were given.
    if job is None or not hasattr(job, "_write_to"):
        return Standing.HELD, request
    untouched = job._write_to is None and job._scheduled_for is None and not job._accepted  # noqa: SLF001 - shown nowhere else
    return Standing.QUEUED if untouched else Standing.SENT, request


def withdraw(request: Any) -> None:
    """Take a `Standing.QUEUED` job out of the pool."""
    request._apply_result().discard()  # noqa: SLF001 - shown nowhere else


def mark_accepted(request: Any) -> None:
    """Let the pool take a `Standing.SENT` job for accepted, a moment before its process says so."""
    request._apply_result()._accepted = True  # noqa: SLF001 - shown nowhere else
