"""Networks that swallow, delay and cut: a worker behind a proxy that misbehaves (F-21 to F-23)."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from dispatch_celery import JobState
from dispatch_celery.store.embedded import EmbeddedServer
from tests.support.eventually import eventually
from tests.support.history import check_history
from tests.support.proxy import Proxy
from tests.support.workers import Fleet

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


@pytest.fixture
def proxy(killable_server: EmbeddedServer) -> Iterator[Proxy]:
    """Return a proxy in front of the test's server."""
    with Proxy(("127.0.0.1", killable_server.port)) as running:
        yield running


def _through(proxy: Proxy) -> dict[str, str]:
    """Return the environment of a worker that reaches the server through a proxy."""
    return {"SHOP_BROKER": f"redis://127.0.0.1:{proxy.port}/0", "DISPATCH_COMMAND_TIMEOUT": "1"}


def _for(seconds: float) -> None:
    until = time.monotonic() + seconds
    eventually(lambda: time.monotonic() > until, within=seconds + 5)


@pytest.mark.faults
def test_answers_that_never_arrive_double_nothing(doomed: Fleet, proxy: Proxy) -> None:
    """F-21: again and again an answer is cut after its command was applied, and nothing is applied twice."""
    worker = doomed.start("w1", "-c", "2", **_through(proxy))
    handles = doomed.shop.touch.enqueue_many([(f"a{n}",) for n in range(150)])
    for _ in range(15):
        proxy.set_mode("cut")
        _for(0.05)
        proxy.set_mode("pass")
        _for(0.15)

    def ended() -> bool:
        return doomed.shop.dispatch.jobs.count()[JobState.COMPLETED] == len(handles)

    eventually(ended, within=60, every=0.2, what="all have completed")
    assert proxy.cuts > 0
    assert worker.process.poll() is None
    assert {handle.info().attempt for handle in handles} == {1}
    check_history(doomed)


@pytest.mark.faults
def test_a_worker_in_a_black_hole_is_replaced_and_fenced(doomed: Fleet, proxy: Proxy) -> None:
    """F-22: a worker that nobody hears for longer than its lease loses its jobs, and finds out when it is back."""
    lost = doomed.start("lost", "-c", "2", **_through(proxy))
    handle = doomed.shop.hold.enqueue("n")
    eventually(lambda: doomed.effects("n"), what="it runs")
    doomed.start("other")
    proxy.set_mode("hole")
    (doomed.folder / "go").touch()
    try:
        assert handle.result(timeout=40) == "n"
    finally:
        proxy.set_mode("pass")

    eventually(lambda: lost.words.count("registered as") == 2, within=30, what="it registers anew")
    job = handle.info()
    assert (job.state, job.lost_workers) == (JobState.COMPLETED, 1)
    assert doomed.shop.add.enqueue(1).result(timeout=10) == 2
    check_history(doomed)


@pytest.mark.faults
def test_a_slow_network_that_resets_is_only_slow(doomed: Fleet, killable_server: EmbeddedServer) -> None:
    """F-23: latency and resets cost time and nothing else."""
    with Proxy(("127.0.0.1", killable_server.port), latency=0.005) as slow:
        worker = doomed.start("w1", "-c", "2", **_through(slow))
        handles = doomed.shop.touch.enqueue_many([(f"s{n}",) for n in range(60)])
        for _ in range(4):
            _for(0.7)
            slow.reset_all()

        assert len([handle.result(timeout=60) for handle in handles]) == 60
        assert worker.process.poll() is None
        check_history(doomed)
