"""Defect 26 of the Go package: options that were given with a definition had no effect."""

from __future__ import annotations

from typing import Any

from dispatch_celery import Constant, Dispatch, Retry, Workflow


def refund(result: int | None, amount: int) -> None:
    """Undo a charge."""


def charge(amount: int) -> int:
    """Charge a sum."""
    return amount


def flow(wf: Workflow) -> None:
    """Do nothing."""


def test_options_beside_a_function_are_those_above_it() -> None:
    """``step(fn, ...)`` makes what ``@step(...)`` makes, its undo included; so do the verbs of workflows and jobs."""
    dispatch: Any = Dispatch()  # typed, the first form is refused where it is written
    policy = Retry(7, Constant(1))
    options = {"name": "pay", "retry": policy, "timeout": 2, "undo": refund, "undo_retry": policy}

    beside, above = dispatch.step(charge, **options), dispatch.step(**options)(charge)

    assert (beside.name, beside.retry, beside.timeout_ms) == (above.name, above.retry, above.timeout_ms)
    assert (beside.name, beside.retry, beside.timeout_ms) == ("pay", policy, 2_000)
    assert beside.undone_by == above.undone_by is not None
    assert dispatch.workflow(flow, name="flow", version=3).version == 3
    assert dispatch.job(charge, name="charge").name == "charge"
