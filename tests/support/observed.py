"""Telemetry in a worker of the shop (``-I tests.support.observed``): spans and errors are written to a notebook.

``SHOP_OBSERVED`` names the notebook; ``SHOP_OBSERVERS`` who observes: ``ours``, ``celerys``, ``sentry`` or ``otlp``,
which sends spans and measures to the server that OpenTelemetry's own variables name. ``SHOP_OBSERVED_APP`` is the
module of the app, if it is not the shop.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from pathlib import Path

from opentelemetry import metrics, trace
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExporter, SpanExportResult

from dispatch_celery import Dispatch
from dispatch_celery.telemetry import install
from tests.support.listening import Notebook

MODULE = "tests.support.observed"


class Written(SpanExporter):
    """Writes spans down."""

    def __init__(self, notebook: Notebook) -> None:
        self._notebook = notebook

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Write them down."""
        for span in spans:
            mine = span.get_span_context()
            self._notebook.note(
                "span",
                span.name,
                str(dict(span.attributes or {}).get("messaging.message.id", "")),
                trace=format(mine.trace_id, "032x"),
                span=format(mine.span_id, "016x"),
                parent=format(span.parent.span_id, "016x") if span.parent else "",
                links=[format(link.context.span_id, "016x") for link in span.links],
                scope=span.instrumentation_scope.name if span.instrumentation_scope else "",
                status=span.status.status_code.name,
                outcome=dict(span.attributes or {}).get("dispatch.outcome", ""),
            )
        return SpanExportResult.SUCCESS


def observe(dispatch: Dispatch, notebook: Notebook, observers: str) -> None:
    """Install telemetry, and what the test wants beside it."""
    provider = TracerProvider()
    if "otlp" in observers:
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(), schedule_delay_millis=50))
        reader = PeriodicExportingMetricReader(OTLPMetricExporter(), export_interval_millis=50)
        metrics.set_meter_provider(MeterProvider([reader]))
    else:
        provider.add_span_processor(SimpleSpanProcessor(Written(notebook)))
    trace.set_tracer_provider(provider)
    if "celerys" in observers:
        from opentelemetry.instrumentation.celery import CeleryInstrumentor

        CeleryInstrumentor().instrument()
    if "sentry" in observers:
        _observe_with_sentry(notebook)
    install(dispatch)


def _observe_with_sentry(notebook: Notebook) -> None:
    import sentry_sdk
    from sentry_sdk.envelope import Envelope
    from sentry_sdk.integrations.celery import CeleryIntegration
    from sentry_sdk.transport import Transport

    class Kept(Transport):
        """Writes envelopes down instead of sending them."""

        def capture_envelope(self, envelope: Envelope) -> None:
            """Write one down."""
            for item in envelope.items:
                payload = item.payload.json or {}
                about = payload.get("transaction", "")
                notebook.note("sentry", str(item.type), str(about))

    sentry_sdk.init(
        dsn="http://key@127.0.0.1:1/1",
        transport=Kept,
        traces_sample_rate=1.0,
        integrations=[CeleryIntegration()],
        default_integrations=False,
        auto_enabling_integrations=False,
    )


if os.environ.get("SHOP_OBSERVED"):
    observed = importlib.import_module(os.environ.get("SHOP_OBSERVED_APP", "tests.support.shop"))
    observe(observed.dispatch, Notebook(Path(os.environ["SHOP_OBSERVED"])), os.environ["SHOP_OBSERVERS"])
