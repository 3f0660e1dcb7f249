"""Fixtures of the fault tests: a fleet on a server of its own, which the test may kill, stop, fill and empty."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dispatch_celery.store.embedded import EmbeddedServer
from tests.support.workers import Fleet, fleet


@pytest.fixture
def doomed(namespace: str, killable_server: EmbeddedServer, tmp_path: Path) -> Iterator[Fleet]:
    """Return a fleet in a namespace of its own, on a server of this test alone."""
    with fleet(namespace, killable_server.url, tmp_path) as made:
        yield made
