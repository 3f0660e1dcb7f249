"""What a workflow's verb refuses is refused on every pass alike: who catches it goes on, and its run is not parked.

In the Go package an error of a wait was "no event" on replay (defect 24); here it must be the same error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from celery import Celery

from dispatch_celery import (
    ConfigurationError,
    Constant,
    Dispatch,
    PayloadError,
    PayloadTooLarge,
    Retry,
    StepFailed,
    Workflow,
    WorkflowMisuse,
)
from dispatch_celery.testing import Kit

LARGE = "x" * 2_000_000

app = Celery("parity", broker="redis://127.0.0.1:1/0")
dispatch = Dispatch(app)


class Mine:
    """A backoff of the user's own, which only a declaration can hold."""

    def delay(self, attempt: int) -> float:
        """Return the number of the attempt."""
        return float(attempt)


@dispatch.job(name="job")
def job(n: int) -> int:
    """Return a number."""
    return n


@dispatch.step
def step(text: str) -> str:
    """Return a text."""
    return text


def unsay(_: str | None, text: str, more: str) -> None:
    """Undo nothing."""


@dispatch.step(undo=unsay)
def wordy(text: str, more: str = LARGE) -> str:
    """Return a text, and have a large default."""
    return text


@dispatch.workflow(name="child")
def child(wf: Workflow, n: int) -> int:
    """Return a number."""
    return n


def impatient(_: Any) -> bool:
    """Refuse to be asked."""
    raise ZeroDivisionError("asked")


def heard(wf: Workflow) -> object:
    """Wait with a predicate that raises."""
    wf.publish("said", "hello")
    return wf.wait_for_event("said", type=str, where=impatient)


VERBS: dict[str, tuple[Callable[[Workflow], object], type[Exception]]] = {
    "a race of none": (lambda wf: wf.race(), WorkflowMisuse),
    "a first_ok of none": (lambda wf: wf.first_ok(), WorkflowMisuse),
    "a wait for any of none": (lambda wf: wf.wait_for_any(), WorkflowMisuse),
    "a job with a key": (lambda wf: wf.run_job(job.options(idempotency_key="k"), 1), WorkflowMisuse),
    "a member with a key": (lambda wf: wf.gather(job.options(idempotency_key="k").bind(1)), WorkflowMisuse),
    "a racer with a key": (
        lambda wf: wf.race(step.bind("x"), job.options(idempotency_key="k").bind(1)),
        WorkflowMisuse,
    ),
    "a job with a backoff of its own": (
        lambda wf: wf.run_job(job.options(retry=Retry(3, Mine())), 1),
        ConfigurationError,
    ),
    "a job that does not fit": (lambda wf: wf.run_job(job, "x"), PayloadError),  # type: ignore[arg-type]  # the mistake
    "a child that does not fit": (lambda wf: wf.run_child(child, "x"), PayloadError),  # type: ignore[arg-type]  # likewise
    "a step that does not fit": (lambda wf: wf.step(step, 1), PayloadError),  # type: ignore[arg-type]  # likewise
    "a step among members that does not fit": (lambda wf: wf.gather(job.bind(1), step.bind(1)), PayloadError),  # type: ignore[arg-type]  # likewise
    "a step among members that is too large": (lambda wf: wf.gather(step.bind(LARGE)), PayloadTooLarge),
    "an item that does not fit": (lambda wf: wf.map(job, [1, "x"]), PayloadError),  # type: ignore[list-item]  # likewise
    "a map that may send nothing": (lambda wf: wf.map(job, [1], max_parallel=0), WorkflowMisuse),
    "a new generation that does not fit": (lambda wf: wf.continue_as_new(1, 2), PayloadError),
    "a change of version in the body": (lambda wf: dispatch.runs.migrate(wf.info.id, 2), WorkflowMisuse),
    "an event that is no JSON": (lambda wf: wf.publish("said", object()), PayloadError),
    "an undo whose defaults are too large": (lambda wf: wf.step(wordy, "x"), PayloadTooLarge),
    "a look back into the future": (lambda wf: wf.wait_for_event("said", lookback=-4), ConfigurationError),
    "a cancel of something else": (lambda wf: wf.cancel(3), WorkflowMisuse),  # type: ignore[arg-type]  # likewise
    "a sleep back in time": (lambda wf: wf.sleep(-1), ConfigurationError),
    "a predicate that raises": (heard, ZeroDivisionError),
}


@pytest.fixture
def kit(server_url: str) -> Iterator[Kit]:
    """Lend the app to a test, in a namespace of its own."""
    with Kit(dispatch, server_url) as made:
        yield made


@dispatch.workflow(name="catches")
def catches(wf: Workflow, verb: str) -> str:
    """Catch what a verb refuses with, and go on."""
    call, kind = VERBS[verb]
    try:
        call(wf)
    except kind as error:
        wf.step(step, "before")
        wf.sleep(60)
        return wf.step(step, type(error).__name__)
    return "not refused"


@pytest.mark.parametrize("verb", VERBS)
def test_who_catches_a_refusal_goes_on(verb: str, kit: Kit) -> None:
    """Nothing is sent, the error is the same when the run goes on after a rest, and no code counts as changed."""
    run = catches.start(verb)

    assert kit.result(run) == VERBS[verb][1].__name__
    assert kit.jobs_enqueued() == []
    assert [one.name for one in kit.runs_started()] == ["catches"]
    assert kit.executions == {"step": 2}


@dispatch.workflow(name="listens")
def listens(wf: Workflow) -> list[str]:
    """Wait with a predicate that raises, then without one."""
    told = []
    try:
        heard(wf)
    except ZeroDivisionError as error:
        told += [str(error), str(isinstance(error, StepFailed))]
    wf.sleep(60)
    return [*told, wf.wait_for_event("said", type=str)]


def test_a_predicate_that_raises_consumes_nothing(kit: Kit) -> None:
    """Its error is told to that wait, by its class and as a StepFailed; the next wait takes the event."""
    assert kit.result(listens.start()) == ["asked", "True", "hello"]


@dispatch.workflow(name="changed")
def changed(wf: Workflow) -> list[bool]:
    """Ask for changes under names of every kind."""
    told = [wf.patched(name) for name in ("plain", "billing/v2", "#12", "two words", "two words")]
    wf.step(step, "x")
    wf.sleep(60)
    return told


def test_a_change_may_have_any_name(kit: Kit) -> None:
    """A path, a ticket, a sentence: its run is found again in its journal after a rest."""
    with kit.always_replay():
        assert kit.result(changed.start()) == [True] * 5


def test_what_stands_for_a_backoff_is_checked_where_it_is_given() -> None:
    """In ``options``, as every other option, and not when the job is sent."""
    job.options(retry=Retry(3, Constant(1)))
    with pytest.raises(ConfigurationError, match="declare the policy on the job"):
        job.options(retry=Retry(3, Mine()))
