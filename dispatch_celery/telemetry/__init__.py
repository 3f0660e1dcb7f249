"""OpenTelemetry and Prometheus: traces that follow work, and measures of it. The extra ``otel`` installs what it needs.

Traces: work is stored with where in which trace it was made, so every attempt, slice, step, child and replay of it, on
whatever machine and however much later, belongs to that trace; a slice of a run that goes on after a rest is linked to
the slice before. Measures: counted where the transition is recorded, and, for what only the state knows (depth, age,
leader), read from it. Both only touch memory; what exports them is OpenTelemetry's, in threads of its own, so a backend
that is down stops nobody. Nothing outside of this room imports OpenTelemetry or Prometheus.
"""

from importlib import import_module
from typing import Any

from dispatch_celery.telemetry import names
from dispatch_celery.telemetry.observed import Observed

__all__ = ["install", "names"]


def install(
    dispatch: Observed, *, tracer_provider: Any = None, meter_provider: Any = None, max_labels: int = 100
) -> None:
    """Trace and measure an app through OpenTelemetry's providers: those given, or those of the process.

    ``max_labels`` bounds how many names that this app does not declare, how many queues and how many kinds of errors
    a measure tells apart; the rest is ``other``. Where a process has several apps, install the first: spans and times
    are those of the process, transitions and gauges those of the app.

    Raises:
        ImportError: the extra ``otel`` is not installed.
        ConfigurationError: it is installed for this app already.
    """
    # What needs the extra is imported when it is asked for: what Prometheus scrapes does without it.
    instrumenting = import_module("dispatch_celery.telemetry.instrumenting")
    instrumenting.install(
        dispatch, tracer_provider=tracer_provider, meter_provider=meter_provider, max_labels=max_labels
    )
