"""``install(dispatch)``: one call, where the app is made, in every process that enqueues or works."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any, Final
from weakref import WeakKeyDictionary

from opentelemetry import metrics, trace
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import TracerProvider

from dispatch_celery.errors import ConfigurationError
from dispatch_celery.telemetry.gauges import Gauges
from dispatch_celery.telemetry.metrics import Metrics
from dispatch_celery.telemetry.names import Labels
from dispatch_celery.telemetry.observed import Observed
from dispatch_celery.telemetry.picture import take_picture
from dispatch_celery.telemetry.tracing import Tracing
from dispatch_celery.work.model import WorkRef
from dispatch_celery.work.spans import Ended, follow

__all__ = ["install"]

_SCOPE: Final = "dispatch_celery"
_INSTRUMENTATION: Final = "opentelemetry.instrumentation.celery"


class _Following:
    """Traces and measures each execution: the follower of this process."""

    def __init__(self, tracing: Tracing, measures: Metrics) -> None:
        self._tracing = tracing
        self._measures = measures
        self.made = tracing.made
        self.here = tracing.here
        self.carried = tracing.carried

    @contextmanager
    def around(
        self, ref: WorkRef, spec: Mapping[str, Any], *, attempt: int, waited: int, earlier: str
    ) -> Iterator[Ended]:
        """Follow one execution."""
        began = time.perf_counter()
        if not ref.kind:
            self._measures.waited(ref, waited / 1000)
        with self._tracing.around(ref, spec, attempt=attempt, earlier=earlier) as told:

            def ended(outcome: str, error: BaseException | None) -> None:
                told(outcome, error)
                self._measures.executed(ref, outcome, error, time.perf_counter() - began)

            yield ended


def install(
    dispatch: Observed,
    *,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
    max_labels: int = 100,
) -> None:
    """Do as ``telemetry.install``."""
    if dispatch in _installed:
        raise ConfigurationError("telemetry is installed for this app already: install it once, where the app is made")
    release = version("dispatch-celery")
    tracing = Tracing(
        trace.get_tracer(_SCOPE, release, tracer_provider),
        is_instrumented=_is_instrumented,
        is_idle=_without_provider if tracer_provider is None else lambda: False,
    )
    meter = metrics.get_meter(_SCOPE, release, meter_provider)
    labels = Labels(lambda name: name in dispatch.app.tasks, cap=max_labels)
    queues = Labels(lambda queue: queue in _declared_queues(dispatch.app), cap=max_labels)
    measures = Metrics(meter, labels=labels, queues=queues, max_labels=max_labels)
    _installed[dispatch] = following = _Following(tracing, measures)
    follow(following)
    dispatch.add_middleware(tracing)
    dispatch.add_middleware(measures)
    dispatch.add_extension(measures)
    dispatch.add_extension(
        Gauges(meter, look=lambda: take_picture(dispatch), queues=queues, limits=Labels(cap=max_labels))
    )


_installed: Final[WeakKeyDictionary[Any, _Following]] = WeakKeyDictionary()


def _following(dispatch: Observed) -> _Following:
    """Return what follows the work of an app."""
    return _installed[dispatch]


def _declared_queues(app: Any) -> set[str]:
    """Return the queues that jobs and workflows are declared for, and those of the app itself."""
    definitions = (getattr(task, "definition", None) for task in app.tasks.values())
    return {str(definition.queue) for definition in definitions if definition is not None} | set(app.amqp.queues)


def _without_provider() -> bool:
    """Whether nobody has said yet who keeps the spans of this process; it may still be said."""
    return isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


def _is_instrumented() -> bool:
    """Whether Celery's own instrumentation is at work in this process: asked without importing it."""
    module = sys.modules.get(_INSTRUMENTATION)
    return module is not None and bool(module.CeleryInstrumentor().is_instrumented_by_opentelemetry)
