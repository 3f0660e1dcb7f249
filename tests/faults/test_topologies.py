"""Where the state may live: a cluster of three masters, a server behind a Sentinel, a server that is not fit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dispatch_celery import JobFailed
from dispatch_celery.store.embedded import EmbeddedServer
from tests.support.cluster import cluster_of_three, sentinel_beside
from tests.support.eventually import eventually
from tests.support.history import check_history
from tests.support.workers import Fleet, fleet

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """Return the URL of a cluster of three masters."""
    with cluster_of_three() as url:
        yield url


def _a_day(shop: Fleet) -> None:
    """Put a fleet through an ordinary day."""
    worker = shop.start("w1")
    jobs = shop.shop
    assert jobs.add.enqueue(1).result(timeout=15) == 2
    assert jobs.flaky.enqueue("f", 1).result(timeout=15) == 2
    with pytest.raises(JobFailed):
        jobs.flaky.enqueue("g", 3).result(timeout=15)
    assert jobs.dispatch.dlq.replay_all()[0].result(timeout=15) >= 1
    assert [handle.result(timeout=20) for handle in jobs.add.enqueue_many([(n,) for n in range(50)])][-1] == 50
    assert jobs.dispatch.jobs.run_now(jobs.add.options(delay=60).enqueue(5).id) == "pending"
    handle = jobs.hold.enqueue("n")
    eventually(lambda: shop.effects("n"), what="it runs")
    shop.start("w2")
    worker.kill()
    (shop.folder / "go").touch()
    assert handle.result(timeout=25) == "n"
    check_history(shop)


@pytest.mark.faults
def test_the_state_lives_on_a_cluster(cluster: str, namespace: str, server_url: str, tmp_path: Path) -> None:
    """Three masters hold the state, another server is the broker, and everything works as on one."""
    with fleet(namespace, server_url, tmp_path, state=cluster) as shop:
        _a_day(shop)


def test_a_sentinel_url_finds_its_server(namespace: str, server_url: str, tmp_path: Path) -> None:
    """A Sentinel names the server that holds the state."""
    with (
        EmbeddedServer(append_only=False) as server,
        sentinel_beside(server, tmp_path) as url,
        fleet(namespace, server_url, tmp_path, state=url) as shop,
    ):
        _a_day(shop)


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"), "maxmemory-policy: it is allkeys-lru"),
        (("--maxmemory", "100mb", "--maxmemory-policy", "volatile-ttl"), "maxmemory-policy: it is volatile-ttl"),
    ],
)
def test_a_worker_refuses_a_server_that_evicts(
    option: tuple[str, ...], words: str, namespace: str, tmp_path: Path
) -> None:
    """F-29: under any eviction policy but noeviction a worker does not start, and says which setting to change."""
    with EmbeddedServer(append_only=False, options=option) as server, fleet(namespace, server.url, tmp_path) as shop:
        worker = shop.start("w1", wait=False)
        assert worker.process.wait(timeout=30) != 0
        assert words in worker.words
        assert "noeviction" in worker.words


def test_a_worker_warns_of_a_server_that_forgets(namespace: str, tmp_path: Path) -> None:
    """F-29: without an append-only file a worker starts, and warns with the setting's name."""
    with EmbeddedServer(append_only=False) as server, fleet(namespace, server.url, tmp_path) as shop:
        worker = shop.start("w1")
        assert "appendonly: it is off" in worker.words


@pytest.mark.faults
def test_a_worker_with_a_wrong_clock_is_no_trouble(shop_ahead: Fleet) -> None:
    """F-32: leases and timers follow the server; a worker's own clock decides nothing."""
    assert shop_ahead.shop.add.options(delay=0.5).enqueue(1).result(timeout=15) == 2
    assert shop_ahead.shop.flaky.enqueue("f", 1).result(timeout=15) == 2


@pytest.fixture
def shop_ahead(namespace: str, server_url: str, tmp_path: Path) -> Iterator[Fleet]:
    """Return a fleet whose worker's wall clock is an hour ahead."""
    (tmp_path / "sitecustomize.py").write_text(
        "import time\n_real = time.time\n_ns = time.time_ns\n"
        "time.time = lambda: _real() + 3600\ntime.time_ns = lambda: _ns() + 3600 * 10**9\n"
    )
    with fleet(namespace, server_url, tmp_path) as made:
        made.start("ahead", "-c", "2", PYTHONPATH=str(tmp_path))
        yield made
