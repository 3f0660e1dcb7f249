"""A server that does as it is told, and whose answer is lost on the way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dispatch_celery.errors import StoreUnavailable
from dispatch_celery.store.client import Store
from dispatch_celery.store.scripts import Call
from dispatch_celery.workflows.store import RunStore
from tests.lua.world import World

__all__ = ["LosesReplies", "deaf"]


class LosesReplies:
    """A port that loses the reply of a trip when it is told to."""

    def __init__(self, port: Store, *, loses: bool = False) -> None:
        self.port = port
        self.loses = loses

    def execute(self, calls: Sequence[Call]) -> list[Any]:
        """Send, and perhaps forget the answer."""
        replies = self.port.execute(calls)
        if self.loses:
            self.loses = False
            raise StoreUnavailable("the reply was lost")
        return replies


def deaf(world: World) -> RunStore:
    """Return a store of runs whose next call is carried out, and whose reply is lost."""
    return RunStore(LosesReplies(world.port, loses=True), world.keys, world.settings, world.time)
