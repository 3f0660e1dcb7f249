"""A backend of OpenTelemetry: takes spans and measures by OTLP over HTTP, and tells which process sent which."""

from __future__ import annotations

import gzip
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

__all__ = ["Collector", "collector"]


class Collector:
    """What was taken in, by ``service.instance.id``: the names of spans, and those of measures."""

    def __init__(self) -> None:
        self.spans: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.measures: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.url = ""

    def take(self, path: str, data: bytes) -> None:
        """Take in one export."""
        if path.endswith("/traces"):
            for spans in ExportTraceServiceRequest.FromString(data).resource_spans:
                self.spans[_instance(spans.resource)].update(
                    span.name for scope in spans.scope_spans for span in scope.spans
                )
        else:
            for measures in ExportMetricsServiceRequest.FromString(data).resource_metrics:
                self.measures[_instance(measures.resource)].update(
                    measure.name for scope in measures.scope_metrics for measure in scope.metrics
                )

    def senders_of(self, measure: str) -> set[str]:
        """Return who has sent a measure."""
        return {sender for sender, found in list(self.measures.items()) if found[measure]}


def _instance(resource: Any) -> str:
    return next((str(one.value.string_value) for one in resource.attributes if one.key == "service.instance.id"), "")


@contextmanager
def collector() -> Iterator[Collector]:
    """Yield a backend that listens."""
    made = Collector()

    class Taking(BaseHTTPRequestHandler):
        """Answers whatever is sent."""

        def do_POST(self) -> None:
            """Take one export in."""
            data = self.rfile.read(int(self.headers["Content-Length"]))
            made.take(self.path, gzip.decompress(data) if self.headers.get("Content-Encoding") == "gzip" else data)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Taking) as server:
        made.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield made
        finally:
            server.shutdown()
            thread.join()
