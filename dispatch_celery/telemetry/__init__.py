"""OpenTelemetry and Prometheus: traces that follow work, and measures of it. The extra ``otel`` installs what it needs.

Traces: work is stored with where in which trace it was made, so every attempt, slice, step, child and replay of it, on
whatever machine and however much later, belongs to that trace; a slice of a run that goes on after a rest is linked to
the slice before. Measures: counted where the transition is recorded, and, for what only the state knows (depth, age,
leader), read from it. Both only touch memory; what exports them is OpenTelemetry's, in threads of its own, so a backend
that is down stops nobody. Nothing outside of this room imports OpenTelemetry or Prometheus.
"""

from typing import TYPE_CHECKING, Any

from dispatch_celery.telemetry import names

if TYPE_CHECKING:
    from dispatch_celery.telemetry.instrumenting import install

__all__ = ["install", "names"]


def __getattr__(name: str) -> Any:
    """Import what needs the extra ``otel`` when it is asked for: what Prometheus scrapes does without it."""
    if name != "install":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from dispatch_celery.telemetry.instrumenting import install  # noqa: PLC0415 - see above

    return install
