"""A namespace with its typed stores; after each test its invariants must hold, and it is deleted.

Every test runs twice: on one server, and on a cluster of three masters, which refuses what one node lets pass: a key of
another slot. Each namespace has a slot of its own, so all three masters take part.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from dispatch_celery.config import Settings
from dispatch_celery.store.client import RedisStore
from dispatch_celery.store.embedded import EmbeddedServer
from dispatch_celery.store.replies import text
from dispatch_celery.store.scripts import Call
from tests.lua.run_world import RunWorld, run_world
from tests.lua.world import World
from tests.support.cluster import cluster_of_three


@pytest.fixture(scope="session")
def cluster_url() -> Iterator[str]:
    """Return the URL of the suite's cluster; it is started when the first test asks for it."""
    with cluster_of_three() as url:
        yield url


class _Stores(RedisStore):
    """The port to the node of one namespace, and beside it of any other that a test writes to."""

    def __init__(self, url: str, namespace: str) -> None:
        super().__init__(Settings(namespace=namespace), url)
        self._url, self._namespace = url, namespace
        self._others: dict[str, RedisStore] = {}

    def execute(self, calls: Sequence[Call]) -> list[Any]:
        """Send calls to the node that holds their keys."""
        tags = (re.match(r"{([\w.-]+):0}", text(word)) for call in calls for word in call.words)
        namespace = next((tag[1] for tag in tags if tag), self._namespace)
        if namespace == self._namespace:
            return super().execute(calls)
        if namespace not in self._others:
            self._others[namespace] = RedisStore(Settings(namespace=namespace), self._url)
        return self._others[namespace].execute(calls)

    def close(self) -> None:
        """Close every connection."""
        super().close()
        for other in self._others.values():
            other.close()


@pytest.fixture(params=["server_url", pytest.param("cluster_url", marks=pytest.mark.slow)], ids=["one", "cluster"])
def store(request: pytest.FixtureRequest, namespace: str) -> Iterator[RedisStore]:
    """Return the port to the state of a test."""
    port = _Stores(request.getfixturevalue(request.param), namespace)
    yield port
    port.close()


@pytest.fixture(scope="session")
def small_server() -> Iterator[EmbeddedServer]:
    """Return a server whose memory a test may fill; it is given back with room."""
    with EmbeddedServer(append_only=False) as running:
        yield running


@pytest.fixture
def full(small_server: EmbeddedServer, namespace: str) -> Iterator[RunWorld]:
    """Return a world whose server's memory can be full: ``full.fill()``."""
    port = RedisStore(Settings(), small_server.url)
    room = World(port, namespace)
    try:
        yield from run_world(port, namespace)
    finally:
        room.make_room()
        port.close()


@pytest.fixture
def world(store: RedisStore, namespace: str) -> Iterator[World]:
    """Return a world in a namespace of its own."""
    world = World(store, namespace)
    yield world
    problems = world.problems()
    # On a cluster this is the node that holds the namespace, and so all of it.
    keys = world.ask("KEYS", f"{world.keys.tag}*")
    if keys:
        world.ask("DEL", *keys)
    assert problems == []
