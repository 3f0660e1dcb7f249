"""A desk for each test: a kombu connection of ours in a key space of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.transport.rig import Desk, desk


@pytest.fixture
def ours(server_url: str, namespace: str) -> Iterator[Desk]:
    """Return a desk on our transport."""
    with desk(server_url, f"{namespace}:") as opened:
        yield opened
