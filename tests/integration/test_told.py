"""What is told outside of workers: events, and dead letters that are reopened; each once, by who did it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery

from dispatch_celery import Constant, Dispatch, Extension, Fail, JobState, Retry
from dispatch_celery.ids import EventId
from dispatch_celery.jobs.model import JobRef
from dispatch_celery.signals import event_published, job_reopened
from dispatch_celery.testing import Kit

app = Celery("told", broker="redis://127.0.0.1:1/0", set_as_current=False)
dispatch = Dispatch(app)
heard: list[tuple[Any, ...]] = []


@dispatch.job(name="told.refuse", retry=Retry(1, Constant(1)))
def refuse(until: int) -> int:
    """Refuse, until it was asked so often."""
    heard.append(("ran",))
    if heard.count(("ran",)) < until:
        raise Fail("not yet")
    return until


class Listening(Extension):
    """Writes down what it is told of these."""

    def on_event_published(self, event: EventId, name: str, key: str) -> None:
        """Note it."""
        heard.append(("event", event, name, key))

    async def on_job_reopened(self, job: JobRef) -> None:
        """Note it, on the event loop of the process."""
        heard.append(("reopened", job.id))

    def on_job_enqueued(self, job: JobRef) -> None:
        """Note it."""
        heard.append(("enqueued", job.id))


dispatch.add_extension(Listening())


@pytest.fixture
def kit(server_url: str) -> Iterator[Kit]:
    """Return a kit that executes in this process."""
    heard.clear()
    with Kit(dispatch, server_url) as made:
        yield made


def test_a_publication_of_an_event_is_told_once(kit: Kit) -> None:
    """With its id, its name and its key, to signal and hook."""
    sent: list[Any] = []

    def receive(sender: Any, event: EventId, name: str, key: str, **_: Any) -> None:
        sent.append(("event", event, name, key))

    event_published.connect(receive)
    try:
        event = dispatch.events.publish("order.approved", {"by": "Ada"}, key="o-1")
    finally:
        event_published.disconnect(receive)

    assert heard == sent == [("event", event, "order.approved", "o-1")]


def test_a_dead_letter_that_is_retried_is_told_once(kit: Kit) -> None:
    """It keeps its id: it is reopened, not enqueued; an ``async def`` hears of it where no worker runs, too."""
    sent: list[Any] = []

    def receive(sender: Any, job: JobRef, **_: Any) -> None:
        sent.append((sender, job.id))

    handle = refuse.enqueue(2)
    kit.drain()
    assert handle.state() == JobState.FAILED
    job_reopened.connect(receive)
    try:
        dispatch.jobs.retry(handle.id)
    finally:
        job_reopened.disconnect(receive)
    assert kit.result(handle) == 2

    assert heard == [("enqueued", handle.id), ("ran",), ("reopened", handle.id), ("ran",)]
    assert sent == [("told.refuse", handle.id)]
