"""The examples of workflows, run as a newcomer runs them: each brings its own server and its own workers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.workers import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


def demo(name: str, folder: Path, *arguments: str) -> str:
    """Run an example to its end, from anywhere; return what it prints."""
    own = {key: value for key, value in os.environ.items() if not key.startswith(("DISPATCH_", "CELERY_"))}
    ended = subprocess.run(
        [sys.executable, str(ROOT / "examples" / name / "run.py"), *arguments],
        cwd=folder,
        env={**own, "COLUMNS": "160"},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout[-6000:] + ended.stderr[-3000:]
    return ended.stdout


def rows(printed: str, first: str) -> list[list[str]]:
    """Return the cells of the table rows that begin with a word."""
    cells = [[cell.strip() for cell in line.strip("│ ").split("│")] for line in printed.splitlines() if "│" in line]
    return [row for row in cells if row[0].startswith(first)]


def test_every_order_ends_another_way_and_the_world_agrees(tmp_path: Path) -> None:
    """Shipped, refused, out of time, undone in reverse, and gone on after a kill -9: each with its timeline."""
    printed = demo("order_saga", tmp_path)

    said = {row[0]: row[2:] for row in rows(printed, "o-") if len(row) > 4}
    assert said == {
        "o-1": ["shipped as parcel-o-1", "12", "-1", "1", "1", "agrees"],
        "o-2": ["refused by Ada: too bright", "0", "0", "0", "0", "agrees"],
        "o-3": ["nobody decided in time", "0", "0", "0", "0", "agrees"],
        "o-4": ["the carrier takes no aquarium", "0", "0", "0", "0", "agrees"],
        "o-5": ["shipped as parcel-o-5", "900", "-1", "1", "1", "agrees"],
    }
    assert "o-4, as it was booked: money +80, stock -1, parcels +1, parcels -1, stock +1, money -80" in printed
    assert "o-5, asked for and booked once: money 1x, stock 2x" in printed
    assert printed.count("(orders.place, version 1): completed") == 3
    assert printed.count("(orders.place, version 1): failed") == 2
    assert printed.endswith("the world agrees\n")


def test_a_job_for_each_file_finds_what_a_direct_walk_finds(tmp_path: Path) -> None:
    """A worker killed half-way, each file one recorded job, equal digests."""
    printed = demo("fan_out", tmp_path, "--files", "400", "--max-parallel", "50")

    digests = {row[0]: row[1:] for name in ("files", "size", "lines", "sha256") for row in rows(printed, name)}
    assert digests["files"] == ["400", "400"]
    assert all(mapped == walked for mapped, walked in digests.values())
    assert "the run has recorded 1 step, 400 jobs, 1 map" in printed
    assert printed.endswith("\nequal\n")


def test_a_chat_is_told_of_every_dead_letter_and_nobody_waits_for_it(tmp_path: Path) -> None:
    """An extension in the background, a chat that is slow and refuses some posts: each dead letter is told once."""
    printed = demo("chat_alerts", tmp_path)

    assert printed.count("needs a person: order ") == 3
    assert "3 dead letters, 3 told" in printed
    assert printed.endswith("the chat agrees\n")


def test_each_tenant_has_its_own_database(tmp_path: Path) -> None:
    """A middleware as a transaction: what a failed attempt wrote is gone, and a job of nobody does not begin."""
    printed = demo("tenant_databases", tmp_path)

    assert "acme: a-1 by attempt 1, a-2 by attempt 3, a-3 by attempt 1" in printed
    assert "nobody: it belongs to no tenant" in printed
    assert printed.endswith("every database holds its own\n")


@pytest.mark.faults
def test_small_tenants_do_not_wait_behind_a_busy_one(tmp_path: Path) -> None:
    """Four at once in two workers, two of each tenant, in turns."""
    printed = demo("fair_tenants", tmp_path)

    assert {row[0]: row[1] for row in rows(printed, "") if len(row) == 4} == {
        "busy": "40",
        "small": "6",
        "tiny": "2",
    }
    assert printed.endswith("nobody had to wait\n")


@pytest.mark.faults
def test_dead_letters_are_put_right_by_cause(tmp_path: Path) -> None:
    """Three causes: one replayed at a rate, one with other arguments, one given up; each invoice goes out once."""
    printed = demo("triage", tmp_path)

    assert {row[0]: row[1] for row in rows(printed, "") if len(row) == 3} == {
        "dispatch_celery.jobs.outcome.Fail": "3",
        "app.BankClosed": "291",
        "ValueError": "6",
    }
    assert printed.endswith("each once, none lost\n")


@pytest.mark.faults
def test_no_second_is_missed_when_the_leader_is_killed(tmp_path: Path) -> None:
    """Every slot on record once, from before the kill to after it."""
    assert demo("night_watch", tmp_path).endswith("each once, none lost\n")
