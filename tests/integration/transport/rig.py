"""What the transport's tests share: messages made by hand, a kombu consumer, plain workers and their marks."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import redis
from celery import Celery
from kombu import Connection, Consumer, Queue

from dispatch_celery.store.embedded import EmbeddedServer
from tests.support.eventually import eventually

ROOT = Path(__file__).parent.parent.parent.parent
OURS = "dispatch_celery.transport.transports:Transport"
STOCK = "kombu.transport.redis:Transport"


def envelope(*arguments: object, task: str = "early", queue: str = "celery", **changes: Any) -> dict[str, Any]:
    """Return a message as a producer of another make would push it."""
    identity = str(uuid.uuid4())
    body = json.dumps([arguments, {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}])
    return {
        "body": base64.b64encode(body.encode()).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"task": task, "id": identity, "lang": "py"},
        "properties": {
            "correlation_id": identity,
            "delivery_mode": 2,
            "delivery_info": {"exchange": "", "routing_key": queue},
            "priority": 0,
            "body_encoding": "base64",
            "delivery_tag": str(uuid.uuid4()),
        },
        **changes,
    }


def raw(*arguments: object, **changes: Any) -> bytes:
    """Return the bytes of an `envelope`."""
    return json.dumps(envelope(*arguments, **changes)).encode()


def coded(text: str | bytes) -> str:
    """Return the base64 of a body."""
    return base64.b64encode(text if isinstance(text, bytes) else text.encode()).decode()


def unreadable() -> dict[str, bytes]:
    """Return messages that stock kombu cannot turn into an object, or would alter silently."""
    bare = envelope()
    bare.pop("properties")
    text = raw().decode()
    return {
        "not JSON": b"\x00\xffnot json",
        "empty": b"",
        "a list": b"[1, 2, 3]",
        "null": b"null",
        "body not base64": raw(body="@@@a"),
        "body no text": raw(body={"a": 1}),
        "no properties": json.dumps(bare).encode(),
        "nested 100,000 deep": b"[" * 100_000 + b"]" * 100_000,
        "headers nested 3,000 deep": text.replace('"lang": "py"', '"lang": ' + "[" * 3000 + "]" * 3000).encode(),
        "5,000 digits": text.replace('"priority": 0', '"priority": ' + "9" * 5000).encode(),
        "not UTF-8": text.replace('"lang": "py"', '"lang": "\xff"').encode("latin-1"),
        "headers a list": raw(headers=[1]),
        "unknown body encoding": text.replace('"body_encoding": "base64"', '"body_encoding": "rot13"').encode(),
    }


def unwelcome() -> dict[str, bytes]:
    """Return messages kombu can read and Celery cannot use."""
    headers = envelope()["headers"]
    nameless = {name: value for name, value in headers.items() if name != "task"}
    return {
        "body not JSON": raw(body=coded("{nope")),
        "body not UTF-8": raw(body=coded(b"\xff\xfe\x00")),
        "body of 5,000 digits": raw(body=coded("[[" + "9" * 5000 + "],{},{}]")),
        "body nested 100,000 deep": raw(body=coded("[" * 100_000 + "]" * 100_000)),
        "unknown task": raw(headers={**headers, "task": "nope"}),
        "no task header": raw(headers=nameless),
        "pickle": raw(**{"content-type": "application/x-python-serialize", "content-encoding": "binary"}),
        "bad ETA": raw(headers={**headers, "eta": "one of these days"}),
        "ETA in the year 9999": raw(headers={**headers, "eta": "9999-12-31T00:00:00+00:00"}),
        "NaN": raw(body=coded("[[NaN],{},{}]")),
        "lone surrogate": raw(body=coded('[["\\ud800"],{},{}]')),
        "wrong arity": raw(1, 2, 3, 4, 5),
    }


class Desk:
    """A kombu connection with consumers, in a key space of its own, and a bare client to look behind it."""

    def __init__(self, url: str, prefix: str, transport: str = OURS, **options: Any) -> None:
        self.prefix = prefix
        self.server = redis.Redis.from_url(url)
        self.connection = Connection(
            url, transport=transport, transport_options={"global_keyprefix": prefix, **options}
        )
        self.channel = self.connection.channel()
        self.got: list[Any] = []

    def key(self, name: str) -> str:
        """Return the full name of a key."""
        return self.prefix + name

    def push(self, queue: str, *messages: bytes) -> None:
        """Put messages into a list, as any producer would."""
        for message in messages:
            self.server.lpush(self.key(queue), message)

    def consume(self, *queues: str, prefetch: int = 0, no_ack: bool = False) -> Consumer:
        """Start to consume; messages are collected in ``got`` and not acknowledged."""
        consumer = Consumer(
            self.channel,
            [Queue(name, exchange="", routing_key=name) for name in queues],
            no_ack=no_ack,
            auto_declare=False,
        )
        consumer.on_message = self.got.append
        if prefetch:
            consumer.qos(prefetch_count=prefetch)
        consumer.consume()
        return consumer

    def drain(self, count: int) -> list[Any]:
        """Wait until ``count`` messages in all have come, and return them."""

        def come() -> bool:
            with suppress(TimeoutError):
                self.connection.drain_events(timeout=0.2)
            return len(self.got) >= count

        eventually(come, every=0, what=f"{count} messages, not {len(self.got)}")
        return self.got

    def idle(self, seconds: float) -> None:
        """Drain for a while, expecting nothing."""
        try:
            self.connection.drain_events(timeout=seconds)
        except TimeoutError:
            return
        raise AssertionError("something came")

    @property
    def unacked(self) -> dict[bytes, bytes]:
        """What is recorded as in flight."""
        return self.server.hgetall(self.key("unacked"))

    def length(self, queue: str) -> int:
        """Return how many messages wait in a list."""
        return int(self.server.llen(self.key(queue)))

    def close(self) -> None:
        """Close the connection in order, and the client."""
        self.connection.close()
        self.server.close()


@contextmanager
def desk(url: str, prefix: str, **options: Any) -> Iterator[Desk]:
    """Open a desk and close it."""
    opened = Desk(url, prefix, **options)
    try:
        yield opened
    finally:
        opened.close()


class Yard:
    """Plain Celery workers on one server, and the marks their tasks leave."""

    def __init__(self, server: EmbeddedServer, folder: Path) -> None:
        self.server = server
        self.marks_file, self.letters_file = folder / "marks", folder / "letters"
        self.client = redis.Redis(port=server.port)
        self._folder = folder
        self._workers: list[subprocess.Popen[bytes]] = []

    def start(
        self, *extra: str, pool: str = "prefork", ours: bool = True, size: int = 2, **settings: Any
    ) -> subprocess.Popen[bytes]:
        """Start a worker and wait until it consumes. ``options`` among the settings go to the transport."""
        environment = {
            "PLAIN_BROKER": self.server.url,
            "PLAIN_TRANSPORT": "ours" if ours else "stock",
            "PLAIN_OPTIONS": json.dumps(settings.pop("options", {})),
            "PLAIN_SETTINGS": json.dumps(settings),
            "PLAIN_MARKS": str(self.marks_file),
            "PLAIN_LETTERS": str(self.letters_file),
        }
        name = f"w{len(self._workers)}"
        command = [sys.executable, "-m", "celery", "-A", "tests.integration.transport.plain_app", "worker"]
        command += ["-P", pool, "-c", str(size), "-n", f"{name}@x", "-l", "INFO", *extra]
        command += ["--without-mingle", "--without-gossip"]
        with self.log(name).open("wb") as log:
            worker = subprocess.Popen(
                command, cwd=ROOT, env={**os.environ, **environment}, stdout=log, stderr=log, start_new_session=True
            )
        self._workers.append(worker)
        eventually(lambda: " ready." in self.log(name).read_text(errors="replace"), within=30, what=f"{name} is ready")
        return worker

    def log(self, name: str) -> Path:
        """Return a worker's log file."""
        return self._folder / f"{name}.log"

    def send(self, task: str, numbers: range, seconds: float = 0.0, *, queue: str = "celery") -> None:
        """Send tasks as a plain Celery producer does."""
        with Celery("producer", broker=self.server.url) as app, app.connection_for_write() as connection:
            producer = app.amqp.Producer(connection)
            for number in numbers:
                app.send_task(task, (number, seconds), producer=producer, queue=queue, ignore_result=True)

    def count(self, word: str) -> Counter[int]:
        """Return how often each task has left its mark, ``start`` or ``end``."""
        if not self.marks_file.exists():
            return Counter()
        marks = (line.split() for line in self.marks_file.read_text().splitlines())
        return Counter(int(mark[1]) for mark in marks if mark[0] == word and mark[1].isdigit())

    def letters(self) -> list[tuple[str, bytes, str]]:
        """Return what the sink was given."""
        if not self.letters_file.exists():
            return []
        lines = [json.loads(line) for line in self.letters_file.read_text().splitlines()]
        return [(queue, bytes.fromhex(text), reason) for queue, text, reason in lines]

    def in_flight(self) -> int:
        """Return how many messages are recorded as in flight."""
        return int(self.client.hlen("unacked"))

    def queued(self, queue: str = "celery") -> int:
        """Return how many messages wait."""
        return int(self.client.llen(queue))

    def close(self) -> None:
        """End all workers."""
        for worker in self._workers:
            if worker.poll() is None:
                os.killpg(worker.pid, signal.SIGKILL)
            worker.wait()
        self.client.close()


def kill(worker: subprocess.Popen[bytes]) -> None:
    """End a worker and its pool at once."""
    os.killpg(worker.pid, signal.SIGKILL)
    worker.wait()
