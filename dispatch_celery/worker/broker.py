"""Which broker an app has, where its state lives, and how wake-ups get from one to the other."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from celery import Celery

from dispatch_celery.config import Settings, redact_url
from dispatch_celery.errors import ConfigurationError
from dispatch_celery.store.client import Store
from dispatch_celery.transport.deadletters import UndecodableSink
from dispatch_celery.transport.install import install
from dispatch_celery.worker.publisher import BrokerPublisher, RidingPublisher

__all__ = ["Wiring", "install_transport", "wire"]

_REDIS: Final = frozenset({"redis", "rediss", "sentinel"})
_OTHERS: Final = frozenset({"amqp", "amqps", "pyamqp"})


@dataclass(frozen=True)
class Wiring:
    """The state's URL, and whether the broker is that very server."""

    state_url: str
    broker: str
    same_server: bool
    options: dict[str, Any]

    def publisher(self, app: Celery, store: Callable[[], Store]) -> BrokerPublisher:
        """Return the publisher this wiring calls for."""
        if self.same_server:
            return RidingPublisher(app, store)
        return BrokerPublisher(app, redis=self.broker in _REDIS)


def wire(app: Celery, settings: Settings) -> Wiring:
    """Return how an app is wired.

    Raises:
        ConfigurationError: the broker is not supported, or nothing says where the state lives.
    """
    broker_url = str(app.conf.broker_write_url or app.conf.broker_url or "amqp://")
    scheme = broker_url.partition("://")[0]
    options = dict(app.conf.broker_transport_options or {})
    if scheme == "memory":
        if "pytest" not in sys.modules:
            raise ConfigurationError(
                "broker memory:// lives in one process and loses everything with it: use redis:// or amqp://"
                " (it is accepted under pytest only)"
            )
    elif scheme not in _REDIS | _OTHERS:
        raise ConfigurationError(
            f"broker {scheme}:// is not supported: dispatch_celery publishes to Redis or Valkey (redis://, rediss://,"
            " sentinel://) and RabbitMQ (amqp://)"
        )
    if scheme == "sentinel" and "master_name=" in broker_url:
        raise ConfigurationError(
            "kombu takes no master_name in a broker URL:"
            " set broker_transport_options = {'master_name': NAME}, which the state then uses too"
        )
    if settings.redis_url is not None:
        same = scheme in _REDIS and _place(settings.redis_url) == _place(broker_url)
        return Wiring(settings.redis_url, scheme, same, options)
    if scheme not in _REDIS:
        raise ConfigurationError(
            f"the broker is {redact_url(broker_url)}, so nothing says where the state lives:"
            " set app.conf.dispatch_redis_url (or DISPATCH_REDIS_URL) to a Redis or Valkey server"
        )
    if ";" in broker_url and scheme != "sentinel":
        raise ConfigurationError(
            "the broker is a list of Redis servers; jobs live in one: set app.conf.dispatch_redis_url to it"
        )
    secure = app.conf.broker_use_ssl
    return Wiring(broker_url, scheme, same_server=True, options={**options, **({"ssl": secure} if secure else {})})


def _place(url: str) -> tuple[str, str, int, str, str]:
    parts = urlsplit(url)
    return (
        parts.scheme,
        parts.hostname or "localhost",
        parts.port or 6379,
        parts.path.strip("/") or "0",
        f"{parts.username}:{parts.password}",
    )


def install_transport(app: Celery, wanted: Callable[[], bool], bury: UndecodableSink) -> None:
    """Put our Redis transport in place as soon as the app is configured, unless a setting says no.

    Before the app's first connection, that is; and not when this object is made, because nothing is read then.
    """

    def decide(**_: Any) -> None:
        try:
            use = wanted()
        except ConfigurationError:
            return  # told to the user at first use, where it can be read
        if use:
            install(sink=bury)

    if app.configured:
        decide()
    else:
        app.on_after_configure.connect(decide, weak=False, dispatch_uid=f"dispatch-transport-{id(app)}")
