"""Workflows that stop at a given place, so that a test can end their process exactly there; on the app of the flows.

A place is ``<n>-<where>``: before step n, in it before or after its effect, after it, or within its undo.
"""

from __future__ import annotations

import time
from typing import Final

from dispatch_celery import Retry
from dispatch_celery.workflows.context import Workflow
from dispatch_celery.workflows.steps import current_step
from tests.support.flows import app, dispatch, effect  # noqa: F401 - the worker looks for ``app`` here

ONCE = Retry(1)
LEGS: Final = 5
"""Steps of the workflow that only goes forward."""
BOOKINGS: Final = 3
"""Steps of the one that undoes."""
WHERE: Final = ("before", "begin", "end", "after")
UNDO_WHERE: Final = ("undo-begin", "undo-end")
_PATIENCE: Final = 45.0


def stop(name: str, place: str, at: str, times: int) -> None:
    """Stay here for good the first ``times`` times, if this is the place; tell who stays."""
    if place == at and effect(f"at-{name}") <= times:
        limit = time.monotonic() + _PATIENCE
        while time.monotonic() < limit:
            time.sleep(0.02)


@dispatch.step(retry=ONCE)
def leg(name: str, n: int, at: str, times: int) -> int:
    """Leave an effect with the key it is known by outside."""
    stop(name, f"{n}-begin", at, times)
    effect(f"{name}-{n}-{current_step().idempotency_key.rpartition(':')[2]}")
    stop(name, f"{n}-end", at, times)
    return n * n


@dispatch.workflow(name="boundary.forward")
def forward(wf: Workflow, name: str, at: str, times: int) -> list[int]:
    """Take five steps."""
    squares = []
    for n in range(1, LEGS + 1):
        stop(name, f"{n}-before", at, times)
        squares.append(wf.step(leg, name, n, at, times))
        stop(name, f"{n}-after", at, times)
    return squares


def unbook(booked: str | None, name: str, n: int, at: str, times: int) -> None:
    """Undo one booking."""
    stop(name, f"{n}-undo-begin", at, times)
    effect(f"{name}-undo-{n}")
    stop(name, f"{n}-undo-end", at, times)


@dispatch.step(retry=ONCE, undo=unbook, undo_retry=ONCE)
def book(name: str, n: int, at: str, times: int) -> str:
    """Leave an effect that is to be undone."""
    stop(name, f"{n}-begin", at, times)
    effect(f"{name}-{n}")
    stop(name, f"{n}-end", at, times)
    return f"{name}-{n}"


@dispatch.workflow(name="boundary.saga")
def saga(wf: Workflow, name: str, at: str, times: int) -> None:
    """Take three steps that can be undone, and fail."""
    for n in range(1, BOOKINGS + 1):
        stop(name, f"{n}-before", at, times)
        wf.step(book, name, n, at, times)
        stop(name, f"{n}-after", at, times)
    raise ValueError("not wanted any more")
