"""What Flower's ``/metrics`` shows of Dispatch: whoever is named here is called with the app's ``Dispatch``.

Flower serves the registry of its process, so what registers there is shown. It is told when Flower has Celery load the
app's modules, before the first request.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, Final

from celery.signals import import_modules

from dispatch_celery.app import Dispatch
from dispatch_celery.flower.desk import dispatch_of
from dispatch_celery.telemetry.prometheus import install as install_prometheus

__all__ = ["INSTALLERS", "show_metrics"]

logger = logging.getLogger(__name__)

INSTALLERS: Final[Sequence[Callable[[Dispatch], object]]] = (install_prometheus,)


def show_metrics() -> None:
    """Have every installer called for the app that Flower watches."""
    import_modules.connect(_install, weak=False, dispatch_uid="dispatch-flower-metrics")


def _install(sender: Any, **_: Any) -> None:
    dispatch = dispatch_of(sender)
    if dispatch is None:
        return
    for installer in INSTALLERS:
        try:
            installer(dispatch)
        except Exception:
            logger.exception("Flower's /metrics is shown without what %s adds", installer)
