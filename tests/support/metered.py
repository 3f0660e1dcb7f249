"""The shop's app with its state at Prometheus: what a Flower is pointed at that serves ``/metrics``."""

from __future__ import annotations

from dispatch_celery.telemetry import prometheus
from tests.support.shop import app, dispatch

__all__ = ["app"]

prometheus.install(dispatch)
