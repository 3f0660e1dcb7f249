"""Announcements of the server on a connection of one's own, for a loop that waits on several things at once."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from redis.exceptions import RedisError

from dispatch_celery.errors import StoreUnavailable
from dispatch_celery.store.client import RedisStore

__all__ = ["Channel"]


class Channel:
    """Some subscriptions. Not safe for threads."""

    def __init__(self, store: RedisStore) -> None:
        self._store = store
        self._connection: Any = None

    @property
    def descriptor(self) -> Any:
        """What becomes readable when there is something to read; None while there is no connection."""
        return None if self._connection is None else self._connection._sock  # noqa: SLF001 - redis-py has no other way to it

    def listen(self, channels: Sequence[str]) -> None:
        """Subscribe to exactly these channels, on a new connection.

        Raises:
            StoreUnavailable: the server does not answer.
        """
        self.close()
        try:
            connection: Any = self._store.connection()
            connection.connect()
            connection.send_command("SUBSCRIBE", *channels)
        except (RedisError, OSError) as error:
            raise StoreUnavailable(f"cannot listen: {error}") from error
        self._connection = connection

    def read(self) -> list[tuple[str, str]]:
        """Return the announcements that have arrived, as channel and words.

        Raises:
            StoreUnavailable: the connection is lost; ``listen`` again.
        """
        if self._connection is None:
            raise StoreUnavailable("not listening")
        found: list[tuple[str, str]] = []
        try:
            while self._connection.can_read(timeout=0):
                kind, channel, *words = self._connection.read_response(timeout=1)
                if kind == b"message":
                    found.append((channel.decode(), words[0].decode()))
        except (RedisError, OSError) as error:
            self.close()
            raise StoreUnavailable(f"the listening connection was lost: {error}") from error
        return found

    def close(self) -> None:
        """End the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(RedisError, OSError):
                connection.disconnect()
