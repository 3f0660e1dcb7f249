"""The transport classes: what a ``redis://``, ``rediss://`` or ``sentinel://`` URL is resolved to."""

from __future__ import annotations

from typing import Any

from kombu.transport import redis as stock

from dispatch_celery.transport.channel import Channel
from dispatch_celery.transport.poller import Poller

__all__ = ["SentinelTransport", "Transport"]


class Transport(stock.Transport):  # type: ignore[misc]  # kombu is untyped
    """kombu's Redis transport with claims in place of BRPOP. Its driver type is still ``redis``."""

    Channel = Channel

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.cycle = Poller()
        self.loop: Any = None

    def register_with_event_loop(self, connection: Any, loop: Any) -> None:
        """Be driven by Celery's event loop."""
        self.loop = loop
        super().register_with_event_loop(connection, loop)
        # Every entry is cancelled by Celery when the connection breaks, and registered anew with the next.
        loop.call_repeatedly(1.0, self.cycle.keep)

    def _collect(self, _connection: Any) -> None:
        """Drop a lost connection at once: called by kombu where it must not talk to the broker any more.

        kombu's own way is to close the channels, which puts their messages back while they are running.
        """
        for channel in [*self._avail_channels, *self.channels]:
            channel.abandon()
        self._avail_channels.clear()
        self.channels.clear()
        self.cycle.close()


class SentinelChannel(Channel, stock.SentinelChannel):  # type: ignore[misc]  # kombu is untyped
    """Our channel by way of Redis Sentinel."""


class SentinelTransport(Transport, stock.SentinelTransport):  # type: ignore[misc]  # kombu is untyped
    """The same by way of Redis Sentinel."""

    Channel = SentinelChannel
