"""One connection that claims messages and is told when there is something to claim.

Promises
    - It waits for any number of lists without consuming from them, at no command per second. The server does the
      waiting: under ``CLIENT TRACKING`` (Redis 6 and later) it remembers which keys this connection has read and
      pushes one word when somebody changes one, whoever that is; producers need not know.
    - `read` never blocks when the socket is readable, however little of a reply has come.
    - A broken connection shows as an ``OSError``, which is one of kombu's connection errors.

Why not a blocking command: BRPOP and BLMPOP consume before anyone has recorded the message, and it is lost with the
worker. BLMOVE from a list to itself peeks, and measures the same (150 microseconds from push to record, BRPOP with
its record 200), but at one list a connection, four for each queue by priority; and it, too, wakes all who wait.

The connection itself (address, TLS, credentials, Sentinel) is redis-py's; replies are parsed here, by hiredis,
because redis-py hides pushes in handlers and may block for the rest of a reply.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any, Final

import hiredis

from dispatch_celery.transport.scripts import Word, load

__all__ = ["Line", "Push", "Refusal"]

_CHUNK: Final = 1 << 16

Push = hiredis.PushNotification
Refusal = hiredis.ReplyError

logger = logging.getLogger("dispatch_celery.transport")


class Line:
    """A dedicated RESP3 connection. Used by one thread at a time."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.tracking = False
        self._reader = hiredis.Reader()

    def open(self) -> None:
        """Connect, ask to be told of changes, and teach the server the claim script.

        Raises:
            OSError: no connection, or an answer that means "not now" (a server still loading its data).
        """
        self._reader = hiredis.Reader()
        self.connection.connect()
        tracking = self.call("CLIENT", "TRACKING", "ON", "NOLOOP")
        self.tracking = not isinstance(tracking, Refusal)
        if not self.tracking:
            logger.warning("the server refuses CLIENT TRACKING (%s): new messages are looked for by polling", tracking)
        loaded = self.call("SCRIPT", "LOAD", load("claim").text)
        if isinstance(loaded, Refusal):
            raise ConnectionError(f"the broker refuses scripts: {loaded}")

    @property
    def is_open(self) -> bool:
        """Whether there is a socket."""
        return self.connection._sock is not None  # noqa: SLF001 - kombu's own way to ask

    @property
    def socket(self) -> Any:
        """The socket, to be polled."""
        return self.connection._sock  # noqa: SLF001 - as in kombu

    def fileno(self) -> int:
        """Return the socket's descriptor."""
        descriptor: int = self.socket.fileno()
        return descriptor

    def send(self, *words: Word) -> None:
        """Send one command; its reply comes by `read`."""
        self.socket.sendall(hiredis.pack_command(words))

    def read(self) -> Iterator[Any]:
        """Return what has come: replies, `Refusal` errors and `Push` words, in order. Call it when readable.

        Raises:
            OSError: the connection is broken.
        """
        self._receive()
        return self._parsed()

    def call(self, *words: Word) -> Any:
        """Send a command and return its reply; only while no other reply is due."""
        self.send(*words)
        return self.answer()

    def answer(self) -> Any:
        """Wait for the reply that is due, as long as the connection's socket timeout; pushes are passed over."""
        while True:
            for reply in self._parsed():
                if not isinstance(reply, Push):
                    return reply
            self._receive()

    def close(self) -> None:
        """Drop the connection. After a fork the other process's side stays untouched."""
        self.connection.disconnect()

    def _parsed(self) -> Iterator[Any]:
        while (reply := self._reader.gets()) is not False:
            yield reply

    def _receive(self) -> None:
        """Feed the parser with what the socket holds; block only if it holds nothing."""
        if self.socket is None:
            raise ConnectionResetError("the connection to the broker is closed")
        while True:
            data = self.socket.recv(_CHUNK)
            if not data:
                raise ConnectionResetError("the broker closed the connection")
            self._reader.feed(data)
            if not self._pending_bytes():
                return

    def _pending_bytes(self) -> int:
        """Return what TLS has already decrypted: poll cannot see it."""
        pending = getattr(self.socket, "pending", None)
        return pending() if pending else 0
