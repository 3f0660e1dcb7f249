"""The state server is killed, stopped, emptied of scripts, busy and full (F-15 to F-28 of the fault matrix)."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dispatch_celery import DispatchError, JobHandle, JobState, StoreUnavailable
from dispatch_celery.config import Settings
from dispatch_celery.store.client import RedisStore
from dispatch_celery.store.embedded import EmbeddedServer
from dispatch_celery.store.replies import ask
from dispatch_celery.store.scripts import Call
from tests.support.eventually import eventually
from tests.support.history import check_history
from tests.support.workers import Fleet, fleet

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


def _order(server: EmbeddedServer, *words: str) -> object:
    port = RedisStore(Settings(), server.url)
    try:
        return ask(port, Call.command(*words))
    finally:
        port.close()


class Load:
    """A caller that goes on enqueueing, and remembers what was acknowledged."""

    def __init__(self, shop: Fleet) -> None:
        self._shop = shop
        self.acknowledged: list[JobHandle[str]] = []
        self.refused = 0
        self._stop = threading.Event()

    def run(self) -> None:
        """Enqueue until told to stop."""
        n = 0
        while not self._stop.wait(0.01):
            n += 1
            try:
                self.acknowledged.append(self._shop.shop.touch.enqueue(f"load-{n}"))
            except StoreUnavailable:
                self.refused += 1

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run in a thread for the length of a block."""
        thread = threading.Thread(target=self.run, name="load")
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()

    def all_end(self, within: float) -> None:
        """Wait until every acknowledged job has completed."""

        def ended() -> bool:
            try:
                counts = self._shop.shop.dispatch.jobs.count()
            except DispatchError:
                return False
            return counts[JobState.COMPLETED] >= len(self.acknowledged) and not counts[JobState.RUNNING]

        eventually(ended, within=within, every=0.2, what="every acknowledged job has completed")
        states = {handle.state() for handle in self.acknowledged}
        assert states <= {JobState.COMPLETED}


@pytest.mark.parametrize("kills", [2, pytest.param(10, marks=pytest.mark.faults)])
def test_a_killed_server_loses_no_acknowledged_job(kills: int, doomed: Fleet, killable_server: EmbeddedServer) -> None:
    """F-15: the server is killed again and again under load; the worker lives, and every acknowledged job completes."""
    worker = doomed.start()
    load = Load(doomed)
    with load.running():
        for seed in range(kills):
            until = time.monotonic() + random.Random(seed).uniform(0.5, 1.5)
            eventually(lambda until=until: time.monotonic() > until, within=5)
            killable_server.kill()
            killable_server.restart()
        enough = len(load.acknowledged) + 20
        eventually(lambda: len(load.acknowledged) > enough, within=30, what="callers go on")

    load.all_end(within=40)
    assert worker.process.poll() is None
    check_history(doomed)


def test_a_server_that_is_away_is_an_error_and_not_a_hang(doomed: Fleet, killable_server: EmbeddedServer) -> None:
    """F-16: while the server is down callers get an error within the timeouts, and workers go on by themselves."""
    doomed.start()
    assert doomed.shop.add.enqueue(1).result(timeout=10) == 2
    killable_server.kill()
    started = time.monotonic()

    with pytest.raises(StoreUnavailable, match="does not answer"):
        doomed.shop.add.enqueue(2)
    assert time.monotonic() - started < 8
    killable_server.restart()

    def works() -> bool:
        try:
            return doomed.shop.add.enqueue(3).result(timeout=5) == 4
        except (StoreUnavailable, TimeoutError):
            return False

    eventually(works, within=30, what="the worker goes on")


@pytest.mark.faults
def test_a_server_that_is_away_for_half_a_minute(doomed: Fleet, killable_server: EmbeddedServer) -> None:
    """F-16: thirty seconds without a server: no false acknowledgement, no lost job, no worker that dies."""
    worker = doomed.start()
    load = Load(doomed)
    with load.running():
        eventually(lambda: len(load.acknowledged) > 50, within=20)
        killable_server.kill()
        gone = time.monotonic()
        eventually(lambda: time.monotonic() - gone > 30, within=35)
        killable_server.restart()
        before = len(load.acknowledged)
        eventually(lambda: len(load.acknowledged) > before + 20, within=30)

    load.all_end(within=60)
    assert worker.process.poll() is None
    check_history(doomed)


@pytest.mark.faults
def test_a_stopped_server_doubles_nothing(doomed: Fleet, killable_server: EmbeddedServer) -> None:
    """F-19: eight seconds in which connections stay open and nothing answers; then all goes on."""
    worker = doomed.start("w1", "-c", "2", DISPATCH_COMMAND_TIMEOUT="1")
    handles = doomed.shop.touch.enqueue_many([(f"s{n}",) for n in range(200)])
    eventually(lambda: doomed.effects("s5"), what="they run")
    killable_server.pause()
    stopped = time.monotonic()
    eventually(lambda: time.monotonic() - stopped > 8, within=12)
    killable_server.resume()

    def ended() -> bool:
        return doomed.shop.dispatch.jobs.count()[JobState.COMPLETED] == 200

    eventually(ended, within=40, every=0.2, what="all have completed")
    assert worker.process.poll() is None
    doubled = sum(len(doomed.effects(f"s{n}")) - 1 for n in range(200))
    assert doubled <= 4  # what ran when the server stopped may have run again; nothing else
    assert {handle.state() for handle in handles} == {JobState.COMPLETED}
    check_history(doomed)


def test_cut_connections_cost_nothing(doomed: Fleet, killable_server: EmbeddedServer) -> None:
    """F-20: every connection is cut every 100 ms for a while, and each job has its one effect or its recovery."""
    doomed.start()
    load = Load(doomed)
    with load.running():
        for _ in range(30):
            until = time.monotonic() + 0.1
            eventually(lambda until=until: time.monotonic() > until, within=1)
            _order(killable_server, "CLIENT", "KILL", "SKIPME", "yes", "TYPE", "normal")

    load.all_end(within=40)
    check_history(doomed)


def test_flushed_scripts_are_no_error(doomed: Fleet, killable_server: EmbeddedServer) -> None:
    """F-26: the script cache is emptied all the time, and nobody notices."""
    doomed.start()
    load = Load(doomed)
    with load.running():
        for _ in range(40):
            until = time.monotonic() + 0.05
            eventually(lambda until=until: time.monotonic() > until, within=1)
            _order(killable_server, "SCRIPT", "FLUSH", "SYNC")

    assert load.refused == 0
    load.all_end(within=30)
    check_history(doomed)


def test_a_busy_server_fails_no_job(doomed: Fleet, killable_server: EmbeddedServer) -> None:
    """F-27: a foreign script blocks the server until it answers BUSY; jobs wait, and none fails."""
    doomed.start("w1", "-c", "2", DISPATCH_COMMAND_TIMEOUT="1")
    _order(killable_server, "CONFIG", "SET", "busy-reply-threshold", "500")
    handles = doomed.shop.touch.enqueue_many([(f"b{n}",) for n in range(100)])
    script = "local t=redis.call('TIME')[1]; while redis.call('TIME')[1]-t < 4 do end; return 1"
    blocker = threading.Thread(target=_order, args=(killable_server, "EVAL", script, "0"), daemon=True)
    blocker.start()

    def ended() -> bool:
        try:
            return doomed.shop.dispatch.jobs.count()[JobState.COMPLETED] == 100
        except StoreUnavailable:
            return False

    eventually(ended, within=40, every=0.2, what="all have completed")
    assert {handle.info().attempt for handle in handles} == {1}
    blocker.join(timeout=20)
    check_history(doomed)


def test_a_full_server_refuses_new_jobs_and_ends_old_ones(doomed: Fleet, killable_server: EmbeddedServer) -> None:
    """F-28: without memory callers are told "not now", running jobs still record their end, and all goes on."""
    doomed.start()
    handles = doomed.shop.nap.enqueue_many([(f"m{n}", 1.0) for n in range(2)])
    eventually(lambda: doomed.effects("m0") and doomed.effects("m1"), what="both run")
    _order(killable_server, "CONFIG", "SET", "maxmemory", "1mb")
    try:
        with pytest.raises(StoreUnavailable, match="maxmemory"):
            doomed.shop.touch.enqueue("too much")
        assert [handle.result(timeout=15) for handle in handles] == ["m0", "m1"]
    finally:
        _order(killable_server, "CONFIG", "SET", "maxmemory", "0")

    assert doomed.shop.touch.enqueue("again").result(timeout=20) == "again"
    assert doomed.effects("too much") == []
    check_history(doomed)


def test_a_worker_that_waits_for_its_server_can_be_stopped(namespace: str, tmp_path: Path) -> None:
    """A deploy during an outage: SIGTERM ends a worker that has not got as far as to register."""
    with fleet(namespace, "redis://127.0.0.1:1/0", tmp_path) as made:
        worker = made.start(wait=False)
        eventually(lambda: "waits for the state server" in worker.words, within=30, what="it waits")

        assert worker.terminate(within=20) == 0
