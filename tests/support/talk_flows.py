"""Workflows whose ends race with what is told to them: events, timeouts and cancels; on the app of the flows."""

from __future__ import annotations

from dispatch_celery import Retry
from dispatch_celery.errors import StateConflict
from dispatch_celery.workflows.context import Workflow
from tests.support.flows import app, dispatch, effect, hold  # noqa: F401 - the worker looks for ``app`` here

ONCE = Retry(1)
word = dispatch.event("talk.word", str)


@dispatch.step(retry=ONCE)
def nothing(n: int) -> int:
    """Take no time."""
    return n


@dispatch.workflow(name="talk.hears")
def hears(wf: Workflow, key: str, steps: int) -> str:
    """Do some steps, then wait for a word."""
    for n in range(steps):
        wf.step(nothing, n)
    return wf.wait_for_event(word, key=key)


@dispatch.workflow(name="talk.patient")
def patient(wf: Workflow, key: str, timeout: float) -> list[str]:
    """Wait for a word for a while; then for what came too late, for as long as a test may take."""
    first = wf.wait_for_event(word, key=key, timeout=timeout)
    if first is not None:
        return ["in time", first]
    return ["too late", wf.wait_for_event(word, key=key)]


@dispatch.workflow(name="talk.collects")
def collects(wf: Workflow, count: int) -> list[int]:
    """Wait to be told to begin, then take so many numbers one by one."""
    wf.wait_for_event("begin", type=bool)
    return [wf.wait_for_event("number", type=int) for _ in range(count)]


@dispatch.workflow(name="talk.brief")
def brief(wf: Workflow) -> str:
    """Do very little."""
    wf.step(nothing, 1)
    return "done"


@dispatch.job(name="talk.storm", retry=ONCE)
def storm(run_id: str, count: int) -> int:
    """Send numbers to one run; return how many were accepted before the first one was refused."""
    for n in range(count):
        try:
            dispatch.runs.publish(run_id, "number", n)
        except StateConflict:
            return n
    return count
