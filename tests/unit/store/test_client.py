"""What goes over the wire, and which URLs a pool can be made of."""

from __future__ import annotations

import pytest

from dispatch_celery.config import Settings
from dispatch_celery.errors import ConfigurationError
from dispatch_celery.store.client import RedisStore, ScriptRefused, _pack, connection_pool, unavailable_pause
from dispatch_celery.store.replies import pairs, text, words
from dispatch_celery.store.scripts import Call, load


def test_a_command_is_packed_as_counted_words() -> None:
    """Text, bytes and numbers, each with its length in bytes."""
    packed = _pack(Call.command("SET", "clé", b"\xff\r\n", 5), by_text=False)

    assert packed == b"*4\r\n$3\r\nSET\r\n$4\r\ncl\xc3\xa9\r\n$3\r\n\xff\r\n\r\n$1\r\n5\r\n"


def test_a_script_is_called_by_hash_and_then_by_text() -> None:
    """The same words follow, so a server that lost its scripts answers the same."""
    call = Call.of("jobs/tidy", {"lane": "a", "lanes": "b"}, {"lane": "c"})
    script = load("jobs/tidy")

    assert _pack(call, by_text=False).startswith(b"*6\r\n$7\r\nEVALSHA\r\n$40\r\n" + script.sha.encode())
    assert script.text.encode() in _pack(call, by_text=True)


@pytest.mark.parametrize(
    "url", ["redis://h:1/0", "rediss://u:p@h/1", "unix:///tmp/s.sock", "sentinel://h:1/0?master_name=m"]
)
def test_a_pool_is_made_without_a_connection(url: str) -> None:
    """Nothing is sent until something is asked; redis-py's own retries are off."""
    pool = connection_pool(Settings(), url, {})

    assert pool.connection_kwargs["socket_timeout"] == 5.0
    assert pool.connection_kwargs["retry"].get_retries() == 0


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("amqp://u:s3cret@h/", "cannot be used"),
        ("nonsense", "cannot be used"),
        ("sentinel://:s3cret@h:26379/0", "master's name"),
    ],
)
def test_a_url_that_cannot_work_is_refused_without_its_password(url: str, why: str) -> None:
    """The error names the setting or the remedy."""
    with pytest.raises(ConfigurationError, match=why) as caught:
        connection_pool(Settings(), url, {})
    assert "s3cret" not in str(caught.value)


def test_the_shown_url_has_no_password() -> None:
    """Logs and errors use it."""
    assert RedisStore(Settings(), "redis://:s3cret@h:1/0").shown_url == "redis://:***@h:1/0"


def test_a_refusal_has_a_code_and_words() -> None:
    """``CODE words`` of a script's error reply."""
    refused = ScriptRefused("LEADERSHIP_LOST", "another term reigns")

    assert (refused.refusal, refused.words, str(refused)) == (
        "LEADERSHIP_LOST",
        "another term reigns",
        "LEADERSHIP_LOST another term reigns",
    )


@pytest.mark.parametrize(("failures", "longest"), [(0, 0.05), (1, 0.1), (5, 1.6), (6, 2.0), (10**6, 2.0)])
def test_the_pause_for_an_unanswered_call_grows_and_is_bounded(failures: int, longest: float) -> None:
    """50 ms doubling to 2 s, at least half of that."""
    assert all(longest / 2 <= unavailable_pause(failures) <= longest for _ in range(50))


def test_replies_become_text() -> None:
    """Nil is empty, numbers are their digits, pairs keep bytes as values."""
    assert words([b"a", None, 5]) == ["a", "", "5"]
    assert text("x") == "x"
    assert pairs([b"a", b"\xff"]) == {"a": b"\xff"}
