"""A TCP proxy between a client and a server, which can be told to misbehave.

Modes: ``pass``; ``hole`` (accepts, forwards nothing); ``refuse`` (closes at once); ``cut`` (forwards requests, and
closes when an answer comes: applied, but never answered). A change of mode holds for open connections too.
"""

from __future__ import annotations

import selectors
import socket
import threading
from contextlib import suppress
from typing import Self


class Proxy:
    """One listening port in front of one target."""

    def __init__(self, target: tuple[str, int], *, latency: float = 0.0) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._pairs: dict[socket.socket, socket.socket] = {}
        self._answers: set[socket.socket] = set()
        self._selector = selectors.DefaultSelector()
        self._mode = "pass"
        self._stop = threading.Event()
        self._latency = latency
        self._cuts = 0
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)

    @property
    def port(self) -> int:
        """Where it listens."""
        port: int = self._listener.getsockname()[1]
        return port

    @property
    def cuts(self) -> int:
        """How many answers it has swallowed."""
        return self._cuts

    def __enter__(self) -> Self:
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(5)
        for one in [self._listener, *self._pairs]:
            one.close()
        self._selector.close()

    def set_mode(self, mode: str) -> None:
        """Misbehave from now on, or behave again."""
        self._mode = mode

    def reset_all(self) -> None:
        """Close every open connection."""
        for one in list(self._pairs):
            self._close(one)

    def _run(self) -> None:
        while not self._stop.is_set():
            for key, _ in self._selector.select(0.05):
                one = key.fileobj
                if one is self._listener:
                    self._accept()
                elif isinstance(one, socket.socket) and one in self._pairs:
                    self._forward(one)

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        if self._mode == "refuse":
            client.close()
            return
        try:
            server = socket.create_connection(self._target, timeout=5)
        except OSError:
            client.close()
            return
        self._answers.add(server)
        for one, other in ((client, server), (server, client)):
            self._pairs[one] = other
            self._selector.register(one, selectors.EVENT_READ)

    def _forward(self, one: socket.socket) -> None:
        if self._mode == "hole":
            self._stop.wait(0.01)
            return
        try:
            data = one.recv(65536)
            if not data:
                self._close(one)
                return
            if self._mode == "cut" and one in self._answers:
                self._cuts += 1
                self._close(one)
                return
            if self._latency:
                self._stop.wait(self._latency)
            self._pairs[one].sendall(data)
        except (OSError, KeyError):
            self._close(one)

    def _close(self, one: socket.socket) -> None:
        other = self._pairs.pop(one, None)
        for end in (one, other):
            if end is None:
                continue
            self._pairs.pop(end, None)
            self._answers.discard(end)
            with suppress(KeyError, ValueError):
                self._selector.unregister(end)
            end.close()
