"""One round trip to the state server: packs calls, sends them on one connection, reads the replies in order.

Why not ``redis.Redis``: its client layer costs more than the round trip (60 of 100 microseconds, measured)
and repeats commands by itself. Connections, pools, TLS, authentication, Sentinel and the cluster's map are
redis-py's; only the exchange on a connection is ours.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast
from urllib.parse import parse_qsl, unquote, urlsplit

import hiredis
import redis
from redis.backoff import NoBackoff
from redis.connection import ConnectionInterface, ConnectionPool
from redis.exceptions import (
    AskError,
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    MovedError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import (
    ConnectionError as RedisConnectionError,
)
from redis.exceptions import (
    TimeoutError as RedisTimeoutError,
)
from redis.retry import Retry

from dispatch_celery.config import Settings, redact_url
from dispatch_celery.errors import (
    ConfigurationError,
    DispatchError,
    LeadershipLost,
    ScriptRefused,
    StoreUnavailable,
)
from dispatch_celery.store.scripts import Call, Word

__all__ = ["RedisStore", "Store", "connection_pool", "unavailable_pause"]

_NOT_NOW = (
    "OOM",
    "MISCONF",
    "READONLY",
    "LOADING",
    "BUSY",
    "MASTERDOWN",
    "CLUSTERDOWN",
    "TRYAGAIN",
    "NOREPLICAS",
    "UNKILLABLE",
)
_NOT_NOW_KINDS = (BusyLoadingError, OutOfMemoryError, ReadOnlyError, ClusterDownError, TryAgainError)


class Store(Protocol):
    """The port: everything the product asks of the state server goes through this one method."""

    def execute(self, calls: Sequence[Call]) -> list[Any]:
        """Send calls in one round trip; return one reply or ``DispatchError`` each, in order.

        Raises:
            StoreUnavailable: no answer; each call may have been applied or not.
        """
        ...


class RedisStore:
    """The port over a connection pool. Safe for threads, greenlets and forks."""

    def __init__(self, settings: Settings, url: str, *, options: dict[str, Any] | None = None) -> None:
        self._make_pool: Callable[[], ConnectionPool] = lambda: connection_pool(settings, url, options or {})
        self._pool: ConnectionPool | None = None
        self._lock = threading.Lock()
        self.shown_url = redact_url(url)

    def execute(self, calls: Sequence[Call]) -> list[Any]:
        """Send calls in one round trip; return one reply or ``DispatchError`` each, in order."""
        packed = b"".join([_pack(call, by_text=False) for call in calls])
        replies = self._exchange(packed, len(calls))
        lost = [n for n, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
        if lost:
            again = self._exchange(b"".join([_pack(calls[n], by_text=True) for n in lost]), len(lost))
            for n, reply in zip(lost, again, strict=True):
                replies[n] = reply
        return [self._judged(reply) if isinstance(reply, Exception) else reply for reply in replies]

    def close(self) -> None:
        """Close every connection; the next call opens new ones."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.disconnect(inuse_connections=False)

    def connection(self) -> ConnectionInterface:
        """Return a connection outside of the pool, for one that listens; the caller disconnects it."""
        pool: Any = self._current_pool()  # redis-py leaves make_connection without types
        return cast("ConnectionInterface", pool.make_connection())

    def _current_pool(self) -> ConnectionPool:
        if self._pool is None:
            with self._lock:
                self._pool = self._pool or self._make_pool()
        return self._pool

    def _exchange(self, packed: bytes, count: int) -> list[Any]:
        try:
            pool = self._current_pool()
            connection = pool.get_connection()
            try:
                try:
                    return _send(connection, packed, count)
                except _Stale:
                    return _send(connection, packed, count)
            finally:
                pool.release(connection)
        except (MovedError, AskError, ReadOnlyError) as error:
            self.close()
            raise self._unavailable(error) from error
        except AuthenticationError as error:
            raise ConfigurationError(
                f"the state server at {self.shown_url} refuses these credentials: {error}"
            ) from error
        except (RedisError, OSError) as error:
            raise self._unavailable(error) from error

    def _unavailable(self, error: Exception) -> StoreUnavailable:
        return StoreUnavailable(
            f"the state server at {self.shown_url} does not answer"
            f" ({type(error).__name__}: {error}); nothing half-written is left, try again"
        )

    def _judged(self, error: Exception) -> DispatchError:
        words = str(error)
        first, _, rest = words.partition(" ")
        if isinstance(error, (MovedError, AskError, ReadOnlyError)):
            self.close()
            return self._unavailable(error)
        if first == LeadershipLost.code.upper():
            return LeadershipLost(f"{rest}: nothing was changed")
        if first in _NOT_NOW or isinstance(error, _NOT_NOW_KINDS):
            return StoreUnavailable(f"the state server at {self.shown_url} refuses for now: {words}")
        return ScriptRefused(first.rstrip(":"), rest)


class _Stale(Exception):
    """A pooled connection that the server had closed while it was idle."""


def _send(connection: ConnectionInterface, packed: bytes, count: int) -> list[Any]:
    """Exchange on one connection. A connection that had been used before may be found dead: ``_Stale``, once."""
    reused = connection.is_connected and getattr(connection, "dispatch_used", False)
    replies: list[Any] = []
    try:
        connection.send_packed_command([packed], check_health=False)
        for _ in range(count):
            try:
                replies.append(connection.read_response())
            except ResponseError as error:
                replies.append(error)
    except RedisTimeoutError:
        connection.disconnect()
        raise
    except (RedisConnectionError, OSError) as error:
        connection.disconnect()
        if reused and not isinstance(error, BusyLoadingError):
            raise _Stale from error
        raise
    except BaseException:
        # Anything that unwinds in between (a soft time limit, a greenlet's kill) leaves replies unread.
        connection.disconnect()
        raise
    connection.dispatch_used = True  # type: ignore[attr-defined]  # a mark on redis-py's object, read above
    return replies


def _pack(call: Call, *, by_text: bool) -> bytes:
    words: tuple[Word, ...] = call.words
    if call.script is not None:
        head = ("EVAL", call.script.text) if by_text else ("EVALSHA", call.script.sha)
        words = (*head, call.key_count, *words)
    packed: bytes = hiredis.pack_command(words)
    return packed


def connection_pool(settings: Settings, url: str, options: dict[str, Any]) -> ConnectionPool:
    """Return the pool for a state URL: ``redis://``, ``rediss://``, ``unix://``, ``sentinel://`` or ``redis+cluster://``."""
    common: dict[str, Any] = {
        "protocol": 2,
        "retry": Retry(NoBackoff(), 0),
        "socket_timeout": settings.command_timeout / 1000,
        "socket_connect_timeout": settings.connect_timeout / 1000,
        "socket_keepalive": True,
    }
    scheme = url.partition("://")[0]
    try:
        if scheme in ("sentinel", "rediss+sentinel", "redis+sentinel"):
            return _sentinel_pool(url, options, common)
        if scheme in ("redis+cluster", "rediss+cluster"):
            return _cluster_pool(url.replace("+cluster", "", 1), settings, common)
        pool: ConnectionPool = ConnectionPool.from_url(url, **common)
    except (ValueError, redis.RedisError) as error:
        if isinstance(error, (RedisConnectionError, RedisTimeoutError)):
            raise
        raise ConfigurationError(f"dispatch_redis_url {redact_url(url)!r} cannot be used: {error}") from None
    return pool


def _sentinel_pool(url: str, options: dict[str, Any], common: dict[str, Any]) -> ConnectionPool:
    """Follow kombu's form: ``sentinel://host:port/db;sentinel://host:port/db`` and ``master_name``."""
    parts = [urlsplit(piece if "://" in piece else f"sentinel://{piece}") for piece in url.split(";")]
    last = parts[-1]
    query = dict(parse_qsl(last.query))
    name = query.get("master_name") or options.get("master_name")
    if not name:
        raise ConfigurationError(
            "a sentinel:// state URL needs the master's name: add ?master_name=NAME,"
            " or set broker_transport_options = {'master_name': NAME}"
        )
    secret = {"password": unquote(last.password)} if last.password else {}
    if last.username:
        secret["username"] = unquote(last.username)
    sentinel = redis.Sentinel(
        [(part.hostname or "localhost", part.port or 26379) for part in parts],
        sentinel_kwargs={**common, **options.get("sentinel_kwargs", {})},
        **common,
        **secret,
        db=int(last.path.strip("/") or 0),
    )
    pool: ConnectionPool = sentinel.master_for(name).connection_pool
    return pool


def _cluster_pool(url: str, settings: Settings, common: dict[str, Any]) -> ConnectionPool:
    """Return the pool of the node that holds the namespace: its keys have one hash tag, so one node has all."""
    cluster = redis.RedisCluster.from_url(url, **{key: common[key] for key in common if key != "retry"})
    try:
        node = cluster.get_node_from_key(f"{{{settings.namespace}:0}}")
        secret = {key: cluster.nodes_manager.connection_kwargs.get(key) for key in ("username", "password", "ssl")}
        known = {key: value for key, value in secret.items() if value}
        return ConnectionPool(
            host=node.host, port=node.port, **common, **{k: v for k, v in known.items() if k != "ssl"}
        )
    finally:
        cluster.close()


def unavailable_pause(failures: int) -> float:
    """Return seconds to wait before the ``failures``-th repetition of a call: 50 ms doubling to 2 s, jittered."""
    return float(min(0.05 * 2.0 ** min(failures, 10), 2.0)) * random.uniform(0.5, 1.0)
