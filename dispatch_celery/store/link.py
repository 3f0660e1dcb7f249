"""One connection to the state server, with nothing between its socket and the parser.

redis-py makes the connection: addresses, TLS, authentication, the choice of a database. What then goes over it is
bytes out and replies in, and its own layers for that take as long as the server does (measured: a claim of 100
microseconds became 60).
"""

from __future__ import annotations

from typing import Any, Final

import hiredis

__all__ = ["Link"]

_CHUNK: Final = 1 << 16


class Link:
    """Used by one thread at a time. After any error it is closed, and opens itself when it is used again."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._socket: Any = None
        self._reader: Any = None

    @property
    def is_open(self) -> bool:
        """Whether it has a connection that worked when it was last used."""
        return self._socket is not None

    def exchange(self, packed: bytes, count: int) -> list[Any]:
        """Send commands and return their replies in order, error replies as redis-py's exceptions.

        Raises:
            OSError, RedisError: no connection, or it broke; any of the commands may have been carried out.
        """
        try:
            if self._socket is None:
                self._open()
            self._socket.sendall(packed)
            replies: list[Any] = []
            next_reply = self._reader.gets
            while len(replies) < count:
                reply = next_reply()
                if reply is not False:
                    replies.append(reply)
                    continue
                self._reader.feed(self._received())
        except BaseException:
            # Anything that unwinds in between (a soft time limit, a greenlet's kill) leaves replies unread.
            self.close()
            raise
        return replies

    def _received(self) -> bytes:
        data: bytes = self._socket.recv(_CHUNK)
        if not data:
            raise ConnectionResetError("the server closed the connection")
        return data

    def _open(self) -> None:
        self._connection.connect()
        self._socket = self._connection._sock  # noqa: SLF001 - redis-py has no other way to it
        self._reader = hiredis.Reader(replyError=self._connection._parser.parse_error)  # noqa: SLF001 - as above

    def close(self) -> None:
        """Drop the connection. After a fork the other process's side stays untouched."""
        self._socket = self._reader = None
        self._connection.disconnect()
