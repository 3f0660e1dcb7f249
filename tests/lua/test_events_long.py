"""Topics and inboxes longer than what one look, one page or one inbox holds; and events that come before their run."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest
from celery import Celery

from dispatch_celery import Dispatch, RunId, Workflow
from dispatch_celery.errors import StateConflict
from dispatch_celery.events.model import EventRecord
from dispatch_celery.testing import Kit

MANY = 10_500


class Talks:
    """An app whose workflows wait for numbers, executed by the test itself."""

    def __init__(self, kit: Kit) -> None:
        self.kit = kit
        self.dispatch = dispatch = kit.dispatch
        self.number = dispatch.event("number", int)

        @dispatch.workflow(name="picks")
        def picks(wf: Workflow, first: int, *, key: str | None = None) -> list[int]:
            large = wf.wait_for_event(self.number, key=key, where=lambda number: number >= first)
            return [large, wf.wait_for_event(self.number, key=key)]

        self.picks = picks

    def publish(self, numbers: range) -> None:
        """Publish every number under one key."""
        for number in numbers:
            self.dispatch.events.publish(self.number, number, key="k")

    def all(self, **topic: str) -> list[EventRecord]:
        """Return what all pages hold."""
        found, cursor, pages = list[EventRecord](), None, 0
        while pages == 0 or cursor is not None:
            page = self.dispatch.events.list(**topic, limit=1_000, cursor=cursor)  # type: ignore[arg-type]  # name, key
            found, cursor, pages = [*found, *page.records], page.next_cursor, pages + 1
        return found


@pytest.fixture
def talks(server_url: str) -> Iterator[Talks]:
    """Return the app, open."""
    app = Celery("talks", broker="redis://127.0.0.1:1/0", set_as_current=False)
    dispatch = Dispatch(app)
    with Kit(dispatch, server_url) as kit:
        yield Talks(kit)
    dispatch.close()
    app.close()


def test_a_run_finds_the_last_of_many_events(talks: Talks) -> None:
    """More than ten thousand are there when it looks: it takes the one it wants, and then the first it passed."""
    run = talks.picks.start(MANY - 1, key="k")
    early, late = talks.picks.start(0, key="k"), talks.picks.start(MANY, key="k")
    talks.publish(range(MANY))

    assert talks.kit.result(run) == [MANY - 1, 0]
    assert talks.kit.result(early) == [0, 1]
    talks.kit.drain()
    talks.publish(range(MANY, MANY + 1))
    assert talks.kit.result(late) == [MANY, 0]
    told = [record.payload for record in talks.all(name="number", key="k")]
    assert told == list(range(MANY, -1, -1))
    listed = talks.all()
    assert sorted(record.payload for record in listed) == list(range(MANY + 1))
    assert all(one.published_at >= other.published_at for one, other in pairwise(listed))


def test_a_run_that_waits_passes_over_many_events_one_by_one(talks: Talks) -> None:
    """It is woken for each, and takes none but the one that it wants and, then, the first."""
    run = talks.picks.start(150, key="k")
    for number in range(151):
        talks.kit.drain()
        talks.publish(range(number, number + 1))

    assert talks.kit.result(run) == [150, 0]


def test_events_may_come_before_their_run(talks: Talks) -> None:
    """Whoever derives its id can send them: once it is started, an hour later, its waits take them in their order."""
    dispatch, unborn = talks.dispatch, RunId.adopt("order 17")
    for number in (5, 6):
        dispatch.runs.publish(unborn, talks.number, number)
    dispatch.runs.publish(RunId.adopt("order 18"), talks.number, 7)
    talks.kit.advance(3_600)

    dispatch.runs.write(dispatch.runs.new_run(talks.picks.bind(6, key="any"), run_id=unborn))

    assert talks.kit.result(dispatch.runs.handle(unborn)) == [6, 5]


def test_the_inbox_of_a_run_that_does_not_exist_is_full_at_its_limit(
    talks: Talks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody can fill the server with events for runs that never come; the refusal says whose inbox, and what to do."""
    dispatch, unborn = talks.dispatch, RunId.adopt("order 17")
    monkeypatch.setitem(vars(dispatch.settings), "max_inbox", 120)
    for number in range(120):
        dispatch.runs.publish(unborn, talks.number, number)

    with pytest.raises(
        StateConflict,
        match=rf"the inbox of {unborn} holds 120 events already: nothing was stored; .*dispatch_max_inbox",
    ):
        dispatch.runs.publish(unborn, talks.number, 120)
    dispatch.runs.publish(unborn, "other", 1)
    dispatch.runs.write(dispatch.runs.new_run(talks.picks.bind(119), run_id=unborn))
    assert talks.kit.result(dispatch.runs.handle(unborn)) == [119, 0]
