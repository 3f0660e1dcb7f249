"""Runs with a crowd below them (F-40, F-41): members by the thousand while workers die, and families twenty deep."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from dispatch_celery import RunCancelled, RunState
from dispatch_celery.store.embedded import EmbeddedServer
from tests.support.eventually import eventually
from tests.support.flow_workers import FlowFleet, flow_fleet
from tests.support.history import check_history
from tests.support.invariants import Dump
from tests.support.proxy import Proxy
from tests.support.workers import Worker

pytestmark = [pytest.mark.slow, pytest.mark.faults, pytest.mark.timeout(120)]

MEMBERS = 1_000
KILLS = 4
DEPTH = 20


@pytest.fixture
def fleet(namespace: str, killable_server: EmbeddedServer, tmp_path: Path) -> Iterator[FlowFleet]:
    """Return a fleet in a namespace of its own, on a server of this test alone."""
    with flow_fleet(namespace, killable_server.url, tmp_path, "tests.support.many_flows") as made:
        yield made


def _words(fleet: FlowFleet) -> list[str]:
    if not fleet.effects_file.exists():
        return []
    return [line.split(" ", 1)[0] for line in fleet.effects_file.read_text().splitlines()]


def _start_behind(proxy: Proxy, fleet: FlowFleet, name: str) -> Worker:
    url = f"redis://127.0.0.1:{proxy.port}/0"
    return fleet.start(name, SHOP_BROKER=url, DISPATCH_REDIS_URL=url, DISPATCH_COMMAND_TIMEOUT="1")


def _cut_answers(proxy: Proxy) -> None:
    """Cut some answers of applied commands, so that who sent them sends them again."""
    enough = proxy.cuts + 8
    proxy.set_mode("cut")
    eventually(lambda: proxy.cuts >= enough, within=10, what="answers are cut")
    proxy.set_mode("pass")


def _at_work(fleet: FlowFleet, workers: list[Worker], after: int) -> Worker | None:
    """Return a worker that stays within a member; of the effects, those after some are looked at."""
    for line in fleet.effects_file.read_text().splitlines()[after:]:
        word, pid, _ = line.split(" ")
        if word.startswith("hunted-"):
            return next((worker for worker in workers if int(pid) in worker.children()), None)
    return None


def _while_killed_and_cut(proxy: Proxy, fleet: FlowFleet) -> None:
    """Kill one of two workers within a member, again and again, and cut answers in between."""
    workers = [_start_behind(proxy, fleet, name) for name in ("w1", "w2")]
    hunt = fleet.folder / "hunt"
    for n in range(KILLS):
        enough = MEMBERS * (n + 1) // (KILLS + 2)
        eventually(lambda enough=enough: len(_words(fleet)) >= enough, within=60, what=f"{enough} have run")
        before = len(_words(fleet))
        hunt.touch()
        victim = eventually(
            lambda before=before: _at_work(fleet, workers, before), within=30, what="a worker is within a member"
        )
        victim.kill()
        workers[workers.index(victim)] = _start_behind(proxy, fleet, f"w{n + 3}")
        hunt.unlink()
        _cut_answers(proxy)


def _check_members(fleet: FlowFleet, found: Dump, members: dict[str, dict[str, str]]) -> None:
    """Fail unless there is one member for each number, which ran, and no more often than it was claimed."""
    arguments = {json.loads(record["payload"])["n"]: record for record in members.values()}
    assert sorted(arguments) == list(range(MEMBERS))
    assert {record["state"] for record in members.values()} == {"completed"}
    seen = Counter(_words(fleet))
    for n, record in arguments.items():
        assert 1 <= seen[f"square-{n}"] <= int(record["token_number"])
    assert sum(int(record["token_number"]) for record in members.values()) >= MEMBERS + KILLS


@pytest.mark.parametrize("children", [False, True], ids=["jobs", "child runs"])
def test_a_thousand_members_are_joined_once(
    fleet: FlowFleet, killable_server: EmbeddedServer, *, children: bool
) -> None:
    """F-40: workers are killed and answers to outcomes cut; each member counts once, and results are in order."""
    with Proxy(("127.0.0.1", killable_server.port)) as proxy:
        run = fleet.flows.fans.start(MEMBERS, children=children)
        _while_killed_and_cut(proxy, fleet)
        assert run.result(timeout=60) == [n * n for n in range(MEMBERS)]

        found = check_history(fleet)
    members = {one: record for one, record in found.runs.items() if one != run.id} if children else found.jobs
    _check_members(fleet, found, members)
    joined = [entry for entry in found.journal if entry["id"] == run.id and entry["to"] in ("map#1", "completed")]
    assert [entry["to"] for entry in joined] == ["map#1", "completed"]


@pytest.mark.parametrize("killed", [False, True], ids=["cancelled", "cancelled and killed"])
def test_a_cancel_at_the_root_reaches_twenty_levels_down(fleet: FlowFleet, *, killed: bool) -> None:
    """F-41: every level ends as cancelled and is undone once, the deepest first, also when its worker is killed."""
    worker = fleet.start("w1")
    run = fleet.flows.nested.start(DEPTH - 1)
    runs = fleet.flows.dispatch.runs
    eventually(lambda: runs.count()[RunState.WAITING] == DEPTH, within=30, what="all levels rest")

    run.cancel(reason="enough")
    if killed:
        eventually(lambda: "forget-3" in _words(fleet), within=20, what="some levels are undone")
        fleet.start("w2", wait=False)
        worker.kill()
    with pytest.raises(RunCancelled, match="enough"):
        run.result(timeout=50)
    assert runs.count()[RunState.CANCELLED] == DEPTH
    undone = [word for word in _words(fleet) if word.startswith("forget")]
    if not killed:
        assert undone == [f"forget-{depth}" for depth in range(DEPTH)]
    assert list(dict.fromkeys(undone)) == [f"forget-{depth}" for depth in range(DEPTH)]
    assert len(undone) <= DEPTH + 1
    check_history(fleet)
