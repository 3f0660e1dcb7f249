"""Both faces of a workflow offer the same verbs, with the same parameters; those of the async one return promises."""

from __future__ import annotations

import inspect
from typing import Any, get_overloads, get_type_hints

import pytest

from dispatch_celery.events.model import Received
from dispatch_celery.workflows.async_context import AsyncWorkflow
from dispatch_celery.workflows.context import Workflow
from dispatch_celery.workflows.driver import Promise

VERBS = sorted(name for name in dir(Workflow) if not name.startswith("_"))
CALLED = [verb for verb in VERBS if callable(getattr(Workflow, verb))]
AT_ONCE = {"event", "status", "continue_as_new", "now", "random", "uuid", "patched", "publish", "add_undo"}
"""What the async face answers at once: nobody has to wait for it."""


def _parameters(face: type, verb: str) -> list[tuple[str, Any, Any]]:
    found = inspect.signature(getattr(face, verb)).parameters.values()
    return [(one.name, one.kind, one.default) for one in found]


def _returned(verb: str) -> list[Any]:
    found = getattr(AsyncWorkflow, verb)
    return [get_type_hints(one)["return"] for one in get_overloads(found) or [found]]


def test_the_faces_have_the_same_verbs() -> None:
    """None is missing on either side."""
    assert sorted(name for name in dir(AsyncWorkflow) if not name.startswith("_")) == VERBS


@pytest.mark.parametrize("verb", CALLED)
def test_a_verb_takes_the_same_on_both_faces(verb: str) -> None:
    """Names, kinds and defaults; and as many overloads."""
    assert _parameters(AsyncWorkflow, verb) == _parameters(Workflow, verb)
    assert len(get_overloads(getattr(AsyncWorkflow, verb))) == len(get_overloads(getattr(Workflow, verb)))


@pytest.mark.parametrize("verb", [verb for verb in CALLED if verb not in AT_ONCE])
def test_what_has_to_be_waited_for_is_a_promise(verb: str) -> None:
    """So that its identity is taken when it is called."""
    assert all(getattr(one, "__origin__", one) is Promise for one in _returned(verb))


def test_a_wait_for_several_tells_what_it_has_received() -> None:
    """The types of the two faces agree where no overload tells."""
    assert _returned("wait_for_any") == [Promise[Received[Any] | None]]
    assert _returned("wait_for_all") == [Promise[list[Received[Any]] | None]]
