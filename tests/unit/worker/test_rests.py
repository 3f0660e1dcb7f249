"""What Celery is told when a run comes to rest: that its task will be tried again, and no more than that."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from celery import Celery, signals
from celery.app.trace import build_tracer
from celery.exceptions import Retry

from dispatch_celery.worker.flows import WorkflowTask


class Engine:
    """Runs Celery's tracer at once: there is nothing to claim."""

    def tracing(self) -> Engine:
        """Return what traces."""
        return self

    def trace(self, tracer: Any, _name: str, task_id: str, args: Any, kwargs: Any, request: Any) -> Any:
        """Trace."""
        return tracer(task_id, args, kwargs, request)


@pytest.fixture
def task() -> WorkflowTask:
    """Return the task of a workflow that rests whenever it is run."""
    app = Celery("rests", broker="redis://127.0.0.1:1/0", set_as_current=False)
    base = type("Resting", (WorkflowTask, app.Task), {"abstract": True})

    def body() -> None:
        raise Retry("the run waits")

    made: WorkflowTask = app.task(name="rests", base=base, shared=False, engine=staticmethod(Engine))(body)
    made.__trace__ = build_tracer(made.name, made, app.loader, app=app)  # as a pool process does
    return made


def test_a_rest_is_told_without_the_frames_that_led_to_it(task: WorkflowTask) -> None:
    """What a pool process sends of it is small, and reads as a retry with its reason."""
    told, info, *_ = task.__trace__("run-1", (), {}, {"id": "run-1", "task": "rests"})

    assert info.state == "RETRY"
    assert told.tb.tb_next is None
    assert "the run waits" in told.traceback
    assert len(pickle.dumps(told)) < 8_192


def test_a_rest_is_still_a_retry_to_whoever_listens(task: WorkflowTask) -> None:
    """Celery's own signal is sent, once, with the reason."""
    heard: list[str] = []

    def hear(**facts: Any) -> None:
        heard.append(str(facts["reason"]))

    signals.task_retry.connect(hear, sender=task)
    try:
        task.__trace__("run-1", (), {}, {"id": "run-1", "task": "rests"})
    finally:
        signals.task_retry.disconnect(hear, sender=task)

    assert len(heard) == 1
    assert "the run waits" in heard[0]
