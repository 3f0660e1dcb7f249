"""``celery -A app dispatch runs`` and ``explain`` as Celery finds them, beside real workers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dispatch_celery import RunState
from tests.support.eventually import eventually
from tests.support.flow_workers import APP, FlowFleet, flow_fleet
from tests.support.workers import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]


@pytest.fixture
def fleet(namespace: str, server_url: str, tmp_path: Path) -> Iterator[FlowFleet]:
    """Return a fleet in a namespace of its own, without workers yet."""
    with flow_fleet(namespace, server_url, tmp_path) as made:
        yield made


def call(fleet: FlowFleet, *words: str) -> str:
    """Call the command line as a shell does; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-m", "celery", "-A", fleet.app, "dispatch", *words],
        cwd=ROOT,
        env={**os.environ, **fleet.environment},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_run_is_started_explained_and_drawn_to_its_end(fleet: FlowFleet) -> None:
    """The holder is the real worker; what it has recorded is a row each; the step under way appears when it ends."""
    worker = fleet.start("w1")
    started = json.loads(call(fleet, "runs", "start", "flows.hold", "--arguments", '{"name": "h"}', "--json"))
    eventually(lambda: len(fleet.effects("h")) == 1)

    said = call(fleet, "explain", started["id"])
    (me,) = fleet.flows.dispatch.workers.list()
    assert f"is running: worker {me.name} ({me.id} on {me.hostname}, process " in said
    assert any(f"process {child}) holds it since" in said for child in worker.children())
    assert "the call after step mark#1, the last of 1 recorded call" in said
    assert f"celery -A {APP} dispatch runs cancel {started['id']}" in said
    drawn = call(fleet, "runs", "timeline", started["id"])
    assert f"It runs on {me.id}; the call it makes now is recorded when it ends." in drawn
    (row,) = [line for line in drawn.splitlines() if "mark#1" in line]
    assert {"step", "value", "1", me.id[-6:]} <= set(row.split())
    (fleet.folder / "go").touch()
    run = fleet.flows.holding.handle(started["id"])
    assert run.result(timeout=15) == "h-after"
    drawn = call(fleet, "runs", "timeline", started["id"], "--values")
    assert [line.split()[1] for line in drawn.splitlines() if line.startswith("step")] == ["mark#1", "hold#1", "mark#2"]
    assert '    "h-after"\n' in drawn
    assert "completed" in call(fleet, "explain", started["id"])


@pytest.mark.faults
def test_waiting_runs_are_explained_and_cancelled(fleet: FlowFleet) -> None:
    """A sleep with its end, a retry with the error that the real step has raised; a cancel ends the run at once."""
    worker = fleet.start("w1")
    asleep = fleet.flows.nap.start("n", 3_600)
    eventually(lambda: asleep.state() == RunState.WAITING)
    again = fleet.flows.retry.start("r", 9, long=True)
    eventually(lambda: again.state() == RunState.WAITING)
    worker.kill()

    assert "it waits for sleep#1: its end is due" in call(fleet, "explain", asleep.id)
    assert "it waits for step later#1, whose attempt 1 ended with ValueError: not yet: " in call(
        fleet, "explain", again.id
    )
    assert "    ValueError: not yet\n    attempt 2 is due 20" in call(fleet, "runs", "timeline", again.id)
    assert "it will not go on" in call(fleet, "runs", "cancel", again.id, "--reason", "enough")
    assert "was cancelled" in call(fleet, "explain", again.id)


@pytest.mark.faults
def test_a_run_whose_code_has_changed_is_parked_explained_and_resumed(fleet: FlowFleet) -> None:
    """Both sequences are shown; with the old code back, resume lets it go on to its end."""
    old = fleet.start("old", FLOWS_RELEASE="old")
    run = fleet.flows.change.start(1.0)
    eventually(lambda: run.state() == RunState.WAITING)
    old.terminate()
    new = fleet.start("new")
    eventually(lambda: run.state() == RunState.PARKED, within=20)

    said = call(fleet, "explain", run.id)
    assert "recorded: step mark#1, sleep sleep#1\ncode:     step check#1\n" in said
    assert "recorded: step mark#1" in call(fleet, "runs", "get", run.id)
    new.terminate()
    fleet.start("old-again", FLOWS_RELEASE="old")
    assert "is pending" in call(fleet, "runs", "resume", run.id)
    assert run.result(timeout=15) == "two"


@pytest.fixture
def families(namespace: str, server_url: str, tmp_path: Path) -> Iterator[FlowFleet]:
    """Return a fleet of the workflows that send jobs and child runs."""
    with flow_fleet(namespace, server_url, tmp_path, "tests.support.family_flows") as made:
        yield made


@pytest.mark.faults
def test_a_run_that_waits_for_a_child_is_followed_down_to_the_job(families: FlowFleet) -> None:
    """Each explanation names what to explain next; the timeline has the child's id, and undos under their heading."""
    families.start("w1")
    run = families.flows.waits.start()
    eventually(lambda: families.effects("held"), what="the job runs")
    eventually(lambda: run.state() == RunState.WAITING)

    (middle,) = families.flows.dispatch.runs.list(name="family.middle")
    (job,) = families.flows.dispatch.jobs.list(name="family.slow")
    said = call(families, "explain", run.id)
    assert f"it waits for child family.middle#1 ({middle.id} is waiting), for as long as that takes." in said
    assert f"dispatch explain {middle.id}` tells what it waits for." in said
    assert f"job family.slow#1 ({job.id} is running)" in call(families, "explain", middle.id)
    drawn = call(families, "runs", "timeline", run.id)
    assert f"    {middle.id}: waiting\n" in drawn
    assert "\nto be undone, the last effect first\nundo  undo:family.middle#1 open" in drawn
    members = json.loads(call(families, "runs", "timeline", run.id, "--json"))["members"]
    assert members["family.middle#1"]["id"] == middle.id
    run.cancel()
    eventually(lambda: run.state() == RunState.CANCELLED, within=20)
    assert f"    {middle.id}: cancelled: its run {run.id} " in call(families, "runs", "timeline", run.id)


def test_groups_are_drawn_with_their_members(families: FlowFleet) -> None:
    """A failed member tells its error, many are counted on one line."""
    families.start("w1")
    few, many = families.flows.collects.start(), families.flows.maps.start(30, 10)
    assert (few.result(timeout=15)[1], many.result(timeout=20)) == ("2 is even", 30)

    lines = call(families, "runs", "timeline", few.id, "--values").splitlines()
    below = lines[next(n for n, one in enumerate(lines) if one.startswith("map ")) :]
    assert below[0].split()[1:3] == ["map#1", "value"]
    assert [one.index("family.odd") - below[0].index("map#1") for one in below if "family.odd" in one] == [2, 2, 2]
    assert any(one.startswith("    job_") and one.endswith("Fail: 2 is even") for one in below)
    assert "    30 calls: 30 value " in call(families, "runs", "timeline", many.id)


@pytest.mark.faults
def test_a_run_is_given_its_event_as_its_explanation_says(namespace: str, server_url: str, tmp_path: Path) -> None:
    """Until when it waits, and the command; the event wakes it, sent to it alone or published under its key."""
    with flow_fleet(namespace, server_url, tmp_path, "tests.support.event_flows") as fleet:
        fleet.start("w1")
        one, other = fleet.flows.waits.start("a", 60), fleet.flows.waits.start("b")
        for run in (one, other):
            eventually(lambda run=run: run.state() == RunState.WAITING)

        said = call(fleet, "explain", one.id)
        assert "it waits for event order.approved#1 (order.approved under the key 'a'): its timeout is due 20" in said
        command = f"runs publish {one.id} order.approved --payload"
        assert f"dispatch {command} JSON` gives it the event" in said
        said = call(fleet, "explain", other.id)
        assert "order.approved#1 (order.approved under the key 'b'), for as long as that takes" in said
        assert "dispatch events publish order.approved --key b --payload JSON` all runs that wait under b" in said
        either = fleet.flows.either.start("c d")
        eventually(lambda: either.state() == RunState.WAITING)
        said = call(fleet, "explain", either.id)
        assert "(order.approved under the key 'c d', order.refused under the key 'c d'): its timeout" in said
        assert "events publish order.approved --key 'c d' --payload JSON`" in said
        assert "    waits; its timeout is due 20" in call(fleet, "runs", "timeline", one.id)
        call(fleet, *command.split(), '{"by": "ann"}')
        call(fleet, "events", "publish", "order.approved", "--key", "b", "--payload", '{"by": "bob"}')
        assert (one.result(timeout=10), other.result(timeout=10)) == ("ann", "bob")
