"""Defects of the Go package that only processes side by side can show: one worker for all of these, a second for one.

The numbers are those of the table "Defects that may not come back" in `docs/parity.md`.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from dispatch_celery import JobState, RunState
from tests.support.eventually import eventually
from tests.support.flow_workers import FlowFleet, flow_fleet

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("parity"), pytest.mark.timeout(60)]


@pytest.fixture(scope="module")
def fleet(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlowFleet]:
    """Return a fleet of one worker that the tests of this module share."""
    with flow_fleet(f"t{secrets.token_hex(4)}", server_url, tmp_path_factory.mktemp("parity")) as made:
        made.start("w1")
        yield made


def all_renewed(fleet: FlowFleet) -> None:
    """Wait until every worker has renewed its lease."""

    def leases() -> set[tuple[str, object]]:
        return {(worker.id, worker.lease_until) for worker in fleet.flows.dispatch.workers.list()}

    before = leases()
    eventually(lambda: before.isdisjoint(leases()), what="every lease is renewed")


def test_a_heartbeat_changes_no_record(fleet: FlowFleet) -> None:
    """Defect 2, a heartbeat wrote the job it had read before, and so reverted one that had completed meanwhile."""
    jobs = fleet.flows.dispatch.jobs
    job = fleet.shop.add.enqueue(2, 3)
    assert job.result(timeout=10) == 5
    ended = jobs.get(job.id)
    assert ended.state == JobState.COMPLETED

    all_renewed(fleet)
    assert jobs.get(job.id) == ended


def test_a_worker_that_starts_leaves_the_runs_of_others_alone(fleet: FlowFleet) -> None:
    """Defects 12 and 19, each process that started ran every live run again, and waited for those that slept.

    The newcomer works at once, while one run is held elsewhere and one sleeps for an hour.
    """
    flows = fleet.flows
    sleeping, held = flows.nap.start("sleeper", 3_600), flows.holding.start("held")
    eventually(lambda: fleet.effects("held") and sleeping.state() == RunState.WAITING, what="both are under way")

    newcomer = fleet.start("w2", "-c", "1", "-Q", f"{fleet.shop.QUEUE},{fleet.shop.QUEUE}-second")
    fleet.shop.touch.options(queue=f"{fleet.shop.QUEUE}-second").enqueue("welcome").result(timeout=10)

    assert set(fleet.effects("welcome")) <= set(newcomer.children())
    for _ in range(2):  # whoever takes something back does so with a renewal
        all_renewed(fleet)
    assert (held.state(), sleeping.state()) == (RunState.RUNNING, RunState.WAITING)
    (fleet.folder / "go").touch()
    assert held.result(timeout=10) == "held-after"
    names = ("sleeper-before", "held-before", "held", "held-after")
    assert [len(fleet.effects(name)) for name in names] == [1, 1, 1, 1]
    assert (held.info().token, held.info().crashes) == (1, 0)
