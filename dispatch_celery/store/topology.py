"""The pool of connections for a state URL: one server, a socket, a Sentinel's master, or a node of a cluster.

Promises
    - Making a pool sends nothing. Whatever cannot work is refused here and not at the first command.
    - Behind a Sentinel or on a cluster, each connection asks where the master is when it connects. So a failover or
      a moved slot costs the connections that were open, and nothing has to be told that it happened.
    - TLS and its options are those of redis-py's URLs (``ssl_ca_certs``, ``ssl_cert_reqs``, ...) in every form, for
      the Sentinels and every node of a cluster too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, cast
from urllib.parse import urlsplit

from redis.backoff import NoBackoff
from redis.connection import Connection, ConnectionPool, SSLConnection, UnixDomainSocketConnection, parse_url
from redis.crc import key_slot
from redis.exceptions import (
    AuthenticationError,
    ClusterDownError,
    RedisError,
)
from redis.exceptions import (
    ConnectionError as RedisConnectionError,
)
from redis.exceptions import (
    TimeoutError as RedisTimeoutError,
)
from redis.retry import Retry
from redis.sentinel import MasterNotFoundError, Sentinel, SentinelConnectionPool

from dispatch_celery.config import Settings, redact_url
from dispatch_celery.errors import ConfigurationError
from dispatch_celery.store.keys import Keys

__all__ = ["connection_pool"]

Address = tuple[str, int]

_PORTS: Final = {
    **dict.fromkeys(("redis", "rediss", "unix", "redis+cluster", "rediss+cluster"), 6379),
    **dict.fromkeys(("sentinel", "redis+sentinel", "rediss+sentinel"), 26379),
}


@dataclass(frozen=True, kw_only=True)
class _Place:
    """What a URL says: how to find the server, where, and the options of a connection to it."""

    scheme: str
    addresses: tuple[Address, ...]
    secure: bool
    options: dict[str, Any]

    @property
    def tls(self) -> dict[str, Any]:
        """The options that concern TLS."""
        return {name: value for name, value in self.options.items() if name.startswith("ssl_")}


def connection_pool(settings: Settings, url: str, options: dict[str, Any]) -> ConnectionPool:
    """Return the pool for a state URL, in one of the forms of docs/operations.md.

    ``options`` are Celery's transport options: ``master_name`` and ``sentinel_kwargs``; and ``ssl``, what
    ``broker_use_ssl`` says.

    Raises:
        ConfigurationError: the URL cannot work; names the part that is wrong.
    """
    common: dict[str, Any] = {
        "socket_timeout": settings.command_timeout / 1000,
        "socket_connect_timeout": settings.connect_timeout / 1000,
        "socket_keepalive": True,
    }
    fixed: dict[str, Any] = {"protocol": 2, "decode_responses": False, "retry": Retry(NoBackoff(), 0)}
    try:
        place = _place(url, options)
        words = {**common, **place.options, **fixed}
        if "sentinel" in place.scheme:
            return _checked(_sentinel_pool(place, options, words))
        if "cluster" in place.scheme:
            return _checked(_cluster_pool(place, settings, words))
        return _checked(_single_pool(place, words))
    except (ValueError, TypeError, RedisError) as error:
        raise ConfigurationError(f"dispatch_redis_url {redact_url(url)!r} cannot be used: {error}") from None


def _place(url: str, transport: dict[str, Any]) -> _Place:
    """Read a URL. Of a list, each part may say what the others leave out, and none may say otherwise."""
    scheme, separator, _ = url.partition("://")
    if not separator or scheme not in _PORTS:
        raise ValueError(f"its form must be one of {', '.join(f'{known}://' for known in sorted(_PORTS))}")
    secure = scheme.startswith("rediss") or bool(transport.get("ssl"))
    pieces = [url] if scheme == "unix" else url.split(";")
    addresses: list[Address] = []
    found: dict[str, Any] = {}
    for piece in pieces:
        said = _said(piece.partition("://")[2] or piece, scheme)
        addresses.append((said.pop("host", "localhost"), said.pop("port", _PORTS[scheme])))
        for name, value in said.items():
            if found.setdefault(name, value) != value:
                raise ValueError(f"its parts differ in {name}")
    given = transport.get("ssl")
    options = {**(given if isinstance(given, dict) else {}), **found}
    if isinstance(options.get("ssl_cert_reqs"), str):
        # Celery and kombu also take the names of the ssl module.
        options["ssl_cert_reqs"] = options["ssl_cert_reqs"].lower().removeprefix("cert_")
    # The pool counts connections that were made, and not those that ended: a listener's reconnects would use it up.
    options.pop("max_connections", None)
    return _Place(scheme=scheme, addresses=tuple(addresses), secure=secure, options=options)


def _said(rest: str, scheme: str) -> dict[str, Any]:
    """Return what one part of a URL says, in redis-py's names."""
    path = urlsplit(f"redis://{rest}").path.strip("/")
    if scheme != "unix" and path and not path.isdigit():
        # redis-py would take database 0 without a word.
        raise ValueError(f"{path!r} is no number of a database")
    said: dict[str, Any] = parse_url(f"{'unix' if scheme == 'unix' else 'redis'}://{rest}")
    said.pop("connection_class", None)
    return said


def _checked(pool: ConnectionPool) -> ConnectionPool:
    """Return a pool whose options make a connection; redis-py would complain of them at the first command."""
    pool.connection_class(**pool.connection_kwargs)
    return pool


def _single_pool(place: _Place, words: dict[str, Any]) -> ConnectionPool:
    if place.scheme == "unix":
        words.pop("socket_keepalive")
        return ConnectionPool(connection_class=UnixDomainSocketConnection, **words)
    if len(place.addresses) > 1:
        raise ValueError("a list of servers needs sentinel:// or redis+cluster://")
    ((host, port),) = place.addresses
    kind = SSLConnection if place.secure else Connection
    return ConnectionPool(connection_class=kind, host=host, port=port, **words)


def _sentinel_pool(place: _Place, options: dict[str, Any], words: dict[str, Any]) -> ConnectionPool:
    """Follow kombu's form: ``sentinel://host:port/db;sentinel://host:port/db`` and ``master_name``."""
    name = words.pop("master_name", None) or options.get("master_name")
    if not name:
        raise ConfigurationError(
            "a sentinel:// state URL needs the master's name: add ?master_name=NAME,"
            " or set broker_transport_options = {'master_name': NAME}"
        )
    own = {word: words.pop(f"sentinel_{word}") for word in ("username", "password") if f"sentinel_{word}" in words}
    asked = {key: words[key] for key in ("socket_timeout", "socket_connect_timeout", "socket_keepalive")}
    asking = {**asked, "protocol": 2, "retry": words["retry"], **place.tls, **own}
    sentinel: Any = _Sentinels(  # type: ignore[no-untyped-call]  # redis-py leaves it without types
        place.addresses,
        sentinel_kwargs={**asking, "ssl": place.secure, **options.get("sentinel_kwargs", {})},
    )
    return SentinelConnectionPool(name, sentinel, ssl=place.secure, **words)


class _Sentinels(Sentinel):
    """redis-py's, but for its words when no Sentinel names a master: it tells how each object looks, and not why."""

    def discover_master(self, service_name: str) -> Address:
        """Return where the master is; a Sentinel that answered is asked first the next time."""
        problems: list[str] = []
        refused: AuthenticationError | None = None
        for sentinel in tuple(self.sentinels):
            place = "{host}:{port}".format_map(sentinel.connection_pool.connection_kwargs)
            try:
                masters: Any = sentinel.sentinel_masters()
            except (RedisConnectionError, RedisTimeoutError) as error:
                refused = error if isinstance(error, AuthenticationError) else refused
                problems.append(f"{place} {error}")
                continue
            state = masters.get(service_name)
            if state and self.check_master_state(state, service_name):  # type: ignore[no-untyped-call]  # likewise
                self.sentinels = [sentinel, *(other for other in self.sentinels if other is not sentinel)]
                return state["ip"], state["port"]
            problems.append(f"{place} {'takes it for dead' if state else 'does not know it'}")
        said = f"no Sentinel names a master {service_name!r}: {'; '.join(problems)}"
        raise MasterNotFoundError(said) if refused is None else AuthenticationError(said)


def _cluster_pool(place: _Place, settings: Settings, words: dict[str, Any]) -> ConnectionPool:
    """Return a pool of connections to the node that holds the namespace: its keys have one hash tag, so one has all."""
    kind = SSLConnection if place.secure else Connection
    finder = _SlotFinder(key_slot(Keys(settings.namespace).tag.encode()), place.addresses, kind, words)
    return ConnectionPool(
        connection_class=_SecureNodeConnection if place.secure else _NodeConnection, finder=finder, **words
    )


class _SlotFinder:
    """Asks a cluster which node holds a slot: first the nodes that answered last time, then those of the URL."""

    def __init__(self, slot: int, seeds: Sequence[Address], kind: type[Connection], words: dict[str, Any]) -> None:
        self._slot = slot
        self._seeds = tuple(seeds)
        self._known: tuple[Address, ...] = ()
        self._kind = kind
        self._words = words

    def master(self) -> Address:
        """Return where the slot's master is now."""
        problems: list[str] = []
        for host, port in dict.fromkeys((*self._known, *self._seeds)):
            try:
                slots = self._slots(host, port)
            except AuthenticationError:
                raise
            except (RedisConnectionError, RedisTimeoutError) as error:
                problems.append(f"{host}:{port} {error}")
                continue
            # A node names itself with an empty host if it does not know its own, and others it does not know with "?".
            masters = {
                (first, last): (_text(node[0]) or host, int(node[1]))
                for first, last, node, *_ in slots
                if node[0] != b"?"
            }
            self._known = tuple(dict.fromkeys(((host, port), *masters.values())))
            for (first, last), master in masters.items():
                if first <= self._slot <= last:
                    return master
            raise ClusterDownError(f"no node of the cluster serves slot {self._slot}")
        raise RedisConnectionError(f"no node of the cluster answers: {'; '.join(problems)}")

    def _slots(self, host: str, port: int) -> list[Any]:
        connection: Any = self._kind(host=host, port=port, **self._words)
        try:
            connection.connect()
            connection.send_command("CLUSTER", "SLOTS")
            return cast("list[Any]", connection.read_response())
        finally:
            connection.disconnect()


class _AsksFirst:
    """Finds its node each time it connects, as redis-py's connections behind a Sentinel do."""

    def __init__(self, *, finder: _SlotFinder, **words: Any) -> None:
        self._finder = finder
        super().__init__(**words)

    def connect(self) -> None:
        """Connect to the node that holds the slot now."""
        connection = cast("Any", super())
        if self.__dict__.get("_sock") is None:
            self.host, self.port = self._finder.master()
        connection.connect()


class _NodeConnection(_AsksFirst, Connection):
    """A connection to a node of a cluster."""


class _SecureNodeConnection(_AsksFirst, SSLConnection):
    """The same with TLS."""


def _text(word: Any) -> str:
    return word.decode() if isinstance(word, bytes) else str(word or "")
