"""Fixtures of the acceptance tests: a fleet of real workers on the suite's own server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.workers import Fleet, fleet


@pytest.fixture
def shop(namespace: str, server_url: str, tmp_path: Path) -> Iterator[Fleet]:
    """Return a fleet in a namespace of its own, without workers yet."""
    with fleet(namespace, server_url, tmp_path) as made:
        yield made


@pytest.fixture(scope="session")
def dispatch_server_url(server_url: str) -> str:
    """Have the testing kit share the suite's server."""
    return server_url
