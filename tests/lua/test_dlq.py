"""``dlq/bury``, ``unbury``, ``replay``: work that needs a person."""

from __future__ import annotations

import pytest

from dispatch_celery.dlq.model import DeadLetterKind
from dispatch_celery.dlq.pacing import Pace
from dispatch_celery.ids import DeadLetterId, JobId
from tests.lua.world import START, World

RAW = b"\x00\xff not JSON \r\n"


def test_a_raw_message_is_kept_as_it_came(world: World) -> None:
    """Its bytes, its queue, the reason, and when; found among the dead and read again."""
    world.passes(5)
    letter_id = world.letters.bury(RAW, queue="q", reason="no JSON")
    (letter,) = world.letters.read([letter_id])

    assert letter is not None
    assert (letter.kind, letter.raw, letter.queue, letter.reason) == (DeadLetterKind.MESSAGE, RAW, "q", "no JSON")
    assert world.dump().ordered["dead"] == {letter_id: START + 5}
    assert world.dump().ordered["expiry"] == {letter_id: START + 5 + world.settings.retain_failed}


def test_a_raw_message_is_deleted_whole(world: World) -> None:
    """Bytes and both indexes; the answer tells whether there was one."""
    letter_id, other = (world.letters.bury(RAW, queue="q", reason="r") for _ in range(2))

    assert world.jobs.unbury(letter_id) is True
    assert world.jobs.unbury(letter_id) is False
    assert world.jobs.unbury(DeadLetterId.mint()) is False
    assert world.dump().ordered["dead"].keys() == {other}
    assert world.letters.read([letter_id]) == [None]


def test_a_job_is_no_raw_message(world: World) -> None:
    """``unbury`` of a raw id leaves a failed job of the same characters alone."""
    ref = world.at("failed")
    before = world.dump()

    assert world.jobs.unbury(DeadLetterId.of_job(ref.id)) is False
    assert world.dump() == before


def test_a_dead_letter_is_replayed_as_a_new_job(world: World) -> None:
    """Linked to the old one, ready and marked; the dead letter stays."""
    dead, new = world.at("failed", scope="a/b", payload=b"[1]"), world.job(scope="a/b", payload=b"[1]")
    world.passes(7)

    assert world.letters.replay(dead.id, new).verdict == "CREATED"

    found = world.dump()
    assert found.jobs[dead.id]["replayed_as"] == new.ref.id
    assert (found.jobs[new.ref.id]["state"], found.jobs[new.ref.id]["payload"]) == ("pending", "[1]")
    assert found.ordered["scope:a/b"].keys() == {dead.id, new.ref.id}
    assert found.ordered["dead"].keys() == {dead.id}
    assert world.claim(new.ref, world.register()).claim.payload == b"[1]"


def test_a_second_replay_is_the_first(world: World) -> None:
    """Whoever comes second is told the first one's job, and nothing is written."""
    dead, first = world.at("failed"), world.job()
    world.letters.replay(dead.id, first)
    before = world.dump()

    answer = world.letters.replay(dead.id, world.job())

    assert (answer.verdict, answer.detail) == ("EXISTING", first.ref.id)
    assert world.dump() == before


def test_a_replayed_job_is_not_reopened(world: World) -> None:
    """Whichever came first is returned by the other."""
    dead, new = world.at("failed"), world.job()
    world.letters.replay(dead.id, new)
    before = world.dump()

    assert (world.jobs.reopen(dead).verdict, world.jobs.reopen(dead).detail) == ("REPLAYED", new.ref.id)
    assert world.dump() == before


def test_a_reopened_job_is_not_replayed(world: World) -> None:
    """It is no dead letter any more."""
    dead = world.at("failed")
    world.jobs.reopen(dead)
    before = world.dump()

    answer = world.letters.replay(dead.id, world.job())

    assert (answer.verdict, answer.detail) == ("STATE", "pending")
    assert world.dump() == before


@pytest.mark.parametrize("state", ["scheduled", "pending", "running", "retrying", "completed", "cancelled"])
def test_only_a_failed_job_is_replayed(world: World, state: str) -> None:
    """The answer names the state, and nothing is written."""
    ref = world.at(state)
    before = world.dump()

    assert world.letters.replay(ref.id, world.job()).detail == state
    assert world.letters.replay(JobId.mint(), world.job()).detail == "missing"
    assert world.dump() == before


def test_dead_letters_of_both_kinds_are_read_in_order(world: World) -> None:
    """Jobs, messages and what is gone, each in its place."""
    dead, alive = world.at("failed"), world.at("completed")
    raw = world.letters.bury(RAW, queue="q", reason="r")

    found = world.letters.read([raw, dead.id, alive.id, JobId.mint(), DeadLetterId.mint()])

    assert [letter and letter.kind for letter in found] == ["message", "job", None, None, None]
    assert found[1] is not None
    assert (found[1].id, found[1].job_id) == (DeadLetterId.of_job(dead.id), dead.id)


def test_a_replay_for_later_has_a_timer_and_no_message(world: World) -> None:
    """It is scheduled, and becomes ready when it is due."""
    dead, new = world.at("failed"), world.job(delay=5_000)

    assert world.letters.replay(dead.id, new).verdict == "CREATED"
    assert world.dump().ordered["timers"] == {new.ref.id: world.now + 5_000}
    assert world.dump().jobs[new.ref.id]["state"] == "scheduled"
    assert world.problems() == []


def test_the_edits_of_the_first_replay_are_told_to_the_second(world: World) -> None:
    """So a caller knows whether the job there is, is what it asked for."""
    dead, first = world.at("failed"), world.job()
    world.letters.replay(dead.id, first, edits="digest")

    answer = world.letters.replay(dead.id, world.job(), edits="other")

    assert (answer.verdict, answer.detail, answer.further) == ("EXISTING", first.ref.id, "digest")


def _at_a_pace(world: World, line: str, interval: float = 1_000.4) -> int | None:
    """Replay a new dead letter in a line; return in how many ms it is due, None where it is ready."""
    dead, new = world.at("failed"), world.job()
    (answer,) = world.letters.replay_many([(dead.id, new, "")], Pace(line=line, interval=interval))
    due = world.dump().ordered.get("timers", {}).get(new.ref.id)
    assert answer.verdict == "CREATED"
    assert (answer.is_ready, world.dump().jobs[new.ref.id]["state"]) == (
        (True, "pending") if due is None else (False, "scheduled")
    )
    return None if due is None else int(due) - world.now


def test_replays_at_a_pace_stand_in_one_line(world: World) -> None:
    """Whoever comes later comes behind it, however soon; a line that has passed begins now, and others are others."""
    assert [_at_a_pace(world, "a") for _ in range(3)] == [None, 1_000, 2_000]
    world.passes(1_500)
    assert [_at_a_pace(world, "a"), _at_a_pace(world, "b")] == [1_501, None]
    world.passes(60_000)
    assert [_at_a_pace(world, "a"), _at_a_pace(world, "a")] == [None, 1_000]


def test_what_is_not_replayed_leaves_no_gap(world: World) -> None:
    """One that was replayed before, or is no dead letter, takes no place in the line."""
    dead = world.at("failed")
    world.letters.replay(dead.id, world.job())
    pace = Pace(line="a", interval=1_000)

    for _ in range(2):
        (answer,) = world.letters.replay_many([(dead.id, world.job(), "")], pace)
        assert (answer.verdict, answer.is_ready) == ("EXISTING", False)
        (answer,) = world.letters.replay_many([(world.at("completed").id, world.job(), "")], pace)
        assert (answer.verdict, answer.is_ready) == ("STATE", False)

    assert _at_a_pace(world, "a") is None
    assert _at_a_pace(world, "a", 1_000) == 1_000


def test_a_line_is_forgotten_when_it_has_passed(world: World) -> None:
    """It reaches as far as its last job, and so does its key."""
    for _ in range(2):
        _at_a_pace(world, "a", 20_000)

    assert 30_000 < world.ask("PTTL", world.keys.pace("a")) <= 40_000
