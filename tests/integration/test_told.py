"""What is told of events, of dead letters that are reopened, of jobs that wait for a permit: once, by who did it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery

from dispatch_celery import Constant, Dispatch, Extension, Fail, JobState, Retry, Unique
from dispatch_celery.ids import EventId
from dispatch_celery.jobs.model import JobRef
from dispatch_celery.signals import event_published, job_limited, job_reopened
from dispatch_celery.testing import Kit

app = Celery("told", broker="redis://127.0.0.1:1/0", set_as_current=False)
dispatch = Dispatch(app)
heard: list[tuple[Any, ...]] = []
WHOSE = ("", *["job:told.refuse"] * 3)
"""Who enqueues does not know which limit it is."""


@dispatch.job(name="told.refuse", retry=Retry(1, Constant(1)))
def refuse(until: int) -> int:
    """Refuse, until it was asked so often."""
    heard.append(("ran",))
    if heard.count(("ran",)) < until:
        raise Fail("not yet")
    return until


@dispatch.job(name="told.again", unique=Unique(on_conflict="replace"))
def again() -> None:
    """Let one more run after this one, as soon as somebody resumes."""
    dispatch.queues.pause(job="told.again")
    again.enqueue()


class Listening(Extension):
    """Writes down what it is told of these."""

    def on_event_published(self, event: EventId, name: str, key: str) -> None:
        """Note it."""
        heard.append(("event", event, name, key))

    async def on_job_reopened(self, job: JobRef) -> None:
        """Note it, on the event loop of the process."""
        heard.append(("reopened", job.id))

    def on_job_limited(self, job: JobRef, limit: str) -> None:
        """Note it."""
        heard.append(("limited", job.id, limit))

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


def test_a_job_that_begins_to_wait_for_a_permit_is_told(kit: Kit, caplog: pytest.LogCaptureFixture) -> None:
    """By whoever finds that it has to: enqueue, claim, leader, or the one who wants it to run now; and in the log."""
    caplog.set_level("INFO", "dispatch_celery.lifecycle")
    sent: list[Any] = []

    def receive(sender: Any, job: JobRef, limit: str, **_: Any) -> None:
        sent.append(("limited", job.id, limit))

    early, due, asked = (refuse.options(delay=delay).enqueue(0) for delay in (0, 60, 3_600))
    dispatch.queues.pause(job="told.refuse")
    heard.clear()
    job_limited.connect(receive)
    try:
        late = refuse.enqueue(0)
        kit.drain()
        kit.advance(60)
        assert dispatch.jobs.run_now(asked.id) == JobState.LIMITED
    finally:
        job_limited.disconnect(receive)

    waits = [("limited", handle.id, limit) for handle, limit in zip((late, early, due, asked), WHOSE, strict=True)]
    assert sent == waits
    assert heard == [("enqueued", late.id), *waits]
    logged = [record.__dict__["dispatch"] for record in caplog.records if record.name == "dispatch_celery.lifecycle"]
    told = [(fields["job_id"], fields["limit"]) for fields in logged if fields["event"] == "dispatch.job.limited"]
    assert told == [(job_id, limit) for _, job_id, limit in waits]
    assert {handle.state() for handle in (early, due, asked, late)} == {JobState.LIMITED}


def test_one_that_waits_behind_another_of_its_kind_is_told(kit: Kit) -> None:
    """It is enqueued beside one that runs, and has to wait for a permit."""
    first = again.enqueue()
    kit.drain()

    (second,) = [job.id for job in dispatch.jobs.list(state=JobState.LIMITED)]
    assert heard == [("enqueued", first.id), ("enqueued", second), ("limited", second, "")]
