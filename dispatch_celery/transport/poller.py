"""kombu's poller of many channels, with our intake where BRPOP was.

Promises: pub/sub and the event loop's registration work as in kombu. Without an event loop, ``drain_events`` delivers
one message a call, wakes at once when there is one, and looks after upkeep each second while it waits.
"""

from __future__ import annotations

from contextlib import suppress
from queue import Empty
from time import monotonic
from typing import Any, Final

from kombu.transport import redis as stock

from dispatch_celery.transport.wire import Line

__all__ = ["CLAIM", "Poller"]

CLAIM: Final = "CLAIM"
_UPKEEP: Final = 1.0


class Poller(stock.MultiChannelPoller):  # type: ignore[misc]  # kombu is untyped
    """Polls claim lines and pub/sub connections of all channels of a transport."""

    def __init__(self) -> None:
        super().__init__()
        self._kept_at = monotonic()

    def watch(self, channel: Any, line: Line) -> None:
        """Poll a newly opened line."""
        sock = line.socket
        self._fd_to_chan[sock.fileno()] = (channel, CLAIM)
        self._chan_to_sock[(channel, line, CLAIM)] = sock
        self.poller.register(sock, self.eventflags)

    def unwatch(self, channel: Any, line: Line) -> None:
        """Stop polling a line. While its socket is open, if that is possible: the loop knows it by number."""
        sock = self._chan_to_sock.pop((channel, line, CLAIM), None)
        if sock is None:
            return
        for fd in [fd for fd, known in self._fd_to_chan.items() if known == (channel, CLAIM)]:
            del self._fd_to_chan[fd]
            with suppress(KeyError, ValueError, OSError):  # gone already
                self._unregister_from_poll(fd)

    def discard(self, channel: Any) -> None:
        """Forget a channel."""
        super().discard(channel)
        if channel.intake.claims.line is not None:
            self.unwatch(channel, channel.intake.claims.line)

    def on_poll_start(self) -> None:
        """Let every channel send what it has to send."""
        for channel in list(self._channels):
            if channel.serving:
                channel.intake.step()
            if channel.active_fanout_queues:
                self._register_LISTEN(channel)

    def on_readable(self, fileno: int) -> bool:
        """Read from one connection.

        Raises:
            Empty: there was no message in it.
        """
        channel, kind = self._fd_to_chan.get(fileno, (None, ""))
        if channel is None:
            raise Empty
        if kind == CLAIM:
            delivered: bool = channel.intake.on_readable()
        else:
            delivered = channel.qos.can_consume() and bool(channel.handlers[kind]())
        if not delivered:
            raise Empty
        return True

    def keep(self) -> None:
        """Look after every channel: once a second."""
        self._kept_at = monotonic()
        for channel in list(self._channels):
            channel.keep()

    def maybe_check_brpop_health(self) -> None:
        """Nothing: there is no BRPOP, and claims look after themselves."""

    def get(self, callback: Any, timeout: float | None = None) -> None:  # noqa: ARG002 - kombu's signature
        """Deliver one message or pub/sub event.

        Raises:
            Empty: there was none; the caller decides whether its time is up.
        """
        self._in_protected_read = True
        try:
            if monotonic() - self._kept_at >= _UPKEEP:
                self.keep()
                self.maybe_refresh_binding_expiry()
            if any(channel.intake.deliver(at_most=1) for channel in list(self._channels)):
                return
            self.on_poll_start()
            events = self.poller.poll(self._patience(_UPKEEP if timeout is None else min(timeout, _UPKEEP)))
            if not events:
                self.maybe_restore_messages()
            if not any([self._handled(fileno, event) for fileno, event in events or ()]):  # noqa: C419 - read from all
                raise Empty
        finally:
            self._in_protected_read = False
            while self.after_read:
                self.after_read.pop()()

    def _patience(self, longest: float) -> float:
        now = monotonic()
        waits: list[float] = [channel.intake.claims.waits(now) for channel in self._channels]
        return min([longest, *filter(None, waits)])

    def _handled(self, fileno: int, event: int) -> bool:
        if not event & (stock.READ | stock.ERR):
            return False
        try:
            return self.on_readable(fileno)
        except Empty:
            return False
