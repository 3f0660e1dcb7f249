"""Which URLs a pool can be made of, and what its connections are told."""

from __future__ import annotations

from typing import Any

import pytest
from redis.connection import Connection, ConnectionPool, SSLConnection
from redis.exceptions import ClusterDownError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.sentinel import SentinelConnectionPool, SentinelManagedConnection, SentinelManagedSSLConnection

from dispatch_celery.config import Settings
from dispatch_celery.errors import ConfigurationError
from dispatch_celery.store.topology import _SlotFinder, connection_pool


def _pool(url: str, **options: Any) -> ConnectionPool:
    return connection_pool(Settings(), url, options)


def _kind(pool: ConnectionPool) -> type:
    return type(pool.make_connection())


@pytest.mark.parametrize(
    "url",
    [
        "redis://h:1/0",
        "rediss://u:p@h/1",
        "unix:///tmp/s.sock",
        "sentinel://h:1/0?master_name=m",
        "rediss+sentinel://h:1/0?master_name=m",
        "redis+cluster://h:1",
        "rediss+cluster://h:1;i:2",
    ],
)
def test_a_pool_is_made_without_a_connection(url: str) -> None:
    """Nothing is sent until something is asked; redis-py's own retries are off."""
    pool = _pool(url)

    assert pool.connection_kwargs["socket_timeout"] == 5.0
    assert pool.connection_kwargs["retry"].get_retries() == 0


TLS = "ssl_ca_certs=/ca.crt&ssl_certfile=/c.crt&ssl_keyfile=/c.key&ssl_check_hostname=false"


@pytest.mark.parametrize("url", ["rediss://h?", "rediss+sentinel://h?master_name=m&", "rediss+cluster://h?"])
@pytest.mark.parametrize(
    ("spelled", "meant"), [("none", 0), ("required", 2), ("CERT_NONE", 0), ("CERT_OPTIONAL", 1), ("CERT_REQUIRED", 2)]
)
def test_tls_and_its_options_hold_in_every_form(url: str, spelled: str, meant: int) -> None:
    """A connection has TLS with the files of the URL, however the demand for certificates is spelled."""
    connection: Any = _pool(f"{url}{TLS}&ssl_cert_reqs={spelled}").make_connection()

    assert isinstance(connection, SSLConnection)
    assert (connection.ca_certs, connection.certfile, connection.keyfile) == ("/ca.crt", "/c.crt", "/c.key")
    assert connection.cert_reqs == meant
    assert connection.check_hostname is False


@pytest.mark.parametrize("url", ["redis://h?", "sentinel://h?master_name=m&", "redis+cluster://h?"])
def test_no_number_of_connections_is_the_last(url: str) -> None:
    """A limit in the URL, meant for the broker's pool, does not end a listener that connects again and again."""
    pool = _pool(f"{url}max_connections=1")

    assert all(pool.make_connection() for _ in range(3))


@pytest.mark.parametrize("url", ["redis://h", "sentinel://h?master_name=m", "redis+cluster://h"])
def test_without_tls_in_the_url_there_is_none_until_celery_says_so(url: str) -> None:
    """``broker_use_ssl`` comes as the option ``ssl``: true, or what redis-py calls the files."""
    assert not issubclass(_kind(_pool(url)), SSLConnection)
    assert issubclass(_kind(_pool(url, ssl=True)), SSLConnection)
    assert _pool(url, ssl={"ssl_ca_certs": "/ca.crt"}).connection_kwargs["ssl_ca_certs"] == "/ca.crt"


@pytest.mark.parametrize(
    "url",
    [
        "sentinel://bob:p%40w@a:1/3;b?master_name=m",
        "sentinel://a:1;sentinel://bob:p%40w@b/3?master_name=m",
        "redis+sentinel://a:1?master_name=m;bob:p%40w@b/3",
        "sentinel://bob:p%40w@a:1/3?master_name=m;sentinel://bob:p%40w@b/3?master_name=m",
    ],
)
def test_a_sentinel_list_is_one_url(url: str) -> None:
    """Credentials, database and master's name may stand in any part, and in several if they agree."""
    pool = _pool(url)

    assert isinstance(pool, SentinelConnectionPool)
    assert {name: pool.connection_kwargs[name] for name in ("username", "password", "db")} == {
        "username": "bob",
        "password": "p@w",
        "db": 3,
    }
    assert _sentinels(pool) == [("a", 1), ("b", 26379)]
    assert pool.service_name == "m"


def _sentinels(pool: SentinelConnectionPool) -> list[tuple[str, int]]:
    words = [sentinel.connection_pool.connection_kwargs for sentinel in pool.sentinel_manager.sentinels]
    return [(each["host"], each["port"]) for each in words]


def test_sentinels_have_credentials_of_their_own() -> None:
    """The server's are not told to them; theirs come from the URL or from Celery's ``sentinel_kwargs``."""
    url = "rediss+sentinel://u:p@a?master_name=m&ssl_ca_certs=/ca.crt&sentinel_username=w"
    pool = _pool(url, sentinel_kwargs={"password": "theirs", "socket_timeout": 0.5})
    assert isinstance(pool, SentinelConnectionPool)
    (sentinel,) = pool.sentinel_manager.sentinels
    told = sentinel.connection_pool.connection_kwargs

    assert (told["username"], told["password"], told["socket_timeout"]) == ("w", "theirs", 0.5)
    assert issubclass(sentinel.connection_pool.connection_class, SSLConnection)
    assert told["ssl_ca_certs"] == "/ca.crt"
    assert _kind(pool) is SentinelManagedSSLConnection
    assert _kind(_pool("sentinel://a?master_name=m")) is SentinelManagedConnection


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("amqp://u:s3cret@h/", "its form must be one of redis://"),
        ("nonsense", "its form must be one of redis://"),
        ("sentinel://:s3cret@h:26379/0", "master's name"),
        ("sentinel://:s3cret@a/1;b/2?master_name=m", "its parts differ in db"),
        ("sentinel://:s3cret@a;:other@b?master_name=m", "its parts differ in password"),
        ("redis://:s3cret@a;b", "a list of servers needs sentinel://"),
        ("redis://:s3cret@h/jobs", "'jobs' is no number of a database"),
        ("redis://:s3cret@h:port", "Port could not be cast"),
        ("redis://:s3cret@h?colour=blue", "unexpected keyword argument 'colour'"),
        ("redis+cluster://:s3cret@h?colour=blue", "unexpected keyword argument 'colour'"),
        ("rediss://:s3cret@h?ssl_cert_reqs=perhaps", "perhaps"),
        ("redis://:s3cret@h?socket_timeout=soon", "socket_timeout"),
    ],
)
def test_a_url_that_cannot_work_is_refused_without_its_password(url: str, why: str) -> None:
    """The error names the part that is wrong, or the remedy."""
    with pytest.raises(ConfigurationError, match=why) as caught:
        _pool(url)
    assert "s3cret" not in str(caught.value)


class _Told(Connection):
    """A node of a cluster that answers from a list."""

    answers: dict[int, Any] = {}  # noqa: RUF012 - each test sets its own

    def connect(self) -> None:
        if self.port not in self.answers:
            raise RedisConnectionError(f"refused by {self.port}")

    def send_command(self, *words: str) -> None:
        assert words == ("CLUSTER", "SLOTS")

    def read_response(self) -> Any:
        return self.answers[self.port]


def _finder(monkeypatch: pytest.MonkeyPatch, answers: dict[int, Any]) -> _SlotFinder:
    monkeypatch.setattr(_Told, "answers", answers)
    return _SlotFinder(500, [("seed", 1)], _Told, {})


def test_the_node_of_a_slot_is_found_by_any_that_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty host is the one that was asked; nodes that were named once are asked when the first is gone."""
    finder = _finder(monkeypatch, {1: [[0, 99, [b"", 1, b"id"]], [100, 999, [b"two", 2, b"id"]]]})
    assert finder.master() == ("two", 2)

    monkeypatch.setattr(_Told, "answers", {2: [[0, 999, [None, 2, b"id"]]]})
    assert finder.master() == ("two", 2)


def test_a_slot_nobody_has_and_a_silent_cluster_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both pass: the one as a cluster that is down, the other as no answer, with each node's own words."""
    with pytest.raises(ClusterDownError, match="no node of the cluster serves slot 500"):
        _finder(monkeypatch, {1: [[0, 99, [b"h", 1, b"id"]], [100, 999, [b"?", 2, b"id"]]]}).master()
    with pytest.raises(RedisConnectionError, match="seed:1 refused by 1"):
        _finder(monkeypatch, {}).master()
