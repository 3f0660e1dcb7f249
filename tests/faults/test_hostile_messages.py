"""Messages from hell (F-53): the worker lives, nothing is dropped unseen, and the next job runs at once."""

from __future__ import annotations

import base64
import json
import uuid
from typing import Any

import pytest

from dispatch_celery import DeadLetterKind
from dispatch_celery.store.client import RedisStore
from dispatch_celery.store.replies import ask
from dispatch_celery.store.scripts import Call
from tests.support.eventually import eventually
from tests.support.workers import Fleet, fleet

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


def _envelope(payload: Any, /, *, task: str | None = "shop.add", raw_body: str | None = None, **changes: Any) -> bytes:
    text = json.dumps(payload) if raw_body is None else raw_body
    headers: dict[str, Any] = {"id": str(uuid.uuid4()), "lang": "py"}
    if task is not None:
        headers["task"] = task
    headers |= changes.pop("headers", {})
    message = {
        "body": base64.b64encode(text.encode("utf-8", "surrogatepass")).decode(),
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "headers": headers,
        "properties": {
            "delivery_tag": str(uuid.uuid4()),
            "delivery_info": {"exchange": "", "routing_key": "q"},
            "body_encoding": "base64",
        },
        **changes,
    }
    return json.dumps(message).encode()


def _without(name: str) -> bytes:
    message = json.loads(_envelope([[1], {}, {}]))
    del message[name]
    return json.dumps(message).encode()


HOSTILE: dict[str, bytes] = {
    "no JSON": b"\x00\xffnot json",
    "a list": b"[1, 2, 3]",
    "a body that is no base64": _envelope([[1], {}, {}], body="%%%"),
    "no properties": _without("properties"),
    "no headers": _without("headers"),
    "a body that is no JSON": _envelope(None, raw_body="{nope"),
    "a body that is no UTF-8": _envelope(None, body=base64.b64encode(b"\xff\xfe\xfd").decode()),
    "an integer of 5,000 digits": _envelope(None, raw_body=f"[[{'9' * 5000}], {{}}, {{}}]"),
    "nesting of 100,000": _envelope(None, raw_body="[" * 100_000 + "]" * 100_000),
    "an unknown task": _envelope([[1], {}, {}], task="shop.nowhere"),
    "no task header": _envelope([[1], {}, {}], task=None),
    "pickle": _envelope([[1], {}, {}], **{"content-type": "application/x-python-serialize"}),
    "a bad ETA": _envelope([[1], {}, {}], headers={"eta": "yesterday-ish"}),
    "the wrong arguments": _envelope([[1, 2, 3, 4], {}, {}]),
    "NaN": _envelope(None, raw_body="[[NaN], {}, {}]"),
    "a lone surrogate": _envelope([["\ud800"], {}, {}]),
}
"""The sixteen of the table; each one has killed a plain Celery worker, or was thrown away by it."""


@pytest.mark.parametrize("pool", [("-c", "1"), ("-P", "threads", "-c", "2")])
def test_every_hostile_message_becomes_a_dead_letter(pool: tuple[str, ...], shop: Fleet, store: RedisStore) -> None:
    """All sixteen leave the worker alive and are found among the dead letters with a reason; the next job runs."""
    worker = shop.start("w1", *pool)
    queue = shop.shop.QUEUE
    for raw in HOSTILE.values():
        ask(store, Call.command("LPUSH", queue, raw))

    assert shop.shop.add.enqueue(1).result(timeout=20) == 2
    letters = eventually(
        lambda: page if len(page := shop.shop.dispatch.dlq.list(limit=100)) == len(HOSTILE) else None,
        within=20,
        what="all are dead letters",
    )
    assert {letter.kind for letter in letters} == {DeadLetterKind.MESSAGE}
    assert all(letter.reason and letter.raw for letter in letters)
    assert worker.process.poll() is None
    assert shop.shop.add.enqueue(2).result(timeout=5) == 3


@pytest.fixture
def shop(namespace: str, server_url: str, tmp_path: Any) -> Any:
    """Return a fleet in a namespace of its own."""
    with fleet(namespace, server_url, tmp_path) as made:
        yield made
