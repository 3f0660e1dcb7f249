"""Extensions and signals hear of what happens to runs, as they do of jobs."""

from __future__ import annotations

from typing import Any

import pytest

from dispatch_celery import signals
from dispatch_celery.extensions.base import Extension
from dispatch_celery.extensions.registry import ExtensionRegistry
from dispatch_celery.ids import RunId
from dispatch_celery.workflows.model import RunRef
from dispatch_celery.workflows.signals import RUN_SIGNALS

REF = RunRef(id=RunId.adopt("one"), name="checkout", queue="q")
ERROR = ValueError("x")
MOMENTS: list[tuple[str, dict[str, Any]]] = [
    ("enqueued", {}),
    ("started", {}),
    ("resumed", {}),
    ("step_completed", {"step": "charge"}),
    ("step_failed", {"step": "charge", "error": ERROR}),
    ("waiting", {}),
    ("compensating", {}),
    ("completed", {"elapsed": 0.5}),
    ("failed", {"error": ERROR}),
    ("cancelled", {}),
    ("parked", {"reason": "its code has changed"}),
    ("recovered", {"holder": "w", "why": "gone"}),
]


def hearing(heard: list[Any]) -> Extension:
    """Return an extension that writes down what its hooks are given."""

    def hook(name: str) -> Any:
        return lambda _self, **facts: heard.append((name, facts))

    hooks = {name: hook(name) for name in dir(Extension) if name.startswith("on_")}
    return type("Hearing", (Extension,), hooks)()  # type: ignore[no-any-return]  # it is one


@pytest.mark.parametrize(("moment", "facts"), MOMENTS, ids=[moment for moment, _ in MOMENTS])
def test_a_moment_of_a_run_reaches_its_hook_and_its_signal(moment: str, facts: dict[str, Any]) -> None:
    """The run, and what the hook's signature names; no hook of jobs hears of it."""
    heard: list[Any] = []
    sent: list[Any] = []
    registry = ExtensionRegistry()
    registry.add(hearing(heard))
    registry.add(Extension())
    signal = getattr(signals, f"run_{moment}")

    def receive(sender: str, signal: Any, **given: Any) -> None:
        sent.append((sender, given))

    signal.connect(receive)
    try:
        registry(moment, REF, **facts)
    finally:
        signal.disconnect(receive)

    assert heard == [(f"on_run_{moment}", {"run": REF, **facts})]
    assert sent == [("checkout", {"run": REF, **facts})]


def test_every_moment_of_runs_is_told() -> None:
    """The table of signals, the hooks and this list are the same."""
    hooks = {name.removeprefix("on_run_") for name in dir(Extension) if name.startswith("on_run_")}

    assert hooks == set(RUN_SIGNALS) == {moment for moment, _ in MOMENTS}
