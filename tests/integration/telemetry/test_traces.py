"""One trace from the enqueue to the last job, through retries, steps, rests, children and replays."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from celery import Celery
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.semconv._incubating.attributes import messaging_attributes
from opentelemetry.trace import SpanKind, StatusCode

from dispatch_celery import Constant, Dispatch, JobState, Retry, Snooze, Workflow
from dispatch_celery.errors import ConfigurationError
from dispatch_celery.telemetry import install, names
from dispatch_celery.testing import Kit
from dispatch_celery.work.spans import follow

app = Celery("traced", broker="redis://127.0.0.1:1/0", set_as_current=False)
dispatch = Dispatch(app)
exporter = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
outside = provider.get_tracer("the caller")
seen: list[str] = []


@dispatch.job(name="mail.send", queue="mail", retry=Retry(3, Constant(60)))
def send(to: str, failures: int = 0) -> str:
    """Fail some times."""
    seen.append(format(trace.get_current_span().get_span_context().span_id, "016x"))
    if len(seen) <= failures:
        raise ConnectionError("no answer")
    return to


@dispatch.job(name="mail.later", queue="mail")
def later(to: str) -> str:
    """Rest once."""
    seen.append(to)
    if len(seen) == 1:
        raise Snooze(30, "not yet")
    return to


def unpay(result: str | None, order: str) -> None:
    """Give the money back."""


@dispatch.step(undo=unpay, retry=Retry(2, Constant(0.01)))
def pay(order: str) -> str:
    """Take the money."""
    return order


@dispatch.workflow(name="checkout")
def checkout(wf: Workflow, order: str, last: str = "") -> str:
    """Pay, rest, have a mail sent, have a child do so."""
    wf.step(pay, order)
    wf.sleep(3600)
    wf.run_job(send, order)
    if last == "child":
        wf.run_child(checkout, "child")
    if last == "fail":
        raise ValueError("out of stock")
    return order


install(dispatch, tracer_provider=provider)
follow(None)  # other tests of this process are followed by nobody


@pytest.fixture(autouse=True)
def _listening() -> Iterator[None]:
    from dispatch_celery.telemetry.instrumenting import _following

    follow(_following(dispatch))
    seen.clear()
    exporter.clear()
    yield
    follow(None)


@pytest.fixture
def kit(server_url: str) -> Iterator[Kit]:
    """Return a kit that executes in this process."""
    with Kit(dispatch, server_url) as made:
        yield made


def spans(name: str = "") -> list[ReadableSpan]:
    """Return what was recorded, in order of its end."""
    return [span for span in exporter.get_finished_spans() if name in ("", span.name)]


def only(name: str) -> ReadableSpan:
    (span,) = spans(name)
    return span


def parent_of(span: ReadableSpan) -> int:
    assert span.parent is not None
    return span.parent.span_id


def id_of(span: ReadableSpan) -> int:
    return span.get_span_context().span_id


def test_an_enqueue_and_its_execution_are_one_trace(kit: Kit) -> None:
    """The caller's span, the enqueue below it, the execution below that, and the handler inside of the execution."""
    with outside.start_as_current_span("request") as request:
        handle = send.enqueue("you")
    assert kit.result(handle) == "you"

    enqueued, executed = only("enqueue mail.send"), only("run mail.send")
    assert parent_of(enqueued) == request.get_span_context().span_id
    assert parent_of(executed) == id_of(enqueued)
    assert {span.get_span_context().trace_id for span in spans()} == {request.get_span_context().trace_id}
    assert seen == [format(id_of(executed), "016x")]
    assert (enqueued.kind, executed.kind) == (SpanKind.PRODUCER, SpanKind.CONSUMER)


def test_attributes_are_those_of_the_conventions(kit: Kit) -> None:
    """Messaging attributes by their standard names, and ours beside them."""
    handle = send.enqueue("you")
    kit.result(handle)

    attributes = dict(only("run mail.send").attributes or {})
    assert attributes[messaging_attributes.MESSAGING_SYSTEM] == "dispatch_celery"
    assert attributes[messaging_attributes.MESSAGING_DESTINATION_NAME] == "mail"
    assert attributes[messaging_attributes.MESSAGING_MESSAGE_ID] == handle.id
    assert attributes[messaging_attributes.MESSAGING_OPERATION_NAME] == "run"
    assert attributes[messaging_attributes.MESSAGING_OPERATION_TYPE] == "process"
    standard = {value for name, value in vars(messaging_attributes).items() if name.startswith("MESSAGING_")}
    assert {name for name in attributes if name.startswith("messaging.")} <= standard


def test_every_attempt_is_in_the_trace_of_its_enqueue(kit: Kit) -> None:
    """Retries, however much later: each a span with its number, the failed ones with their error."""
    handle = send.enqueue("you", failures=2)
    while handle.state() != JobState.COMPLETED:
        kit.jump()
        kit.drain()

    first, second, third = spans("run mail.send")
    assert {parent_of(span) for span in (first, second, third)} == {id_of(only("enqueue mail.send"))}
    assert [dict(span.attributes or {})[names.ATTEMPT] for span in (first, second, third)] == [1, 2, 3]
    assert [span.status.status_code for span in (first, second, third)] == [StatusCode.ERROR] * 2 + [StatusCode.OK]
    assert dict(first.attributes or {})[names.ERROR_TYPE] == "builtins.ConnectionError"
    assert [event.name for event in first.events] == ["exception"]


def test_a_snooze_is_no_error(kit: Kit) -> None:
    """It is planned, and uses up no attempt."""
    handle = later.enqueue("you")
    kit.drain()
    kit.jump()
    assert kit.result(handle) == "you"

    rested, done = spans("run mail.later")
    assert (rested.status.status_code, rested.events) == (StatusCode.UNSET, ())
    assert dict(rested.attributes or {})[names.OUTCOME] == "snoozed"
    assert names.ERROR_TYPE not in dict(rested.attributes or {})
    assert done.status.status_code == StatusCode.OK


def test_a_run_is_one_trace_and_its_slices_are_linked(kit: Kit) -> None:
    """Steps and jobs belong to the slice that made them; each slice is linked to the one before its rest."""
    with outside.start_as_current_span("request"):
        handle = checkout.start("o-1", last="child")
    kit.drain()
    for _ in range(8):
        kit.jump()
        kit.drain()
    assert kit.result(handle) == "o-1"

    started = spans("start checkout")[0]
    mine = [span for span in spans("run checkout") if dict(span.attributes or {})[names.MESSAGE_ID] == handle.id]
    assert len(mine) >= 4
    assert {parent_of(span) for span in mine} == {id_of(started)}
    for earlier, later in pairwise(mine):
        assert [link.context.span_id for link in later.links] == [id_of(earlier)]
    assert not mine[0].links
    assert parent_of(spans("step pay")[0]) == id_of(mine[0])
    assert parent_of(spans("enqueue mail.send")[0]) == id_of(mine[1])
    child = spans("start checkout")[1]
    assert dict(child.attributes or {})[names.PARENT] == handle.id
    assert len({span.get_span_context().trace_id for span in spans()}) == 1


def test_an_undo_is_a_span_too(kit: Kit) -> None:
    """What a failed run takes back is seen below the slice that undoes it."""
    handle = checkout.start("o-2", last="fail")
    kit.drain()
    for _ in range(4):
        kit.jump()
        kit.drain()

    assert handle.state() == "failed"
    assert dict(only("undo unpay").attributes or {})[names.OUTCOME] == "completed"
    assert spans("run checkout")[-1].status.status_code == StatusCode.ERROR


def test_a_replay_belongs_to_the_trace_of_its_dead_letter(kit: Kit) -> None:
    """Who replays by hand finds both where the first was made."""
    handle = send.options(retry=Retry(1)).enqueue("you", failures=1)
    kit.drain()
    replayed = dispatch.dlq.replay(handle.id)
    kit.drain()

    assert replayed.state() == JobState.COMPLETED
    assert {parent_of(span) for span in spans("run mail.send")} == {id_of(only("enqueue mail.send"))}


def test_it_is_installed_once() -> None:
    """A second installation would count everything twice."""
    with pytest.raises(ConfigurationError, match="installed for this app already"):
        install(dispatch)


def test_without_a_follower_nothing_is_stored(kit: Kit) -> None:
    """No carrier with jobs or runs, and no span."""
    follow(None)
    handle = send.enqueue("you")
    kit.result(handle)

    stored: Any = dispatch._parts.records.stored([handle.id])[0]
    assert "trace" not in stored.spec
    assert not spans()


LATE = """
import sys

from celery import Celery
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from dispatch_celery import Dispatch
from dispatch_celery.telemetry import install
from dispatch_celery.testing import Kit

dispatch = Dispatch(Celery("late", broker="redis://127.0.0.1:1/0"))
seen = []


@dispatch.job(name="mail.send")
def send(to: str, headers: str = "") -> str:
    seen.append(trace.get_current_span().get_span_context())
    return to


install(dispatch)
exporter = InMemorySpanExporter()
with Kit(dispatch, sys.argv[1]) as kit:
    kit.result(send.enqueue("nobody"))
    carrier = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    celery = dispatch.app.tasks["mail.send"]
    celery.apply_async(("who passes on",), headers=carrier)
    kit.drain()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    kit.result(send.enqueue("somebody"))
print(" ".join(span.name for span in exporter.get_finished_spans()))
print(*(f"{context.trace_id:x}" for context in seen[:2]))
"""


def test_without_a_provider_traces_pass_through_and_one_that_comes_later_is_heard(server_url: str) -> None:
    """Spans are made for nobody until somebody keeps them; what a caller was part of is for the handler even then."""
    ran = subprocess.run(
        [sys.executable, "-c", LATE, server_url], capture_output=True, text=True, check=True, timeout=60
    )

    spans_line, traces = ran.stdout.splitlines()
    assert spans_line == "enqueue mail.send run mail.send"
    assert traces == "0 af7651916cd43dd8448eb211c80319c"
