"""The state server comes back without its last second (F-17, F-18): what is left is consistent, and all of it ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dispatch_celery import DispatchError, RunNotFound, RunState
from dispatch_celery.store.embedded import EmbeddedServer
from dispatch_celery.workflows.handle import RunHandle
from tests.support.eventually import eventually
from tests.support.flow_workers import FlowFleet, flow_fleet
from tests.support.history import check_history
from tests.support.invariants import Dump
from tests.support.rollback import copy_of, roll_back

pytestmark = [pytest.mark.slow, pytest.mark.faults, pytest.mark.timeout(120)]


@pytest.fixture
def state() -> Iterator[EmbeddedServer]:
    """Return the server that loses its last second."""
    with EmbeddedServer() as running:
        yield running


@pytest.fixture(params=["one server", "a broker apart"])
def fleet(
    request: pytest.FixtureRequest, namespace: str, state: EmbeddedServer, server_url: str, tmp_path: Path
) -> Iterator[FlowFleet]:
    """Return a fleet whose messages are lost with the state, or are not."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DISPATCH_REDIS_URL", state.url)
        broker = state.url if request.param == "one server" else server_url
        with flow_fleet(namespace, broker, tmp_path, "tests.support.order_flows") as made:
            yield made


class Orders:
    """A caller that goes on starting runs, of which every third fails, and paying for every second."""

    def __init__(self, fleet: FlowFleet) -> None:
        self._fleet = fleet
        self._stop = threading.Event()
        self.acknowledged: list[RunHandle[list[str]]] = []

    def _run(self) -> None:
        flows = self._fleet.flows
        n = 0
        while not self._stop.wait(0.04):
            n += 1
            try:
                self.acknowledged.append(flows.order.start(f"o{n}", fails=n % 3 == 0))
                if n % 2:
                    flows.dispatch.events.publish(flows.paid, "ann", key=f"o{n}")
            except DispatchError:
                continue

    @contextmanager
    def coming_in(self) -> Iterator[None]:
        """Go on in a thread for the length of a block."""
        thread = threading.Thread(target=self._run, name="orders")
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()

    def more(self, count: int) -> int:
        """Wait for so many more; return how many there are."""
        enough = len(self.acknowledged) + count
        eventually(lambda: len(self.acknowledged) >= enough, within=30, what=f"{count} more orders")
        return len(self.acknowledged)


def _lose_a_second(fleet: FlowFleet, state: EmbeddedServer, orders: Orders, *, with_workers: bool) -> tuple[int, int]:
    """Roll the server back under load; return how many orders came before that second, and how many by its end."""
    workers = [fleet.start(name) for name in ("w1", "w2")]
    with orders.coming_in():
        kept = orders.more(40)
        copy, since = copy_of(state, fleet.folder), time.monotonic()
        eventually(lambda: time.monotonic() > since + 1.0, within=5)
        if with_workers:
            for worker in workers:
                worker.kill()
        roll_back(state, copy)
        lost = len(orders.acknowledged)
        if with_workers:
            workers = [fleet.start(name, wait=False) for name in ("w3", "w4")]
        orders.more(20)
    eventually(
        lambda: any("reconciled with the state server" in worker.words for worker in workers),
        within=30,
        what="the leader has looked at every record",
    )
    assert all(worker.process.poll() is None for worker in workers)
    return kept, lost


def _ends(found: Dump, orders: Orders) -> dict[str, str]:
    """Return how each acknowledged order ended; empty for one that is gone."""
    return {handle.id: found.runs.get(handle.id, {}).get("state", "") for handle in orders.acknowledged}


def _check_effects(fleet: FlowFleet, found: Dump, orders: Orders) -> None:
    """Fail unless what is completed was done, and what has failed was done and undone."""
    last: dict[str, str] = {}
    for line in fleet.effects_file.read_text().splitlines():
        what, _, which = line.split(" ", 1)[0].partition("-")
        last[which] = what
    for handle in orders.acknowledged:
        record = found.runs.get(handle.id)
        if record is None:
            continue
        name = handle.info().arguments["name"]
        fails = int(name[1:]) % 3 == 0
        assert record["state"] == ("failed" if fails else "completed")
        expected = "unbook" if fails else "book"
        assert {last.get(f"{name}-{which}") for which in ("first", "part", "last")} == {expected}, (name, record)


@pytest.mark.parametrize("with_workers", [False, True], ids=["workers alive", "workers killed"])
def test_a_server_that_loses_its_last_second_leaves_consistent_runs(
    fleet: FlowFleet, state: EmbeddedServer, *, with_workers: bool
) -> None:
    """F-17, F-18: what came before that second or after it ends as its code says; what came within it may be gone."""
    orders = Orders(fleet)
    kept, lost = _lose_a_second(fleet, state, orders, with_workers=with_workers)

    found = check_history(fleet, one_history=False, within=40)
    ends = list(_ends(found, orders).values())
    assert "" not in ends[:kept]
    assert "" not in ends[lost:]
    assert ends[kept:lost].count("") > 0  # otherwise nothing was lost, and nothing was tried
    _check_effects(fleet, found, orders)
    gone = next(handle for handle, end in zip(orders.acknowledged, ends, strict=True) if not end)
    with pytest.raises(RunNotFound):
        gone.state()
    assert fleet.flows.order.start("again", fails=False).result(timeout=20)[0] == "again"
    assert fleet.flows.dispatch.runs.count()[RunState.PARKED] == 0
