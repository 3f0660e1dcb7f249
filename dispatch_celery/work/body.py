"""The body of a workflow: code that runs again at each replay, so that in it only the verbs of ``wf`` are durable.

Who runs a workflow's function says so with ``in_body``; every other durable verb asks with ``refuse_in_body`` before it
does anything. A step, an undo, and what the engine itself does for the workflow run ``out_of_body``.

The mark is a context variable: it follows ``asyncio`` tasks, ``asyncio.to_thread`` and copied contexts, and nothing
that was there before the body. A bare ``threading.Thread`` begins with an empty context: what it does is not refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from dispatch_celery.errors import WorkflowMisuse

__all__ = ["IN_A_STEP", "in_body", "out_of_body", "refuse_in_body"]

IN_A_STEP: Final = "do it in a step: wf.step(a_function, ...)"
"""What to do instead of a verb that ``wf`` has no twin of."""

_AGAIN: Final = "would happen again at each replay"

_workflow: ContextVar[str] = ContextVar("dispatch_workflow_body", default="")


@contextmanager
def in_body(workflow: str) -> Iterator[None]:
    """Let a block be the body of a workflow, told by its name."""
    mark = _workflow.set(workflow)
    try:
        yield
    finally:
        _workflow.reset(mark)


@contextmanager
def out_of_body() -> Iterator[None]:
    """Let a block be no part of the body it is called from; a decorator too."""
    with in_body(""):
        yield


def refuse_in_body(verb: str, instead: str = IN_A_STEP, *names: str, why: str = _AGAIN) -> None:
    """Refuse a durable verb where a workflow's body calls it; elsewhere it costs one look at a context variable.

    ``verb`` and ``instead`` are formatted with ``names``.

    Raises:
        WorkflowMisuse: a body calls it; says why it cannot be, and what to write instead.
    """
    workflow = _workflow.get()
    if workflow:
        raise WorkflowMisuse(
            f"{verb.format(*names)} in the body of the workflow {workflow} {why}: {instead.format(*names)}"
        )
