"""Payloads from hell (F-54): refused in the caller with nothing stored, or back from a real worker as they went."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import reduce
from typing import Any

import pytest

from dispatch_celery import JobDefinition, JobFailed, PayloadError, PayloadTooLarge
from tests.support.workers import Fleet, Worker, fleet

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

ECHO = """
from functools import reduce
from typing import Any

from dispatch_celery import Retry
from tests.support.shop import dispatch


@dispatch.job(name="echo.anything")
def anything(value: Any = None) -> Any:
    return value


@dispatch.job(name="echo.data")
def data(value: bytes) -> bytes:
    return value


@dispatch.job(name="echo.made", retry=Retry(3))
def made(how: str, size: int = 0) -> Any:
    if how == "text":
        return "x" * size
    if how == "nesting":
        return reduce(lambda inner, _: [inner], range(size), [])
    if how == "digits":
        return 10**size
    return {"NaN": float("nan"), "surrogate": chr(0xD800), "no JSON": object()}[how]
"""
"""What the worker includes; callers know the names and the types."""
LIMIT = 1_048_576
ROOM = LIMIT - len('{"value":""}')
"""The longest text that fits, as the only argument of that name."""


@dataclass(frozen=True)
class Echo:
    """A worker that returns what it is sent, and its callers' side."""

    shop: Fleet
    worker: Worker
    anything: JobDefinition[[Any], Any, Any]
    data: JobDefinition[[bytes], bytes, Any]
    made: JobDefinition[[str, int], Any, Any]

    @property
    def stored(self) -> int:
        """How many jobs there are, in any state."""
        return sum(self.shop.shop.dispatch.jobs.count().values())


@pytest.fixture(scope="module")
def echo(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Echo]:
    """Return a worker that these tests share: each of them finds it alive, whatever went before."""
    folder = tmp_path_factory.mktemp("payloads")
    (folder / "echo.py").write_text(ECHO)
    with fleet(f"t{secrets.token_hex(4)}", server_url, folder) as shop:
        dispatch = shop.shop.dispatch
        worker = shop.start("w1", "-c", "1", "-I", "echo", PYTHONPATH=str(folder))

        @dispatch.remote("echo.anything")
        def anything(value: Any = None) -> Any: ...

        @dispatch.remote("echo.data")
        def data(value: bytes) -> bytes: ...

        @dispatch.remote("echo.made")
        def made(how: str, size: int = 0) -> Any: ...

        yield Echo(shop, worker, anything, data, made)


def _nested(depth: int) -> Any:
    return reduce(lambda inner, _: [inner], range(depth), [])


ROUND_TRIPS: dict[str, Callable[[], Any]] = {
    "0 bytes": lambda: "",
    "nothing": lambda: None,
    "empty containers": lambda: [{}, [], {"": ""}],
    "1 byte under the limit": lambda: "x" * (ROOM - 1),
    "all the limit": lambda: "x" * ROOM,
    "10,000 keys": lambda: {f"key-{n}": n for n in range(10_000)},
    "nesting of 150": lambda: _nested(150),
    "4,000 digits": lambda: 10**4_000 - 1,
    "edges of floats": lambda: [-0.0, 5e-324, 1.7976931348623157e308, 0.1],
    "edges of integers": lambda: [2**53 + 1, 2**63, -(2**63) - 1, 2**64],
    "NUL": lambda: {"a\0b": "\0"},
    "control characters": lambda: "".join(map(chr, range(32))) + "\x7f\x85\u2028\u2029\ufeff",
    "right to left": lambda: "\u202e\u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627\u200f",
    "text that is not normal": lambda: ["e\u0301", "\u00e9", "\U0001f469\u200d\U0001f680", "\ufffd", "\uffff"],
    "text that looks like a number": lambda: ["NaN", "Infinity", "1e999", "-0"],
}
REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "1 byte over the limit": (lambda: "x" * (ROOM + 1), "takes 1,048,577 bytes"),
    "50 MB": (lambda: "x" * 50_000_000, "the largest part is 'value' with 50,000,002 bytes"),
    "nesting of 1,000": (lambda: _nested(1_000), "cannot be written as JSON"),
    "nesting of 100,000": (lambda: _nested(100_000), "cannot be written as JSON"),
    "5,000 digits": (lambda: 10**5_000, "number out of range"),
    "NaN": (lambda: float("nan"), "holds NaN"),
    "infinity": (lambda: {"a": [float("-inf")]}, "holds -Infinity"),
    "a lone surrogate": (lambda: "a\ud800b", "surrogates not allowed"),
    "a lone surrogate in a key": (lambda: {"a\udfff": 1}, "surrogates not allowed"),
    "no JSON": (object, "cannot be written as JSON"),
}
DOORS: dict[str, Callable[[Echo, Any], Any]] = {
    "enqueue": lambda echo, value: echo.anything.enqueue(value),
    "enqueue_many": lambda echo, value: echo.anything.enqueue_many([(1,), (value,), (2,)]),
    "by name": lambda echo, value: echo.shop.shop.dispatch.enqueue("echo.elsewhere", value=value),
}


@pytest.mark.parametrize("kind", ROUND_TRIPS)
def test_an_odd_payload_comes_back_as_it_went(kind: str, echo: Echo) -> None:
    """Argument, record and result are the same value, to the last bit."""
    value = ROUND_TRIPS[kind]()

    handle = echo.anything.enqueue(value)

    assert repr(handle.result(timeout=15)) == repr(value)
    assert repr(handle.info().arguments["value"]) == repr(value)


@pytest.mark.parametrize("value", [b"", bytes(range(256)), b"\0" * 700_000], ids=["0 bytes", "every byte", "many"])
def test_bytes_come_back_as_they_went(value: bytes, echo: Echo) -> None:
    """Whatever is in them, as long as their base64 fits."""
    assert echo.data.enqueue(value).result(timeout=15) == value


def test_a_call_without_arguments_is_a_payload_too(echo: Echo) -> None:
    """The worker's own defaults apply to what is not sent."""
    assert echo.anything.enqueue().result(timeout=15) is None


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("kind", REFUSED)
def test_a_hopeless_payload_is_refused_and_leaves_nothing(kind: str, door: str, echo: Echo) -> None:
    """The caller gets one clean error that says why, and no job of the call is stored, nor any beside it."""
    make, words = REFUSED[kind]
    before = echo.stored

    with pytest.raises(PayloadError, match=words) as refused:
        DOORS[door](echo, make())

    assert isinstance(refused.value, PayloadTooLarge) == ("bytes" in words)
    assert len(str(refused.value)) < 500
    assert echo.stored == before


@pytest.mark.parametrize(
    ("how", "size", "words"),
    [
        ("text", LIMIT - 1, r"takes 1,048,577 bytes"),
        ("text", 50_000_000, r"takes 50,000,002 bytes"),
        ("nesting", 1_000, r"cannot be written as JSON"),
        ("nesting", 100_000, r"cannot be written as JSON"),
        ("digits", 5_000, r"number out of range"),
        ("NaN", 0, r"holds NaN"),
        ("surrogate", 0, r"surrogates not allowed"),
        ("no JSON", 0, r"cannot be written as JSON"),
    ],
)
def test_a_hopeless_result_fails_its_job_at_once(how: str, size: int, words: str, echo: Echo) -> None:
    """It is no outcome to retry: one attempt, a dead letter with the reason, and the worker goes on."""
    handle = echo.made.enqueue(how, size)

    with pytest.raises(JobFailed, match=words):
        handle.result(timeout=15)

    job = handle.info()
    assert (job.attempt, job.crashes, job.lost_workers) == (1, 0, 0)
    assert echo.shop.shop.dispatch.dlq.get(handle.id).reason == "payload"
    assert echo.made.enqueue("text", LIMIT - 2).result(timeout=15) == "x" * (LIMIT - 2)
    assert echo.worker.process.poll() is None
