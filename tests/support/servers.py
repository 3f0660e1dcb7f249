"""Servers outside of fixtures, for programs and suites that end them by hand: one alone, or a cluster of three.

``tests.support.cluster`` builds the cluster; here it only gets a handle that lives as long as its holder wants.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from dispatch_celery.store.embedded import EmbeddedServer
from tests.support.cluster import cluster_of_three


def start_test_server(**options: Any) -> EmbeddedServer:
    """Start a server without an append-only file unless ``options`` ask for one; the caller stops it."""
    return EmbeddedServer(**{"append_only": False, **options}).start()


class ClusterOfMasters:
    """Three masters that run until ``stop``; ``url`` is the first one's, with the scheme of a cluster."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self.url = self._stack.enter_context(cluster_of_three())

    def stop(self) -> None:
        """Stop all three. Idempotent."""
        self._stack.close()


def start_cluster() -> ClusterOfMasters:
    """Start a cluster and return when every master finds it whole."""
    return ClusterOfMasters()
