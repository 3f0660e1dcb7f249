"""Plain Celery workers on our transport through the end of Redis, of connections, and of workers."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from dispatch_celery.store.embedded import EmbeddedServer
from tests.integration.transport.rig import Yard, kill
from tests.support.eventually import eventually


def some(quick: list[tuple[str, str]]) -> list[Any]:
    """Return every pool with every kind of task; all but a few are slow tests."""
    pairs = [(pool, task) for pool in ("prefork", "threads", "solo", "gevent") for task in ("early", "late")]
    return [pytest.param(*pair, marks=[] if pair in quick else [pytest.mark.slow]) for pair in pairs]


@pytest.fixture
def yard(killable_server: EmbeddedServer, tmp_path: Path) -> Iterator[Yard]:
    """Return a yard on a server that may be killed, without workers yet."""
    made = Yard(killable_server, tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize(("pool", "task"), some([("prefork", "late")]))
def test_a_worker_survives_the_end_of_redis_under_load(yard: Yard, pool: str, task: str) -> None:
    """Nothing is lost, nothing runs twice, what was running is acknowledged, and the rest is worked off."""
    numbers = range(80)
    yard.send(task, numbers, 0.03)
    worker = yard.start(pool=pool)
    eventually(lambda: len(yard.count("end")) > 10)
    yard.server.kill()
    yard.server.restart()

    eventually(lambda: len(yard.count("end")) == len(numbers), within=30)
    assert set(yard.count("start").values()) == {1}
    eventually(lambda: yard.in_flight() == 0, what="all acknowledged")
    assert worker.poll() is None


@pytest.mark.parametrize(("pool", "task"), some([("prefork", "early")]))
def test_cut_connections_run_nothing_twice(yard: Yard, pool: str, task: str) -> None:
    """CLIENT KILL of all connections, again and again, while short tasks pass through."""
    numbers = range(1500)
    yard.send(task, numbers, 0.001)
    worker = yard.start(pool=pool)
    for goal in range(100, 1400, 300):
        eventually(lambda goal=goal: len(yard.count("end")) > goal, within=20)
        for client in yard.client.client_list():
            if int(client["id"]) != yard.client.client_id():
                yard.client.client_kill_filter(_id=client["id"])

    eventually(lambda: len(yard.count("end")) == len(numbers), within=30)
    assert set(yard.count("start").values()) == {1}
    eventually(lambda: yard.in_flight() == 0, what="all acknowledged")
    assert worker.poll() is None


@pytest.mark.parametrize("kills", [2, pytest.param(15, marks=[pytest.mark.faults, pytest.mark.timeout(180)])])
@pytest.mark.faults
def test_a_killed_worker_loses_nothing(yard: Yard, kills: int) -> None:
    """After ``kill -9`` at any instant each message is in its list, or in ``unacked``, or has run."""
    numbers = range(2500)
    yard.send("late", numbers)
    for _ in range(kills):
        worker = yard.start()
        goal = len(yard.count("end")) + random.randrange(1, 80)
        eventually(lambda goal=goal: len(yard.count("end")) >= goal, within=20)
        kill(worker)
        waiting = yard.queued() + yard.in_flight()
        assert waiting + len(yard.count("start")) >= len(numbers)

    for tag in yard.client.zrange("unacked_index", 0, -1):
        yard.client.zadd("unacked_index", {tag: 1})
    yard.start()
    eventually(lambda: len(yard.count("end")) == len(numbers), within=30)
    eventually(lambda: yard.in_flight() == 0)


@pytest.mark.faults
@pytest.mark.slow
def test_a_silent_server_is_noticed(yard: Yard) -> None:
    """Redis stops without closing a connection (SIGSTOP): the worker goes on when it is back, however long it was."""
    # Without heartbeats: Celery sends those synchronously, and waits for the broker in a loop of its own.
    worker = yard.start("--without-heartbeat", options={"socket_timeout": 1})
    yard.send("late", range(5))
    eventually(lambda: len(yard.count("end")) == 5)
    yard.server.pause()
    eventually(lambda: "Trying again" in yard.log("w0").read_text(), within=20)
    yard.server.resume()

    yard.send("late", range(5, 10))
    eventually(lambda: len(yard.count("end")) == 10, within=30)
    assert worker.poll() is None


@pytest.mark.faults
@pytest.mark.slow
@pytest.mark.parametrize("pool", ["prefork", "solo"])
def test_a_long_task_is_not_repeated(yard: Yard, pool: str) -> None:
    """Its worker lives, so its score is kept fresh: neither it nor another worker takes it for abandoned."""
    quick = {"visibility_timeout": 3, "unacked_restore_interval": 1, "unacked_restore_throttle": 1}
    yard.start(pool=pool, size=1, options=quick)
    yard.send("late", range(1), 7.0)
    eventually(lambda: yard.count("start")[0] == 1)
    yard.start(pool=pool, size=1, options=quick)

    eventually(lambda: yard.count("end")[0] == 1, within=20)
    assert yard.count("start") == {0: 1}
    eventually(lambda: yard.in_flight() == 0)


def test_the_server_may_refuse_for_a_while(yard: Yard) -> None:
    """A server that is out of memory or cannot save refuses writes; the worker waits and goes on."""
    worker = yard.start()
    admin = redis.Redis(port=yard.server.port)
    yard.send("early", range(20))
    admin.config_set("maxmemory", 1)
    eventually(lambda: len(yard.count("end")) > 0, within=20)
    admin.config_set("maxmemory", 0)

    eventually(lambda: len(yard.count("end")) == 20, within=20)
    assert worker.poll() is None
    admin.close()
