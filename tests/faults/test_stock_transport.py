"""Other wirings than the suite's own: kombu's Redis transport as it is, and brokers and states by other URLs."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from celery import chain, chord, group

from dispatch_celery import JobFailed, JobId, JobState
from dispatch_celery.store.embedded import EmbeddedServer
from dispatch_celery.store.replies import text
from dispatch_celery.transport import install, installed, uninstall
from tests.support.cluster import sentinel_beside
from tests.support.eventually import eventually
from tests.support.history import check_history
from tests.support.rabbitmq import publish
from tests.support.servers import ask_server, make_certificates, server_with_tls, tls_server
from tests.support.workers import Fleet, fleet

pytestmark = [pytest.mark.slow, pytest.mark.faults, pytest.mark.timeout(120)]

POOLS = {"prefork": ("-c", "2"), "threads": ("-P", "threads", "-c", "2"), "solo": ("-P", "solo")}


@pytest.fixture
def stock(
    namespace: str, killable_server: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Fleet]:
    """Return a fleet on kombu's own transport, callers and workers, on a server of its own."""
    with _transport("stock", monkeypatch), fleet(namespace, killable_server.url, tmp_path) as made:
        yield made


@contextmanager
def _transport(which: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Use kombu's transport or ours, in workers and in this process, for the length of a block."""
    monkeypatch.setenv("DISPATCH_TRANSPORT", str(int(which == "ours")))
    before = installed()
    uninstall()
    try:
        yield
    finally:
        (install if before else uninstall)()


def _pops(server: EmbeddedServer) -> bool:
    """Return whether a worker waits in BRPOP, as kombu's transport does and ours never."""
    return "cmd=brpop" in text(ask_server(server, "CLIENT", "LIST"))


@pytest.mark.parametrize("pool", POOLS)
def test_a_jobs_life_is_the_same_on_the_stock_transport(
    pool: str, stock: Fleet, killable_server: EmbeddedServer
) -> None:
    """Values, retries, failures, delays, bulk and plain tasks end as on ours, in every pool."""
    worker = stock.start("w1", *POOLS[pool])
    jobs = stock.shop
    eventually(lambda: _pops(killable_server), what="the worker waits as kombu's transport does")
    assert not installed()

    assert jobs.add.enqueue(2, b=5).result(timeout=10) == 7
    assert jobs.aadd.enqueue(4).result(timeout=10) == 5
    assert jobs.flaky.enqueue("f", 2).result(timeout=10) == 3
    with pytest.raises(JobFailed, match="attempt 3 fails"):
        jobs.flaky.enqueue("g", 9).result(timeout=10)
    assert jobs.end.enqueue("retry after").result(timeout=10) == "attempt 2, claim 2"
    assert jobs.end.enqueue("snooze").result(timeout=10) == "attempt 1, claim 5"
    assert jobs.add.options(delay=0.3, priority=5).enqueue(1).result(timeout=10) == 2
    handles = jobs.add.enqueue_many([(n,) for n in range(300)])
    assert [handle.result(timeout=20) for handle in handles] == list(range(1, 301))
    assert jobs.plain.delay(3).id
    eventually(lambda: stock.effects("plain-3"), what="a plain task runs beside them")
    assert worker.process.poll() is None
    check_history(stock)


def test_celerys_verbs_work_on_the_stock_transport(stock: Fleet) -> None:
    """Chains, groups, chords and adopted calls have their results."""
    stock.start()
    jobs, app = stock.shop, stock.shop.app

    assert chain(jobs.add.s(1, 2), jobs.add.s(10)).apply_async().get(timeout=10) == 13
    assert group(jobs.add.s(n, n) for n in range(4)).apply_async().get(timeout=10) == [0, 2, 4, 6]
    assert chord([jobs.add.s(n, n) for n in range(3)], jobs.total.s()).apply_async().get(timeout=20) == 6
    assert app.send_task("shop.add", args=["5"], kwargs={"b": 6}).get(timeout=10) == 11
    check_history(stock)


def test_a_killed_worker_loses_nothing_on_the_stock_transport(stock: Fleet) -> None:
    """What it ran and what it had taken from the queue runs elsewhere, long before the visibility timeout."""
    first = stock.start("w1")
    held = stock.shop.hold.enqueue_many([(f"h{n}",) for n in range(2)])
    eventually(lambda: stock.effects("h0") and stock.effects("h1"), what="both processes are busy")
    queued = stock.shop.touch.enqueue_many([(f"q{n}",) for n in range(30)])
    eventually(lambda: "shop.touch[job_" in first.words, what="it has taken some of them")
    first.kill()
    (stock.folder / "go").touch()
    stock.start("w2")

    assert [handle.result(timeout=30) for handle in held] == ["h0", "h1"]
    assert [handle.result(timeout=30) for handle in queued] == [f"q{n}" for n in range(30)]
    assert {handle.info().lost_workers for handle in held} == {1}
    assert {len(stock.effects(f"q{n}")) for n in range(30)} == {1}
    check_history(stock)


# -- both


@pytest.fixture(params=["ours", "stock"])
def transport(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Use each transport in turn."""
    with _transport(request.param, monkeypatch):
        yield request.param


@pytest.mark.parametrize(
    "malformed",
    [
        pytest.param({"body": []}, id="an empty list"),
        pytest.param({"body": None}, id="null"),
        pytest.param({"body": [[], {}, {}], "timelimit": 3}, id="a time limit that is no pair"),
    ],
)
def test_a_wake_up_celery_cannot_read_ends_no_worker(
    malformed: dict[str, Any], transport: str, namespace: str, killable_server: EmbeddedServer, tmp_path: Path
) -> None:
    """F-52, F-53: with our header and a body or a limit that is none, a message is a dead letter like any other."""
    with fleet(namespace, killable_server.url, tmp_path) as shop:
        worker, queue = shop.start("w1", "-c", "1"), shop.shop.QUEUE
        publish(killable_server.url, queue, **malformed, dispatch=f"{JobId.mint()} {queue}:0")

        eventually(lambda: shop.shop.dispatch.dlq.count() or worker.process.poll() is not None, what="it was read")
        assert worker.process.poll() is None
        assert shop.shop.add.enqueue(1).result(timeout=10) == 2
        assert shop.shop.dispatch.dlq.count() == 1


# -- other URLs


def _a_day(shop: Fleet, *arguments: str, **environment: str) -> None:
    """Put jobs through real workers: results, a retry, a timer, a plain call to adopt, and a worker that is killed."""
    worker = shop.start("w1", "-c", "2", *arguments, **environment)
    jobs = shop.shop
    assert jobs.add.enqueue(1).result(timeout=15) == 2
    assert jobs.flaky.enqueue("f", 1).result(timeout=15) == 2
    assert jobs.add.options(delay=0.2).enqueue(2).result(timeout=15) == 3
    assert jobs.app.send_task("shop.add", args=[5, 6]).get(timeout=15) == 11
    handle = jobs.hold.enqueue("n")
    eventually(lambda: shop.effects("n"), what="it runs")
    worker.kill()
    (shop.folder / "go").touch()
    shop.start("w2", "-c", "2", *arguments, **environment)
    assert handle.result(timeout=25) == "n"
    assert jobs.dispatch.jobs.count()[JobState.COMPLETED] == 5
    check_history(shop)


@pytest.mark.usefixtures("transport")
def test_broker_and_state_may_be_behind_a_sentinel(
    namespace: str, killable_server: EmbeddedServer, tmp_path: Path
) -> None:
    """A Sentinel names the server that is both, when the master's name stands in Celery's transport options."""
    options = {"master_name": "shop"}
    (tmp_path / "wiring.py").write_text(
        f"from tests.support.shop import app\n\napp.conf.broker_transport_options = {options}\n"
    )
    with sentinel_beside(killable_server, tmp_path) as url, fleet(namespace, url.partition("?")[0], tmp_path) as shop:
        shop.shop.app.conf.broker_transport_options = options
        _a_day(shop, "-I", "wiring", PYTHONPATH=str(tmp_path))


@pytest.mark.usefixtures("transport")
def test_broker_and_state_may_speak_tls(namespace: str, tmp_path: Path) -> None:
    """A ``rediss://`` URL with the authority in it serves callers and workers."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl on PATH")
    certificates = make_certificates(tmp_path)
    binary = server_with_tls(certificates)
    if binary is None:
        pytest.skip("no redis-server or valkey-server with TLS on PATH; the bundled one is built without")
    with tls_server(binary, certificates) as (_, port):
        url = f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={certificates.authority}&ssl_cert_reqs=required"
        with fleet(namespace, url, tmp_path) as shop:
            _a_day(shop)


@pytest.mark.usefixtures("transport")
def test_the_state_may_be_behind_a_socket(namespace: str, server_url: str, tmp_path: Path) -> None:
    """A ``unix://`` URL serves for the state, with the broker elsewhere."""
    path = tmp_path / "state.sock"
    with (
        EmbeddedServer(append_only=False, options=("--unixsocket", str(path))),
        fleet(namespace, server_url, tmp_path, state=f"unix://{path}") as shop,
    ):
        _a_day(shop)
