"""Plain Celery tasks as steps: they run where their workflow does, and send no message."""

from __future__ import annotations

from typing import Any

import pytest
from celery import Celery

from dispatch_celery import Constant, Dispatch, Retry, RunFailed, Workflow, WorkflowMisuse
from dispatch_celery.testing import Kit

pytest_plugins = ["dispatch_celery.testing.plugin"]

app = Celery("tasks", broker="redis://127.0.0.1:1/0")
dispatch = Dispatch(app)
done: list[str] = []
failures: list[Exception] = []


@app.task(shared=False)
def double(number: int) -> int:
    """Return twice a number."""
    done.append(f"double {number}")
    if failures:
        raise failures.pop()
    return 2 * number


@app.task(name="mail.send", bind=True, max_retries=5, shared=False)
def send(self: Any, to: str) -> str:
    """Ask Celery for another try."""
    done.append(f"send {to} {self.request.called_directly}")
    if failures:
        raise self.retry(exc=failures.pop())
    return f"{self.name} to {to}"


@app.task(autoretry_for=(ValueError,), shared=False)
def brittle(number: int) -> int:
    """Leave trying again to Celery."""
    done.append("brittle")
    if failures:
        raise failures.pop()
    return number


def unsend(_: Any, to: str) -> None:
    """Take back."""
    done.append(f"unsend {to}")


quick = Retry(3, Constant(0.001))
sending = dispatch.step(retry=quick, undo=unsend)(send)


@dispatch.job(name="durable")
def durable() -> None:
    """Belong on the fleet."""


@dispatch.workflow(name="mixed")
def mixed(wf: Workflow, number: int) -> list[Any]:
    """Use tasks in every way a step is used."""
    first = wf.step(double, number)
    told = wf.step(sending, "Ann")
    mapped = wf.map(double, [1, 2])
    gathered = wf.gather(sending.bind("Bob"), dispatch.step(brittle).bind(3))
    return [first, told, *mapped, *gathered]


@dispatch.workflow(name="spoilt")
def spoilt(wf: Workflow) -> None:
    """Fail behind a task that can be undone."""
    wf.step(sending, "Cid")
    raise RuntimeError("spoilt")


@dispatch.workflow(name="mistaken")
def mistaken(wf: Workflow) -> None:
    """Take a job for a step."""
    wf.step(durable)


@pytest.fixture
def dispatch_app() -> Dispatch:
    """Lend the app to a test."""
    done.clear()
    failures.clear()
    return dispatch


def test_a_task_is_a_step(dispatch_kit: Kit) -> None:
    """Its results are recorded under its name, it knows that it was called directly, and nothing is enqueued."""
    run = mixed.start(4)

    assert dispatch_kit.result(run) == [8, "mail.send to Ann", 2, 4, "mail.send to Bob", 3]
    assert done == ["double 4", "send Ann True", "double 1", "double 2", "send Bob True", "brittle"]
    identities = [promise.identity for promise in dispatch.runs.timeline(run.id)]
    assert identities[:2] == [f"{double.name}#1", "mail.send#1"]
    assert dispatch_kit.jobs_enqueued() == []


@pytest.mark.parametrize("name", ["sending", "brittle"])
def test_the_steps_policy_rules(name: str, dispatch_kit: Kit) -> None:
    """What a task asks of Celery (``retry``, ``autoretry_for``) is an error of the step like any other."""
    failures.append(ValueError("once"))
    step = {"sending": sending, "brittle": dispatch.step(retry=quick)(brittle)}[name]

    @dispatch.workflow(name=f"tries-{name}")
    def tries(wf: Workflow) -> Any:
        return wf.step(step, "Ann" if name == "sending" else 1)

    run = tries.start()
    dispatch_kit.result(run)
    assert next(promise.attempts for promise in dispatch.runs.timeline(run.id)) == 2


def test_a_task_is_undone(dispatch_kit: Kit) -> None:
    """As any step with an undo is."""
    run = spoilt.start()
    dispatch_kit.drain()

    with pytest.raises(RunFailed, match="spoilt"):
        run.result(timeout=5)
    assert done == ["send Cid True", "unsend Cid"]


def test_a_job_is_no_step(dispatch_kit: Kit) -> None:
    """It is told where it belongs."""
    run = mistaken.start()
    dispatch_kit.drain()

    with pytest.raises(RunFailed, match=r"use wf\.run_job") as failed:
        run.result(timeout=5)
    assert failed.value.error_type.endswith(WorkflowMisuse.__name__)
