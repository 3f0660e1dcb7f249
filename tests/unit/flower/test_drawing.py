"""The picture of a run, the buttons it has, and the words of pages: pure functions of what was read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dispatch_celery import RunId
from dispatch_celery.flower.buttons import of_call, of_run
from dispatch_celery.flower.links import Links
from dispatch_celery.flower.pages.model import oldest
from dispatch_celery.flower.telling import Telling
from dispatch_celery.flower.timeline import Drawing, draw
from dispatch_celery.scope import Scope
from dispatch_celery.workflows.model import PromiseRecord, Run, RunState

START = datetime(2026, 1, 31, 12, tzinfo=UTC)


def _at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def _call(
    identity: str, kind: str, status: str, begun: float | None, ended: float | None, **more: Any
) -> PromiseRecord:
    return PromiseRecord(
        identity=identity,
        kind=kind,
        status=status,
        begun_at=None if begun is None else _at(begun),
        resolved_at=None if ended is None else _at(ended),
        due_at=None,
        attempts=more.pop("attempts", 1),
        worker="w",
        **more,
    )


def _run(state: RunState = RunState.COMPLETED, **more: Any) -> Run:
    ended = _at(10) if state == RunState.COMPLETED else None
    return Run(
        id=RunId.mint(),
        name="shop.order",
        version=1,
        queue="q",
        priority=0,
        state=state,
        arguments={},
        scope=Scope(),
        created_at=START,
        started_at=START,
        finished_at=ended,
        **more,
    )


def _drawn(run: Run, *promises: PromiseRecord, now: float = 10, **more: Any) -> Drawing:
    return draw(run, promises, now=_at(now), since=None, members={}, last_errors={}, **more)


def test_bars_lie_where_calls_were() -> None:
    """A bar begins and ends in proportion to the run's whole time; a rest begins where the call before it ended."""
    drawing = _drawn(
        _run(),
        _call("charge#1", "step", "value", 0, 2, value="x"),
        _call("sleep#1", "sleep", "value", None, 7, attempts=0),
        _call("ship#1", "step", "error", 7, 10),
        _call("undo:charge#1", "undo", "undone", None, 10),
    )
    charge, sleep, ship = (row.bar for row in drawing.calls)

    assert charge is not None
    assert sleep is not None
    assert ship is not None
    assert (charge.start, charge.width, charge.look) == (0, 20, "done")
    assert (sleep.start, sleep.width, sleep.look) == (20, 50, "done rest")
    assert (ship.start, ship.width, ship.look) == (70, 30, "failed")
    assert drawing.undos_heading == "Undone"
    assert drawing.undos[0].bar is not None
    assert drawing.undos[0].bar.is_mark
    assert (drawing.calls[1].took, drawing.took) == ("~5.0 s", "10 s")
    assert [words for _, words in drawing.ticks] == ["0", "2 s", "4 s", "6 s", "8 s", "10 s"]


def test_every_bar_can_be_seen_and_stays_in_the_picture() -> None:
    """What took no time among hours, or is recorded outside of its run, has a bar, and within the picture."""
    drawing = _drawn(
        _run(),
        _call("a#1", "step", "value", 5, 5.000_001),
        _call("b#1", "step", "value", -3, 2),
        _call("c#1", "step", "value", 9.99, 30),
    )
    for row in drawing.calls:
        assert row.bar is not None
        assert row.bar.width >= 0.4
        assert row.bar.start >= 0
        assert row.bar.start + row.bar.width <= 100.000_1


def test_a_parked_run_is_not_squeezed_by_the_days_it_waits() -> None:
    """Its picture ends when it was parked; that of a waiting run goes on to now, and its bar is under way."""
    done = _call("a#1", "step", "value", 0, 5)
    parked = _drawn(_run(RunState.PARKED), done, now=1_000_000, until=_at(10))
    waiting = _drawn(_run(RunState.WAITING), done, _call("sleep#1", "sleep", "sleeping", None, None), now=20)

    assert parked.calls[0].bar is not None
    assert parked.calls[0].bar.width == 50
    bar = waiting.calls[1].bar
    assert bar is not None
    assert (bar.is_open, bar.start, bar.width) == (True, 25, 75)


def test_many_members_are_counted_and_many_calls_are_cut() -> None:
    """A map of thousands is one row, and thousands of calls are not drawn one by one."""
    members = [_call(f"map#1/thumb#{n}", "job", "value", 1, 2, total=3_000) for n in range(3_000)]
    calls = [_call(f"step#{n}", "step", "value", 1, 2) for n in range(3_000)]

    assert [row.words for row in _drawn(_run(), *members).calls] == [
        "3,000 of 3,000 have ended; 3,000 calls: 3,000 value"
    ]
    drawing = _drawn(_run(), *calls)
    assert (len(drawing.calls), drawing.left_out) == (500, 2_500)


def test_a_run_without_calls_is_an_empty_picture() -> None:
    """A run that nobody has taken yet has nothing to draw, and nothing is divided by its length."""
    drawing = draw(_run(RunState.PENDING), (), now=START, since=None, members={}, last_errors={})

    assert (drawing.calls, drawing.undos, drawing.ticks) == ([], [], [])


def test_buttons_say_what_the_page_said() -> None:
    """Each verb brings the state and generation it was decided on; forks and rewinds a key for each press."""
    run = _run(RunState.PARKED, generation=2)
    buttons = {
        button.label: button for button in of_run(run, ("resume", "rewind", "fork", "cancel"), must_discard=False)
    }

    assert {tuple(button.body["expected"].items()) for button in buttons.values()} == {
        (("state", "parked"), ("generation", 2))
    }
    assert [label for label, button in buttons.items() if button.wants_key] == ["Rewind", "Fork"]
    assert all(button.ask for button in buttons.values())
    (skip,) = of_call(run, "undo:charge#1", can_rewind=True, can_skip=True)
    assert (skip.path[-1], skip.body["identity"]) == ("skip-undo", "undo:charge#1")


def test_links_are_quoted_and_keep_the_prefix() -> None:
    """No name or id can leave its place in an address."""
    links = Links("/ops/")

    assert links.page("jobs", "../../x?y#z") == "/ops/dispatch/jobs/..%2F..%2Fx%3Fy%23z"
    assert links.page("jobs", query={"name": "a&b=c", "state": None}) == "/ops/dispatch/jobs?name=a%26b%3Dc"
    assert (Links(None).page(), Links("").api("jobs")) == ("/dispatch", "/api/dispatch/jobs")
    assert (links.of("javascript:alert(1)"), links.of("run_x")) == ("", "/ops/dispatch/runs/run_x")


@pytest.mark.parametrize("age", [0.5, 1, 59, 3_600, 86_400 * 40])
def test_the_oldest_is_found_by_few_questions(age: float) -> None:
    """With only the newest before a time to ask for, the oldest's age is told to five of a hundred."""
    made = [_at(-age * part) for part in (1, 0.99, 0.5, 0.1, 0.01)]
    asked = []

    def newest_before(moment: datetime) -> datetime | None:
        asked.append(moment)
        return max((one for one in made if one <= moment), default=None)

    found = oldest(newest_before, START)
    assert found is not None
    assert (START - found).total_seconds() >= age * 0.95 or age <= 1
    assert len(asked) < 45
    assert oldest(lambda _: None, START) is None


def test_words_of_pages_are_escaped() -> None:
    """What is made as HTML here never takes over a tag from what is stored."""
    assert Telling.marked("see `<b>x</b>` & <i>") == "see <code>&lt;b&gt;x&lt;/b&gt;</code> &amp; &lt;i&gt;"
    assert Telling.marked("odd ` tick <b>") == "odd ` tick &lt;b&gt;"
    assert "<b>" not in Telling.state("<b>")
    assert Telling.time(_at(0.5)).startswith('<time class="dc-time" datetime="2026-01-31T12:00:00.500Z">')
