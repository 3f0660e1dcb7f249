"""One round trip to the state server: packs calls, sends them on one connection, reads the replies in order.

Why not ``redis.Redis``: its client layer costs more than the round trip (60 of 100 microseconds, measured)
and repeats commands by itself. Connections, TLS and authentication are redis-py's (``topology`` says to which server);
only the exchange on a connection is ours (``link``).
"""

from __future__ import annotations

import os
import random
import re
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol, cast

import hiredis
from redis.connection import ConnectionInterface, ConnectionPool
from redis.exceptions import (
    AskError,
    AuthenticationError,
    BusyLoadingError,
    ClusterCrossSlotError,
    ClusterDownError,
    MovedError,
    NoPermissionError,
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

from dispatch_celery.config import Settings, redact_url
from dispatch_celery.errors import (
    ConfigurationError,
    DispatchError,
    LeadershipLost,
    ScriptRefused,
    StoreUnavailable,
)
from dispatch_celery.store.keys import Keys
from dispatch_celery.store.link import Link
from dispatch_celery.store.scripts import Call, Word
from dispatch_celery.store.topology import connection_pool

__all__ = ["RedisStore", "Store", "unavailable_pause"]

_NOT_NOW: Final = (
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
_NOT_NOW_KINDS: Final = (BusyLoadingError, OutOfMemoryError, ReadOnlyError, ClusterDownError, TryAgainError)
_MOVED: Final = (MovedError, ReadOnlyError)
_ELSEWHERE: Final = (*_MOVED, AskError)

# redis-py cuts the code off the errors it knows and keeps it on others; from 8.0 on it says which it cut.
_CUT: Final = {NoPermissionError: "NOPERM", ClusterCrossSlotError: "CROSSSLOT"}
_CODE: Final = re.compile(r"([A-Z][A-Z_]+):?(?: (.*))?", re.DOTALL)

# What Redis 7.0 and the later ones answer when a script does what its user may not.
_FORBIDDEN_INSIDE: Final = ("The user executing the script can't", "ACL failure in script")


class Store(Protocol):
    """The port: everything the product asks of the state server goes through this one method."""

    def execute(self, calls: Sequence[Call]) -> list[Any]:
        """Send calls in one round trip; return one reply or ``DispatchError`` each, in order.

        Raises:
            StoreUnavailable: no answer; each call may have been applied or not.
        """
        ...


class RedisStore:
    """The port over links that are kept open. Safe for threads, greenlets and forks."""

    def __init__(self, settings: Settings, url: str, *, options: dict[str, Any] | None = None) -> None:
        self._make_pool: Callable[[], ConnectionPool] = lambda: connection_pool(settings, url, options or {})
        self._pool: ConnectionPool | None = None
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._idle: list[Link] = []
        self._known: set[str] = set()
        self._tag = Keys(settings.namespace).tag
        self.shown_url = redact_url(url)

    def execute(self, calls: Sequence[Call]) -> list[Any]:
        """Send calls in one round trip; return one reply or ``DispatchError`` each, in order."""
        replies = self._exchange(calls)
        refused = [n for n, reply in enumerate(replies) if isinstance(reply, Exception)]
        if not refused:
            return replies
        replies = self._repeated(calls, replies, refused)
        for n in refused:
            if isinstance(replies[n], Exception):
                replies[n] = self._judged(replies[n], calls[n])
        return replies

    def _pack(self, calls: Sequence[Call]) -> bytes:
        """Return calls as bytes: a script by its text the first time, by its hash once this server has had it.

        Sent by a hash the server does not know, a script would come after the commands that were to follow it.
        """
        packed = []
        for call in calls:
            sha = None if call.script is None else call.script.sha
            packed.append(_pack(call, by_text=sha is not None and sha not in self._known))
            if sha is not None:
                self._known.add(sha)
        return b"".join(packed)

    def _repeated(self, calls: Sequence[Call], replies: list[Any], refused: Sequence[int]) -> list[Any]:
        """Send again, as text, what changed nothing: the server has no such script, or is no longer the one to ask."""
        lost = [n for n in refused if isinstance(replies[n], (NoScriptError, *_MOVED))]
        if not lost:
            return replies
        if any(isinstance(replies[n], _MOVED) for n in lost):
            self._close_idle()
        self._known.clear()
        again = self._exchange([calls[n] for n in lost])
        answered = dict(zip(lost, again, strict=True))
        return [answered.get(n, reply) for n, reply in enumerate(replies)]

    def close(self) -> None:
        """Close every connection that is not in use; the next call opens new ones."""
        self._close_idle()
        with self._lock:
            self._pool = None

    def _close_idle(self) -> None:
        """End idle connections: whoever connects asks where the master is."""
        links, self._idle = self._idle, []
        if self._pid == os.getpid():
            for link in links:
                link.close()

    def connection(self) -> ConnectionInterface:
        """Return a connection outside of the pool, for one that listens; the caller disconnects it."""
        pool: Any = self._current_pool()  # redis-py leaves make_connection without types
        return cast("ConnectionInterface", pool.make_connection())

    def _current_pool(self) -> ConnectionPool:
        if self._pool is None:
            with self._lock:
                self._pool = self._pool or self._make_pool()
        return self._pool

    def _link(self) -> Link:
        """Return an idle link, or a new one. A fork leaves its parent's links alone."""
        if self._pid != os.getpid():
            self._pid, self._idle = os.getpid(), []
        try:
            return self._idle.pop()
        except IndexError:
            return Link(self.connection())

    def _exchange(self, calls: Sequence[Call]) -> list[Any]:
        try:
            link = self._link()
            reused = link.is_open
            try:
                try:
                    return link.exchange(self._pack(calls), len(calls))
                except (RedisConnectionError, OSError) as error:
                    self._known.clear()
                    # The server may have closed it while it was idle; scripts can be sent twice with one effect.
                    if not reused or isinstance(error, (TimeoutError, RedisTimeoutError)):
                        raise
                    return link.exchange(self._pack(calls), len(calls))
            finally:
                self._idle.append(link)
        except (AuthenticationError, ResponseError) as error:
            raise self._judged(error) from error
        except (RedisError, OSError) as error:
            raise self._unavailable(error) from error

    def _unavailable(self, error: Exception) -> StoreUnavailable:
        return StoreUnavailable(
            f"the state server at {self.shown_url} does not answer"
            f" ({type(error).__name__}: {error}); nothing half-written is left, try again"
        )

    def _judged(self, error: Exception, call: Call | None = None) -> DispatchError:
        """Return what a refusal means: of a call, or of what a new connection says first."""
        code, words = _code(error)
        if isinstance(error, (RedisConnectionError, *_ELSEWHERE)) and not isinstance(error, BusyLoadingError):
            return self._turned_away(error)
        if code == LeadershipLost.code.upper():
            return LeadershipLost(f"{words}: nothing was changed")
        if code in _NOT_NOW or isinstance(error, _NOT_NOW_KINDS):
            return StoreUnavailable(f"the state server at {self.shown_url} refuses for now: {error}")
        if code == "NOPERM" or str(error).startswith(_FORBIDDEN_INSIDE):
            return self._forbidden(call.label if call else "a new connection", str(error))
        if call is None:
            return ConfigurationError(f"the state server at {self.shown_url} refuses connections: {code} {words}")
        return ScriptRefused(code, words)

    def _turned_away(self, error: Exception) -> DispatchError:
        """Return what it means that this connection, or this server, is the wrong one."""
        if isinstance(error, AuthenticationError):
            return ConfigurationError(
                f"the state server at {self.shown_url} refuses these credentials: {error};"
                " give it user and password in dispatch_redis_url (redis://USER:PASSWORD@HOST:PORT/DB)"
            )
        if isinstance(error, _ELSEWHERE):
            self._close_idle()
        return self._unavailable(error)

    def _forbidden(self, what: str, words: str) -> ConfigurationError:
        user = self._current_pool().connection_kwargs.get("username") or "default"
        return ConfigurationError(
            f"the state server at {self.shown_url} forbids {what} on the keys {self._tag}* to the user {user}:"
            f" {words.strip()}; allow it: ACL SETUSER {user} ~{self._tag}* &{self._tag}* +@all -@dangerous +info"
        )


def _code(error: Exception) -> tuple[str, str]:
    """Return the code and the words of an error reply."""
    said = str(error)
    cut = getattr(error, "status_code", None) or next((_CUT[kind] for kind in _CUT if isinstance(error, kind)), None)
    if cut is not None:
        return cut, said
    found = _CODE.fullmatch(said)
    return (found[1], found[2] or "") if found else ("ERR", said)


def _pack(call: Call, *, by_text: bool) -> bytes:
    words: tuple[Word, ...] = call.words
    if call.script is not None:
        head = ("EVAL", call.script.text) if by_text else ("EVALSHA", call.script.sha)
        words = (*head, call.key_count, *words)
    packed: bytes = hiredis.pack_command(words)
    return packed


def unavailable_pause(failures: int) -> float:
    """Return seconds to wait before the ``failures``-th repetition of a call: 50 ms doubling to 2 s, jittered."""
    return float(min(0.05 * 2.0 ** min(failures, 10), 2.0)) * random.uniform(0.5, 1.0)
