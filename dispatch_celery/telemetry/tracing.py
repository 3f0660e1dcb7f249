"""Spans: one where work is made, one for each execution of it, one for each attempt of a step; and what joins them.

An execution is a child of where its work was made, in whichever process that was, so a trace is whole from the enqueue
over retries and children to the last job. A slice of a run is linked to the slice before its rest. Where
``opentelemetry-instrumentation-celery`` is at work, its spans of publications and tasks are those spans: ours are not
made beside them, and what we know is added to them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.propagate import extract, inject
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode, Tracer

from dispatch_celery.jobs.context import JobContext
from dispatch_celery.middleware.base import ExecutionContext
from dispatch_celery.telemetry import names
from dispatch_celery.work.model import WorkRef
from dispatch_celery.work.spans import TRACE, Ended
from dispatch_celery.workflows.steps import StepContext

__all__ = ["Tracing"]

_CELERYS: Final = "opentelemetry.instrumentation.celery"
_PARENT: Final = "traceparent"
_GOOD: Final = frozenset({"completed", "snoozed", "waiting", "pending", "released", "cancelled"})


class Tracing:
    """Follows the work of this process. Is the ``Follower`` of the floors below, and a middleware around steps."""

    def __init__(self, tracer: Tracer, *, is_instrumented: Callable[[], bool], is_idle: Callable[[], bool]) -> None:
        self._tracer = tracer
        self._is_instrumented = is_instrumented
        self._is_idle = is_idle
        """Whether nobody keeps spans, as without an SDK."""

    # -- where work is made

    def made(self, ref: WorkRef, spec: Mapping[str, Any]) -> Mapping[str, str]:
        """Make the span of an enqueue or start, and return what leads back to it."""
        carrier: dict[str, str] = {}
        headers = spec.get("headers") or {}
        context = extract(headers) if _PARENT in headers else None  # a plain Celery call, made elsewhere
        if self._is_instrumented():
            inject(carrier, context)
            return carrier
        operation = "start" if ref.kind else "enqueue"
        attributes = {**_about(ref, spec), names.OPERATION_NAME: operation, names.OPERATION_TYPE: "create"}
        span = self._tracer.start_span(
            f"{operation} {ref.name}", context, kind=SpanKind.PRODUCER, attributes=attributes
        )
        inject(carrier, trace.set_span_in_context(span, context))
        span.end()
        return carrier

    def here(self) -> str:
        """Return the current span as ``traceparent``; empty where it is not recorded."""
        at = trace.get_current_span().get_span_context()
        return f"00-{at.trace_id:032x}-{at.span_id:016x}-01" if at.trace_flags.sampled else ""

    def carried(self, spec: Mapping[str, Any]) -> None:
        """Go on where some work was made, in a context that the caller throws away."""
        if not trace.get_current_span().get_span_context().is_valid:
            contexts.attach(extract(spec[TRACE]))

    # -- where it is executed

    @contextmanager
    def around(self, ref: WorkRef, spec: Mapping[str, Any], *, attempt: int, earlier: str) -> Iterator[Ended]:
        """Follow one attempt of a job, or one slice of a run."""
        if TRACE not in spec and self._is_idle():
            yield _unheard
            return
        current = trace.get_current_span()
        attributes = {**_about(ref, spec), names.OPERATION_NAME: "run", names.OPERATION_TYPE: "process"}
        if not ref.kind:
            attributes[names.ATTEMPT] = attempt
        links = _links(earlier)
        if _is_celerys(current):
            current.set_attributes(attributes)
            for link in links:
                current.add_link(link.context)
            yield lambda outcome, _error: current.set_attribute(names.OUTCOME, outcome)
            return
        made = extract(spec.get(TRACE) or {})
        span = self._tracer.start_span(
            f"run {ref.name}", made, kind=SpanKind.CONSUMER, attributes=attributes, links=links
        )
        mark = contexts.attach(made)  # what else travels there, such as baggage, is for the handler too
        try:
            with trace.use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
                yield lambda outcome, error: _close(span, outcome, error)
        finally:
            contexts.detach(mark)

    def __call__(self, context: ExecutionContext, call_next: Callable[[], Any]) -> Any:
        """Wrap an attempt of a step or of an undo; jobs have their span already."""
        if isinstance(context, JobContext):
            return call_next()
        with self._tracer.start_as_current_span(
            f"{'undo' if context.is_undo else 'step'} {context.name}",
            attributes=_about_step(context),
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                value = call_next()
            except Exception as error:
                _close(span, "failed", error)
                raise
            _close(span, "completed", None)
            return value


def _unheard(_outcome: str, _error: BaseException | None) -> None:
    """Hear of the end of what has no span."""


def _about(ref: WorkRef, spec: Mapping[str, Any]) -> dict[str, Any]:
    attributes: dict[str, Any] = {
        names.MESSAGING_SYSTEM: names.SYSTEM,
        names.DESTINATION: ref.queue,
        names.MESSAGE_ID: str(ref.id),
        names.NAME: ref.name,
    }
    if ref.scope:
        attributes[names.SCOPE] = ref.scope
    if parent := spec.get("parent"):
        attributes[names.CONVERSATION] = attributes[names.PARENT] = str(parent["id"])
    if ref.version:
        attributes[names.VERSION] = ref.version
    return attributes


def _about_step(context: StepContext) -> dict[str, Any]:
    return {
        names.NAME: context.name,
        names.STEP: context.id,
        names.ATTEMPT: context.attempt,
        names.CONVERSATION: context.run_id,
    }


def _close(span: Span, outcome: str, error: BaseException | None) -> None:
    """Say how it came out. Only a failure is an error: a planned retry, too, but no cancel and no rest."""
    span.set_attribute(names.OUTCOME, outcome)
    if error is not None and outcome not in _GOOD:
        span.set_attribute(names.ERROR_TYPE, f"{type(error).__module__}.{type(error).__qualname__}")
        if isinstance(error, Exception):
            span.record_exception(error)
    if outcome not in _GOOD:
        span.set_status(Status(StatusCode.ERROR, "" if error is None else type(error).__name__))
    elif outcome == "completed":
        span.set_status(Status(StatusCode.OK))


def _links(traceparent: str) -> list[Link]:
    if not traceparent:
        return []
    found = trace.get_current_span(extract({_PARENT: traceparent})).get_span_context()
    return [Link(found)] if found.is_valid else []


def _is_celerys(span: Span) -> bool:
    """Whether the current span is the one that the instrumentation of Celery has made for this very task."""
    scope = getattr(span, "instrumentation_scope", None)
    return (
        span.is_recording()
        and getattr(span, "kind", None) == SpanKind.CONSUMER
        and (getattr(scope, "name", "") == _CELERYS)
    )
