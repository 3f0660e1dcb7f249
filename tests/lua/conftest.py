"""A namespace with its typed stores; after each test its invariants must hold, and it is deleted."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dispatch_celery.store.client import RedisStore
from tests.lua.world import World


@pytest.fixture
def world(store: RedisStore, namespace: str) -> Iterator[World]:
    """Return a world in a namespace of its own."""
    world = World(store, namespace)
    yield world
    problems = world.problems()
    keys = world.ask("KEYS", f"{world.keys.tag}*")
    if keys:
        world.ask("DEL", *keys)
    assert problems == []
