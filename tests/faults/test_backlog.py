"""A long queue and one slow worker (F-43 of the fault matrix): a backlog stays small and does not multiply itself."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dispatch_celery import JobState
from dispatch_celery.store.embedded import EmbeddedServer
from dispatch_celery.store.replies import text
from dispatch_celery.store.scripts import Call
from tests.support.eventually import eventually
from tests.support.servers import ask_server
from tests.support.workers import Fleet, fleet

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

SLOW = """
import time

from tests.support.shop import dispatch


def pause(context, call_next):
    time.sleep(0.02)
    return call_next()


dispatch.add_middleware(pause)
"""
"""What a worker includes to take its time over each job; the jobs themselves stay small."""
FEW, MANY = 20_000, 100_000
BYTES_PER_JOB = 2_500
AGE = 600_000
"""Milliseconds the oldest job has waited: longer than any patience with a message that seems lost."""


@pytest.fixture
def shop(namespace: str, killable_server: EmbeddedServer, tmp_path: Path) -> Iterator[Fleet]:
    """Return a fleet on a server of its own that keeps no journal, which would count as memory of the jobs."""
    (tmp_path / "slowness.py").write_text(SLOW)
    with fleet(namespace, killable_server.url, tmp_path) as made:
        made.environment["DISPATCH_JOURNAL"] = "0"
        made.shop = made._fresh_app()
        yield made


def _memory(server: EmbeddedServer) -> int:
    (used,) = re.findall(r"^used_memory:(\d+)", text(ask_server(server, "INFO", "memory")), re.MULTILINE)
    return int(used)


def _messages(shop: Fleet) -> int:
    return shop.shop.dispatch._parts.publisher.waiting(shop.shop.QUEUE) or 0


def _enqueue_in_the_past(shop: Fleet, count: int, *, batches: int = 20) -> None:
    """Enqueue a backlog as it would look had it grown for minutes: each batch is younger than the one before."""
    parts = shop.shop.dispatch._parts
    seconds, _ = parts.store.execute([Call.command("TIME")])[0]
    oldest = int(seconds) * 1_000 - AGE
    try:
        for batch in range(batches):
            parts.time.now = oldest + batch * AGE // 2 // batches
            shop.shop.add.enqueue_many([(n,) for n in range(count // batches)])
    finally:
        parts.time.now = None


@pytest.mark.parametrize(
    "count", [pytest.param(FEW, id="few"), pytest.param(MANY, id="many", marks=pytest.mark.faults)]
)
def test_a_queued_small_job_takes_little_memory(count: int, shop: Fleet, killable_server: EmbeddedServer) -> None:
    """F-43: record, indexes and message of a waiting small job take at most 2.5 KB together."""
    shop.shop.add.enqueue(0)
    before = _memory(killable_server)

    shop.shop.add.enqueue_many([(n,) for n in range(count)])

    assert _messages(shop) == count + 1
    assert (_memory(killable_server) - before) / count <= BYTES_PER_JOB


def test_the_first_batch_on_a_new_server_is_published_once(shop: Fleet) -> None:
    """A server that does not know the script yet is no reason to publish a batch again."""
    parts = shop.shop.dispatch._parts

    shop.shop.add.enqueue_many([(n,) for n in range(500)])

    assert _messages(shop) == 500
    assert parts.store.execute([Call.command("ZCARD", parts.keys.marks)]) == [0]


@pytest.mark.parametrize(
    ("count", "seconds"),
    [
        pytest.param(FEW, 8, id="few", marks=pytest.mark.faults),
        pytest.param(MANY, 40, id="many", marks=pytest.mark.faults),
    ],
)
def test_a_backlog_does_not_multiply_itself(count: int, seconds: float, shop: Fleet) -> None:
    """F-43: while one slow worker leads, there are never more messages than 1.01 for each job that waits."""
    jobs = shop.shop.dispatch.jobs
    shop.shop.add.enqueue(0)
    _enqueue_in_the_past(shop, count)
    worker = shop.start("w1", "-c", "1", "-I", "slowness", PYTHONPATH=str(shop.folder))
    eventually(lambda: jobs.count()[JobState.COMPLETED] > 10, within=20, what="it works")
    until = time.monotonic() + seconds
    inflated: list[float] = []

    def time_is_up() -> bool:
        messages = _messages(shop)
        inflated.append(messages / jobs.count()[JobState.PENDING])
        return time.monotonic() > until

    eventually(time_is_up, within=seconds + 10, every=0.05)
    assert max(inflated) <= 1.01
    assert shop.shop.dispatch.workers.leader() is not None
    assert jobs.count()[JobState.PENDING] > count / 2
    assert "seem lost" not in worker.words
