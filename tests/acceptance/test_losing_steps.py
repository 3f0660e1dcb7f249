"""Steps that have lost a race, or were under way at the first failure: undone then and there, whatever happens."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from celery import Celery

from dispatch_celery import AsyncWorkflow, Constant, Dispatch, Fail, Retry, RunState, StepFailed, Workflow
from dispatch_celery.testing import Kit

ONCE = Retry(1)
world: dict[str, int] = {}
"""Effects outside of the engine, by name."""


def effect(name: str) -> int:
    world[name] = world.get(name, 0) + 1
    return world[name]


def release(result: str | None, name: str) -> None:
    """Undo a reservation; ``undo`` counts how often, ``failures`` says how often that fails."""
    if effect(f"tried-{name}") <= world.get("failures", 0):
        raise ConnectionError("closed")
    effect(f"undone-{name}")


@pytest.fixture
def dispatch() -> Dispatch:
    """Return an app without jobs or workflows; nobody listens at its broker."""
    world.clear()
    return Dispatch(Celery("losers", broker="redis://127.0.0.1:1/0"))


@pytest.fixture
def kit(dispatch: Dispatch, server_url: str) -> Iterator[Kit]:
    """Lend the app to a test, in a namespace of its own; its steps run in turn, so the first one wins."""
    with Kit(dispatch, server_url) as made:
        yield made


@pytest.fixture(params=["plain", "async"])
def race(request: pytest.FixtureRequest, dispatch: Dispatch) -> object:
    """Return a workflow that races three reservations, and goes on; as a plain function, and async."""

    @dispatch.step(retry=ONCE, undo=release, undo_retry=Retry(2, Constant(60)))
    def reserve(name: str) -> str:
        effect(name)
        return name

    @dispatch.step(retry=ONCE)
    def after(name: str) -> str:
        effect(f"after-{name}")
        return name

    @dispatch.workflow(name="plain")
    def plain(wf: Workflow) -> str:
        _, winner = wf.race(*(reserve.bind(name) for name in "abc"))
        wf.sleep(3_600)
        return wf.step(after, winner)

    @dispatch.workflow(name="async")
    async def on_loop(wf: AsyncWorkflow) -> str:
        _, winner = await wf.race(*(reserve.bind(name) for name in "abc"))
        await wf.sleep(3_600)
        return await wf.step(after, winner)

    return plain if request.param == "plain" else on_loop


def test_losers_are_undone_the_last_one_first(race: object, kit: Kit, dispatch: Dispatch) -> None:
    """Before the body goes on; the winner's undo stays, for when the run fails."""
    run = race.start()  # type: ignore[attr-defined]  # a workflow
    kit.drain()

    assert run.state() == RunState.WAITING
    assert list(world) == ["a", "b", "c", "tried-c", "undone-c", "tried-b", "undone-b"]
    lines = {line.identity: line.status for line in dispatch.runs.timeline(run.id) if line.kind == "undo"}
    assert lines == {
        "undo:race#1/reserve#1": "open",
        "undo:race#1/reserve#2": "undone",
        "undo:race#1/reserve#3": "undone",
    }
    assert kit.result(run) == "a"


def test_an_undo_that_is_tried_again_holds_the_race_up(race: object, kit: Kit) -> None:
    """The winner stays who it was, whoever else has ended by then."""
    world["failures"] = 1
    run = race.start()  # type: ignore[attr-defined]  # a workflow

    assert kit.result(run) == "a"
    assert [world[f"undone-{name}"] for name in "bc"] == [1, 1]
    assert [world[name] for name in "abc"] == [1, 1, 1]


def test_an_undo_that_is_given_up_waits_for_a_person(race: object, kit: Kit, dispatch: Dispatch) -> None:
    """The run is parked, and goes on forward when that is settled."""
    world["failures"] = 9
    run = race.start()  # type: ignore[attr-defined]  # a workflow
    kit.run_until(run)
    assert run.state() == RunState.PARKED

    world["failures"] = 0
    dispatch.runs.skip_undo(run.id, "race#1/reserve#3")
    assert kit.result(run) == "a"
    assert ("undone-c" in world, world["undone-b"]) == (False, 1)


def test_a_run_can_be_taken_back_to_what_came_after_a_race(race: object, kit: Kit, dispatch: Dispatch) -> None:
    """That its losers are undone is meant so."""
    run = race.start()  # type: ignore[attr-defined]  # a workflow
    assert kit.result(run) == "a"

    dispatch.runs.rewind(run.id, "after#1")
    assert kit.result(run) == "a"
    assert (world["a"], world["after-a"], world["undone-b"]) == (1, 2, 1)


def test_a_crash_anywhere_leaves_one_reservation(race: object, kit: Kit) -> None:
    """Each loser's effect is undone at least once after it happened, the winner's never."""
    seen: list[dict[str, int]] = []

    def begin() -> None:
        seen.append(dict(world))
        world.clear()

    kit.before_each_crash(begin)
    report = kit.crash_everywhere(race)  # type: ignore[arg-type]  # a workflow
    begin()

    report.assert_all_completed()
    worlds = [one for one in seen if one]
    assert len(worlds) == len(report.crashes) + 1
    for one in worlds:
        left = [name for name in "abc" if name in one and f"undone-{name}" not in one]
        assert [name for name in "abc" if f"after-{name}" in one] == left, one


@pytest.mark.parametrize("face", ["plain", "async"])
def test_a_step_waits_for_its_next_attempt_though_its_run_is_woken(face: str, dispatch: Dispatch, kit: Kit) -> None:
    """By what else it waits for: the attempt comes when it is due, and once."""

    @dispatch.step(retry=Retry(2, Constant(600)))
    def second(name: str) -> str:
        if effect(name) == 1:
            raise ValueError("not yet")
        return name

    @dispatch.workflow(name="plain")
    def plain(wf: Workflow) -> str:
        return wf.gather(second.bind("x"), nap.options(delay=60).bind(), nap.options(delay=120).bind())[0]

    @dispatch.workflow(name="async")
    async def on_loop(wf: AsyncWorkflow) -> str:
        tried = wf.step(second, "x")
        found, _, _ = await asyncio.gather(tried, wf.run_job(nap.options(delay=60)), wf.sleep(120))
        return found

    @dispatch.job
    def nap() -> None:
        effect("nap")

    run = (plain if face == "plain" else on_loop).start()
    kit.advance(599)
    assert (world["x"], world["nap"], run.info().token > 1) == (1, 2 if face == "plain" else 1, face == "async")
    kit.advance(1)
    assert (world["x"], kit.result(run)) == (2, "x")


def test_who_was_under_way_at_the_first_failure_is_undone(dispatch: Dispatch, kit: Kit) -> None:
    """Who had ended before is not: the body may want it, and the run undoes it when it fails."""

    @dispatch.step(retry=ONCE, undo=release)
    def reserve(name: str) -> str:
        effect(name)
        return name

    @dispatch.step(retry=ONCE)
    def refuse(name: str) -> None:
        raise Fail(name)

    @dispatch.workflow
    def gathers(wf: Workflow) -> str:
        try:
            wf.gather(reserve.bind("before"), refuse.bind("no"), reserve.bind("beside"))
        except StepFailed as failed:
            return failed.error_message
        return "none"

    assert kit.result(gathers.start()) == "no"
    assert list(world) == ["before", "beside", "tried-beside", "undone-beside"]
