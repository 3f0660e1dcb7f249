"""A process is killed at every boundary of a run's steps (F-01, F-02): what is recorded stands, the rest goes on."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from dispatch_celery import RunState
from dispatch_celery.store.embedded import EmbeddedServer
from tests.support.boundary_flows import LEGS, WHERE
from tests.support.eventually import eventually
from tests.support.flow_workers import FlowFleet, flow_fleet
from tests.support.history import check_history

pytestmark = [pytest.mark.slow, pytest.mark.faults, pytest.mark.timeout(90)]

ALL = ("-c", str(LEGS))


@pytest.fixture
def fleet(namespace: str, server_url: str, tmp_path: Path) -> Iterator[FlowFleet]:
    """Return a fleet in a namespace of its own, without workers yet."""
    with flow_fleet(namespace, server_url, tmp_path, "tests.support.boundary_flows") as made:
        yield made


def _executions(fleet: FlowFleet, name: str) -> dict[str, int]:
    """Return how often each effect of a run was seen, by step and idempotency key."""
    words = [line.split(" ", 1)[0] for line in fleet.effects_file.read_text().splitlines()]
    return dict(Counter(word.removeprefix(f"{name}-") for word in words if word.startswith(f"{name}-")))


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("victim", ["pool process", "main process", "whole worker"])
def test_a_kill_at_a_boundary_repeats_the_step_at_hand_and_no_other(victim: str, where: str, fleet: FlowFleet) -> None:
    """F-01, F-02: five runs stop at one boundary of their first, second, ... step, and what holds them is killed."""
    worker = fleet.start("w1", *ALL)
    runs = {n: fleet.flows.forward.start(f"r{n}", f"{n}-{where}", 1) for n in range(1, LEGS + 1)}
    for n in runs:
        eventually(lambda n=n: fleet.effects(f"at-r{n}"), what=f"run {n} is there")
    if victim == "pool process":
        for n in runs:
            os.kill(fleet.effects(f"at-r{n}")[0], signal.SIGKILL)
    else:
        fleet.start("w2", *ALL)
        worker.kill() if victim == "whole worker" else os.kill(worker.pid, signal.SIGKILL)

    for n, run in runs.items():
        assert run.result(timeout=20) == [1, 4, 9, 16, 25]
        twice = {f"{n}-leg#{n}"} if where == "end" else set()
        seen = {f"{m}-leg#{m}": 1 for m in range(1, LEGS + 1)}
        assert _executions(fleet, f"r{n}") == {key: count + (key in twice) for key, count in seen.items()}
        info = run.info()
        assert (info.state, info.token) == (RunState.COMPLETED, 2)
    check_history(fleet)


@pytest.mark.parametrize("broker", ["of the state", "apart"])
def test_wake_ups_that_a_killed_worker_had_taken_are_published_again(
    broker: str, namespace: str, server_url: str, killable_server: EmbeddedServer, tmp_path: Path
) -> None:
    """F-02: runs that were ready and had not begun do not wait for the broker to miss their messages."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DISPATCH_REDIS_URL", killable_server.url)
        url = killable_server.url if broker == "of the state" else server_url
        with flow_fleet(namespace, url, tmp_path, "tests.support.boundary_flows") as fleet:
            worker = fleet.start("w1", "-c", "1")
            first = fleet.flows.forward.start("first", "1-begin", 1)
            eventually(lambda: fleet.effects("at-first"), what="the only process is busy")
            others = [fleet.flows.forward.start(f"other-{n}", "", 0) for n in range(3)]
            eventually(lambda: worker.words.count("] received") == 4, what="it has taken all messages")
            worker.kill()
            fleet.start("w2", "-c", "1")

            assert [run.result(timeout=20) for run in (first, *others)] == [[1, 4, 9, 16, 25]] * 4
            check_history(fleet)
