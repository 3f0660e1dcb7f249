"""Putting our transport in the place of kombu's, in this process.

The aliases are replaced, rather than a new URL scheme made, because schemes are public: Flower, redbeat and Celery
itself decide by them. Messages and keys are the same, so processes with and without it work on the same queues.
"""

from __future__ import annotations

from typing import Final

import kombu.transport

from dispatch_celery.transport.deadletters import UndecodableSink, set_sink

__all__ = ["install", "installed", "uninstall"]

_STOCK: Final = {
    "redis": "kombu.transport.redis:Transport",
    "rediss": "kombu.transport.redis:Transport",
    "sentinel": "kombu.transport.redis:SentinelTransport",
}
_OURS: Final = {
    "redis": "dispatch_celery.transport.transports:Transport",
    "rediss": "dispatch_celery.transport.transports:Transport",
    "sentinel": "dispatch_celery.transport.transports:SentinelTransport",
}


def install(*, sink: UndecodableSink | None = None) -> None:
    """Use our transport for Redis URLs from now on. Idempotent; the last sink given is the one used.

    Connections that are already open keep their transport. ``sink`` keeps messages that cannot be decoded; without
    one they are written to the log and dropped.
    """
    _replace(_OURS)
    set_sink(sink)


def uninstall() -> None:
    """Use kombu's transport for Redis URLs again. Idempotent."""
    _replace(_STOCK)
    set_sink(None)


def installed() -> bool:
    """Return whether Redis URLs are ours in this process."""
    return bool(kombu.transport.TRANSPORT_ALIASES["redis"] == _OURS["redis"])


def _replace(aliases: dict[str, str]) -> None:
    kombu.transport.TRANSPORT_ALIASES.update(aliases)
    kombu.transport._transport_cache.clear()  # noqa: SLF001 - its classes were resolved from the aliases before
