"""What goes over the wire, and what the errors that come back mean."""

from __future__ import annotations

import pytest
from redis._parsers.base import BaseParser

from dispatch_celery.config import Settings
from dispatch_celery.errors import ConfigurationError, DispatchError, LeadershipLost, ScriptRefused, StoreUnavailable
from dispatch_celery.store.client import RedisStore, _pack, unavailable_pause
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


def test_the_shown_url_has_no_password() -> None:
    """Logs and errors use it."""
    assert RedisStore(Settings(), "redis://:s3cret@h:1/0").shown_url == "redis://:***@h:1/0"


def _parsed(reply: str) -> Exception:
    """Return an error reply as redis-py hands it on: for codes it knows, without the code."""
    error: Exception = BaseParser.parse_error(reply)
    return error


@pytest.mark.parametrize(
    ("reply", "kind", "words"),
    [
        ("LEADERSHIP_LOST another term reigns", LeadershipLost, "another term reigns: nothing was changed"),
        ("NO_LEASE w1 has none", ScriptRefused, "NO_LEASE w1 has none"),
        ("WRONGTYPE Operation against", ScriptRefused, "WRONGTYPE Operation against"),
        ("ERR unknown command 'X'", ScriptRefused, "ERR unknown command 'X'"),
        ("CROSSSLOT Keys in request", ScriptRefused, "CROSSSLOT Keys in request"),
        ("BUSY Redis is busy", StoreUnavailable, "refuses for now: BUSY Redis is busy"),
        ("OOM command not allowed", StoreUnavailable, "refuses for now: command not allowed"),
        ("MASTERDOWN Link with MASTER is down", StoreUnavailable, "refuses for now: Link with MASTER"),
        ("READONLY You can't write", StoreUnavailable, "does not answer"),
        ("MOVED 5 127.0.0.1:7000", StoreUnavailable, "does not answer"),
        ("ERR max number of clients reached", StoreUnavailable, "does not answer"),
        ("NOAUTH Authentication required.", ConfigurationError, "refuses these credentials: Authentication required."),
        ("NOPERM No permissions to access a key", ConfigurationError, "forbids jobs/tidy on the keys {shop:0}:*"),
        ("ERR ACL failure in script: User bob", ConfigurationError, "ACL failure in script: User bob"),
        ("ERR The user executing the script can't run", ConfigurationError, "ACL SETUSER bob ~{shop:0}:* "),
    ],
)
def test_an_error_reply_has_a_meaning(reply: str, kind: type[DispatchError], words: str) -> None:
    """Not now, a refusal with its code, or what the user of the server may not do, with the remedy."""
    store = RedisStore(Settings(namespace="shop"), "redis://bob:pw@h:1/0")

    meant = store._judged(_parsed(reply), Call.of("jobs/tidy", {"lane": "a", "lanes": "b"}, {"lane": "c"}))

    assert type(meant) is kind
    assert words in str(meant)


def test_a_refused_connection_is_a_matter_of_configuration() -> None:
    """What a server says before the first command concerns the URL."""
    meant = RedisStore(Settings(), "redis://h:1/99")._judged(_parsed("ERR DB index is out of range"))

    assert isinstance(meant, ConfigurationError)
    assert "DB index is out of range" in str(meant)


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
