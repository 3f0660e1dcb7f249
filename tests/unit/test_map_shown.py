"""How far a map has come, as people are told of it: one figure in a timeline, an explanation, and a run's progress."""

from __future__ import annotations

from dataclasses import replace

from dispatch_celery import PromiseRecord, RunState
from dispatch_celery.cli.explaining_runs import explain_run
from dispatch_celery.cli.phrases import Member, step_of
from tests.unit.test_explain_runs import WAITING, waits_for
from tests.unit.test_timeline import at, call, drawn, row, run

HERE = "task#1/map#1"


def members(done: int, left: int, *, group: str = "map#1", total: int | None = 1_000) -> list[PromiseRecord]:
    """Return the jobs of a map that were sent so far; the first says how many there will be."""
    made = [call(f"{group}/resize#{n}", "job", resolved_at=at(n / 100)) for n in range(done)]
    made += [call(f"{group}/resize#{n}", "job", "open") for n in range(done, done + left)]
    if total is not None:
        made[0] = call(made[0].identity, "job", made[0].status, resolved_at=made[0].resolved_at, total=total)
    return made


def test_a_timeline_says_how_many_of_all_have_ended() -> None:
    """Also of those that were not sent yet; the bar is of all."""
    lines = drawn(members(340, 50), width=100)
    (words,) = [line for line in lines if "have ended" in line]

    assert words.strip().startswith("340 of 1,000 have ended; 390 calls: 340 value, 50 open ")
    assert words.count("█") * 2 < words.count("░")


def test_few_members_have_rows_and_their_map_the_figure() -> None:
    """It is left out when the map is over, where it is not recorded, and for gathers."""
    lines = drawn(members(2, 3, total=9))
    assert lines[lines.index(row(lines, " map#1")) + 1] == "    2 of 9 have ended"

    over = [*members(3, 0, total=3), call("map#1", "map", resolved_at=at(5), value=-1)]
    for promises in (over, members(2, 3, total=None), members(2, 3, group="gather#1", total=None)):
        assert not any("have ended" in line and " of " in line for line in drawn(promises))


def test_calls_of_tasks_stand_by_themselves_and_groups_of_tasks_below_them() -> None:
    """A task is no group: nothing is recorded of it."""
    lines = drawn([call("task#1/mark#1", resolved_at=at(1)), *members(1, 1, group=HERE, total=None)])

    assert row(lines, "task#1/mark#1").split()[:3] == ["step", "task#1/mark#1", "value"]
    assert row(lines, HERE).split()[:3] == ["map", HERE, "open"]
    assert row(lines, "  resize#1").split()[:3] == ["job", "resize#1", "open"]


def test_an_explanation_says_how_far_a_map_has_come() -> None:
    """Instead of how many were sent so far; also of a map within a task."""
    for group in ("map#1", HERE):
        promises = members(340, 50, group=group)
        known = {one.identity: Member(id="job_1", state="pending") for one in promises}
        found = explain_run(WAITING, replace(waits_for(*promises), members=known, enough=25))
        assert (
            f"it waits for 50 calls of {group}, which has done 340 of 1,000 (50 pending); it goes on when 25 of them"
            " have ended." in found.explanation
        )


def test_a_run_that_works_tells_its_figure_too() -> None:
    """Of a map, without an attempt; large numbers can be read."""
    progress = {"step": HERE, "done": 340, "total": 1_000, "message": ""}
    assert step_of(progress) == f"{HERE}, which has done 340 of 1,000"

    lines = drawn([], of=run(RunState.RUNNING, worker="wrk_1", progress=progress), seconds=20)
    assert any(f"at {HERE}, which has done 340 of 1,000" in line for line in lines)
