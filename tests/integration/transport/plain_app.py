"""A plain Celery app, as those who never heard of jobs have one; environment variables choose its transport."""

from __future__ import annotations

import json
import os
import threading

from celery import Celery

from dispatch_celery.transport import install


def keep(*, queue: str, raw: bytes, reason: str) -> None:
    """Write an undecodable message to a file, as a line."""
    append(os.environ["PLAIN_LETTERS"], json.dumps([queue, raw.hex(), reason]))


def append(path: str, line: str) -> None:
    """Append a line in one system call, so that processes do not mix theirs."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(descriptor, f"{line}\n".encode())
    os.close(descriptor)


if os.environ.get("PLAIN_TRANSPORT") == "ours":
    install(sink=keep)

app = Celery("plain", broker=os.environ.get("PLAIN_BROKER", "redis://127.0.0.1:1/0"))
app.conf.update(
    task_ignore_result=True,
    broker_connection_retry_on_startup=True,
    worker_prefetch_multiplier=4,
    broker_transport_options=json.loads(os.environ.get("PLAIN_OPTIONS", "{}")),
    **json.loads(os.environ.get("PLAIN_SETTINGS", "{}")),
)


def work(number: int, seconds: float) -> None:
    """Leave a mark, take a while, leave another."""
    append(os.environ["PLAIN_MARKS"], f"start {number} {os.getpid()}")
    if seconds:
        threading.Event().wait(seconds)
    append(os.environ["PLAIN_MARKS"], f"end {number} {os.getpid()}")


@app.task(name="early", shared=False)
def early(number: int, seconds: float = 0.0) -> None:
    """Acknowledged when it begins, as is Celery's default."""
    work(number, seconds)


@app.task(name="late", acks_late=True, shared=False)
def late(number: int, seconds: float = 0.0) -> None:
    """Acknowledged when it has ended."""
    work(number, seconds)
