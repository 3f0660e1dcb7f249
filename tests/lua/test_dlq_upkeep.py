"""The leader's duty for dead letters: the cap, the alert; and the notes people write."""

from __future__ import annotations

from typing import Any

import pytest

from dispatch_celery.dlq.purging import Purges
from dispatch_celery.dlq.store import NOTES
from dispatch_celery.dlq.upkeep import DeadLetterWatch
from dispatch_celery.errors import LeadershipLost
from tests.lua.world import World


class Watch:
    """The duty on a world, and what it told."""

    def __init__(self, world: World, **settings: Any) -> None:
        self.heard: list[tuple[str, Any]] = []
        chosen = world.settings.model_copy(update=settings)
        purges = Purges(world.records, world.jobs)
        self.duty = DeadLetterWatch(world.letters, purges, chosen, lambda: self.term, self._hear)
        self.term = ""

    def _hear(self, moment: str, _ref: object, /, **facts: Any) -> None:
        self.heard.append((moment, facts))


def test_the_oldest_leave_first_when_there_are_too_many(world: World) -> None:
    """Jobs with their records and messages alike, a bounded batch a round, until the cap holds."""
    refs = []
    for _ in range(3):
        refs.append(world.at("failed"))
        world.passes(1)
    raw = world.letters.bury(b"x", queue="q", reason="r")
    watch = Watch(world, max_dead_letters=2)
    watch.duty.BATCH = 1  # type: ignore[misc]  # so that two rounds are needed

    assert watch.duty.run_once() == 0
    assert watch.duty.run_once() == DeadLetterWatch.EVERY
    assert world.dump().ordered["dead"].keys() == {refs[2].id, raw}
    assert world.dump().jobs.keys() == {refs[2].id}
    assert watch.duty.run_once() == DeadLetterWatch.EVERY
    assert world.problems() == []


def test_an_alert_is_told_once_until_there_are_fewer(world: World) -> None:
    """At the threshold there is none; above it one; after it fell to the threshold, another may follow."""
    watch = Watch(world, dead_letter_threshold=1)
    first = world.at("failed")
    watch.duty.run_once()
    assert watch.heard == []

    world.at("failed")
    watch.duty.run_once()
    world.at("failed")
    watch.duty.run_once()
    assert watch.heard == [("dead_letter_alert", {"count": 2, "threshold": 1})]

    world.jobs.delete(first, "failed", force=True)
    watch.duty.run_once()
    assert len(watch.heard) == 1
    for name in list(world.dump().jobs)[:1]:
        world.jobs.reopen(world.records.stored([name])[0].ref)  # type: ignore[union-attr]  # it is there
    watch.duty.run_once()
    world.at("failed")
    watch.duty.run_once()
    assert len(watch.heard) == 2


def test_an_alert_that_was_not_told_is_told_again(world: World) -> None:
    """A leader that died before it had told everybody has another tell it; a deposed one marks nothing."""
    world.at("failed")
    assert world.letters.alert(0) == ("PASSED", 1)
    assert world.letters.alert(0) == ("PASSED", 1)
    with pytest.raises(LeadershipLost):
        world.letters.alert(0, term="none", told=True)
    assert world.letters.alert(0, told=True) == ("TOLD", 1)
    assert world.letters.alert(0) == ("TOLD", 1)


def test_a_deposed_leader_deletes_nothing(world: World) -> None:
    """Its scripts name its term, and are refused."""
    for _ in range(2):
        world.at("failed")
    watch = Watch(world, max_dead_letters=1)
    watch.term = "none"

    with pytest.raises(LeadershipLost):
        watch.duty.run_once()
    assert len(world.dump().ordered["dead"]) == 2


def test_notes_are_kept_in_order_and_capped(world: World) -> None:
    """Each once, with who and when; the oldest go."""
    ref = world.at("failed")
    for n in range(NOTES + 2):
        world.passes(1)
        assert world.letters.note(ref.id, f"note{n}", "ada", f'said "{n}"\n') == "DONE"
    assert world.letters.note(ref.id, f"note{n}", "ada", "again") == "REPEATED"

    (letter,) = world.letters.read([ref.id])
    assert letter is not None
    assert [note.text for note in letter.notes] == [f'said "{n}"\n' for n in range(2, NOTES + 2)]
    assert letter.notes[-1].by == "ada"
    assert int(letter.notes[-1].at.timestamp() * 1000) == world.now
    assert world.letters.note(world.at("completed").id, "x", "ada", "no dead letter") == "MISSING"


def test_a_message_is_noted_too(world: World) -> None:
    """And its notes go with it."""
    raw = world.letters.bury(b"x", queue="q", reason="r")
    world.letters.note(raw, "n", "ada", "whose is this?")
    (letter,) = world.letters.read([raw])

    assert letter is not None
    assert [(note.by, note.text) for note in letter.notes] == [("ada", "whose is this?")]
    world.jobs.unbury(raw)
    assert world.letters.note(raw, "m", "ada", "gone") == "MISSING"
    assert world.problems() == []
