"""Fixtures that several suites use: a server of the suite's own, and a namespace for each test."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from dispatch_celery.config import Settings
from dispatch_celery.store.client import RedisStore
from dispatch_celery.store.embedded import EmbeddedServer


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave the pools beside prefork to the long matrix, but for tests of what a pool can do."""
    for item in items:
        pool = getattr(item, "callspec", None) and item.callspec.params.get("pool")  # type: ignore[attr-defined]
        if pool and pool != "prefork" and pool[0] != "-c" and item.get_closest_marker("every_pool") is None:
            item.add_marker(pytest.mark.faults)


@pytest.fixture(scope="session")
def server() -> Iterator[EmbeddedServer]:
    """Return the suite's server; tests share it and keep apart by namespace."""
    with EmbeddedServer(append_only=False) as running:
        yield running


@pytest.fixture(scope="session")
def server_url(server: EmbeddedServer) -> str:
    """Return the URL of the suite's server."""
    return server.url


@pytest.fixture
def killable_server() -> Iterator[EmbeddedServer]:
    """Return a durable server of this test alone, to be killed and restarted."""
    with EmbeddedServer() as running:
        yield running


@pytest.fixture
def namespace() -> str:
    """Return a namespace no other test has."""
    return f"t{secrets.token_hex(4)}"


@pytest.fixture
def store(server_url: str) -> Iterator[RedisStore]:
    """Return the port to the suite's server."""
    port = RedisStore(Settings(), server_url)
    yield port
    port.close()
