"""Dead letters are filed by fingerprint and by name, in the scripts that bring and take them; groups are counted."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from dispatch_celery.dlq.filters import DeadLetterFilter
from dispatch_celery.dlq.listing import DeadLetterListing
from dispatch_celery.dlq.model import DeadLetterOrigin
from dispatch_celery.ids import DeadLetterId
from dispatch_celery.jobs.model import JobRef
from tests.lua.world import ERROR, LINE, START, World


def die(world: World, message: str = "bad", **options: str) -> JobRef:
    """Return a job that has just died of an error; ``message`` tells its group."""
    held = world.running(**options)
    error = json.dumps({"type": "ValueError", "message": message, "traceback": ""})
    where = {"holder": held.holder, "token": held.token}
    world.jobs.fail(held.ref, error=error, reason="why", counter="attempts", attempt=LINE, **where)
    world.passes(10)
    return held.ref


def listing(world: World) -> DeadLetterListing:
    """Return the reads of the world's dead letters."""
    return DeadLetterListing(world.letters, world.keys)


def test_a_group_is_counted_with_its_first_its_last_and_its_names(world: World) -> None:
    """The group of the latest death comes first, its latest dead letter is its sample."""
    first, last = die(world), die(world)
    other = die(world, "worse", name="bill")
    late, early = listing(world).groups(DeadLetterFilter(), limit=10)

    assert (late.count, late.names) == (1, {"bill": 1})
    assert late.sample is not None
    assert late.sample.job_id == other.id
    assert (early.count, early.names) == (2, {"mail": 2})
    assert early.sample is not None
    assert early.sample.job_id == last.id
    assert (early.first_died_at, early.last_died_at) == (
        datetime.fromtimestamp(START / 1000, UTC),
        datetime.fromtimestamp((START + 10) / 1000, UTC),
    )
    assert early.sample.fingerprint == early.fingerprint != late.fingerprint
    (only,) = listing(world).groups(DeadLetterFilter(fingerprint=early.fingerprint), limit=10)
    assert only == early
    assert [one.job_id for one in listing(world).page(DeadLetterFilter(name="mail"), limit=10)] == [last.id, first.id]


@pytest.mark.parametrize("way", ["reopen", "delete"])
def test_a_group_shrinks_with_its_dead_letters_and_goes_with_the_last(world: World, way: str) -> None:
    """Its latest death is that of those that are left, whichever goes first."""
    refs = [die(world) for _ in range(3)]
    assert list(world.dump().ordered["groups"].values()) == [START + 20]
    for gone, latest in ((2, [START + 10]), (0, [START + 10]), (1, [])):
        if way == "reopen":
            world.jobs.reopen(refs[gone])
        else:
            world.jobs.delete(refs[gone], "failed", force=True)
        assert list(world.dump().ordered.get("groups", {}).values()) == latest
        assert world.problems() == []
    assert "letters" not in world.dump().ordered


def test_an_abandoned_job_and_a_message_are_filed_too(world: World) -> None:
    """Under the reason and the name, since nothing has a traceback; a name no task can have is not filed."""
    ref = world.enqueue(name="new")
    world.jobs.abandon(ref, error=ERROR, reason="unknown")
    task = world.letters.bury(
        b"x", queue="q", reason="unknown task 'a'", name="a", origin=DeadLetterOrigin.UNKNOWN_TASK
    )
    world.letters.bury(b"x", queue="q", reason="no JSON", name="not a name")

    assert world.problems() == []
    found = listing(world)
    assert found.count(DeadLetterFilter(name="new")) == found.count(DeadLetterFilter(name="a")) == 1
    assert [one.id for one in found.page(DeadLetterFilter(origin="unknown-task"), limit=9)] == [task]
    assert [one.job_id for one in found.page(DeadLetterFilter(origin="unknown-job"), limit=9)] == [ref.id]
    assert sum(group.count for group in found.groups(DeadLetterFilter(), limit=9)) == 3
    world.jobs.unbury(task)
    assert world.problems() == []
    assert found.count(DeadLetterFilter(name="a")) == 0


def test_one_error_of_several_jobs_is_one_group(world: World) -> None:
    """A page of the group goes through its names in the order of death; a name chooses among them."""
    text = 'Traceback:\n  File "/app/db.py", line 1, in connect\n    raise Down\nDown\n'
    refs = []
    for name in ("b", "a", "b", "a!", "a.b"):
        held = world.running(name=name)
        error = json.dumps({"type": "Down", "message": "", "traceback": text})
        where = {"holder": held.holder, "token": held.token}
        world.jobs.fail(held.ref, error=error, reason="why", counter="attempts", **where)
        refs.append(held.ref.id)
        world.passes(1)
    (group,) = listing(world).groups(DeadLetterFilter(), limit=9)

    assert (group.count, group.names) == (5, {"a": 1, "a!": 1, "a.b": 1, "b": 2})
    chosen = DeadLetterFilter(fingerprint=group.fingerprint)
    pages = list(listing(world).all(chosen, limit=2))
    assert [letter.job_id for page in pages for letter in page] == refs[::-1]
    narrow = DeadLetterFilter(fingerprint=group.fingerprint, name="b")
    assert [letter.job_id for letter in listing(world).page(narrow, limit=9)] == [refs[2], refs[0]]
    assert listing(world).count(narrow) == 2
    between = DeadLetterFilter(
        fingerprint=group.fingerprint,
        died_after=datetime.fromtimestamp((START + 1) / 1000, UTC),
        died_before=datetime.fromtimestamp((START + 2) / 1000, UTC),
    )
    assert [letter.job_id for letter in listing(world).page(between, limit=9)] == [refs[2], refs[1]]
    assert world.problems() == []


def test_dead_letters_of_an_older_release_are_a_group_of_their_own(world: World) -> None:
    """They have no fingerprint; lists by name find them, and every verb works on them."""
    old, new = die(world), die(world)
    record, (mark,) = world.keys.record(old.id), world.dump().ordered["groups"]
    world.ask("HDEL", record, "fingerprint")
    world.ask("ZREM", world.keys.letters, f"f {mark} mail {START:013d} {old.id}", f"n mail {START:013d} {old.id}")
    found = listing(world)

    assert [(group.fingerprint, group.count) for group in found.groups(DeadLetterFilter(), limit=9)] == [
        (mark, 1),
        ("", 1),
    ]
    assert [letter.job_id for letter in found.page(DeadLetterFilter(name="mail"), limit=9)] == [new.id, old.id]
    assert found.count(DeadLetterFilter(name="mail")) == 2
    (unfiled,) = found.groups(DeadLetterFilter(fingerprint=""), limit=9)
    assert (unfiled.count, unfiled.names) == (1, {"mail": 1})
    assert world.problems() == []
    assert world.jobs.reopen(old).verdict == "READY"
    assert world.jobs.delete(new, "failed", force=True).verdict == "DONE"
    assert world.problems() == []


def test_groups_by_other_filters_are_counted_by_reading(world: World) -> None:
    """The same groups in the same order, in pages that go on."""
    for n in range(3):
        die(world, f"error {'abc'[n]}", queue="slow")
        die(world, f"error {'abc'[n]}", queue="fast")
    found, chosen = listing(world), DeadLetterFilter(queue="slow")
    first = found.groups(chosen, limit=2)
    rest = found.groups(chosen, limit=2, cursor=first.next_cursor)

    assert [(group.count, len(rest), rest.next_cursor) for group in first] == [(1, 1, None)] * 2
    marks = [group.fingerprint for group in (*first, *rest)]
    assert marks == [group.fingerprint for group in found.groups(DeadLetterFilter(), limit=9)]


def test_a_dead_letter_is_not_filed_twice(world: World) -> None:
    """A message buried again, and a failure sent again, change nothing."""
    letter = DeadLetterId.mint()
    for _ in range(2):
        world.letters.bury(b"x", queue="q", reason="r", dead_letter_id=letter)
        world.passes(5)

    assert len(world.dump().ordered["letters"]) == 2
    assert world.problems() == []
