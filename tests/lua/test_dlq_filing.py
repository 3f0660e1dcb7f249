"""Two releases side by side: what the older one left unfiled is filed, what it took unsaid is taken out."""

from __future__ import annotations

import pytest

from dispatch_celery.dlq.filing import DeadLetterFiles
from dispatch_celery.dlq.filters import DeadLetterFilter
from dispatch_celery.dlq.listing import DeadLetterListing
from dispatch_celery.jobs.model import JobRef
from tests.lua.world import World


def older(world: World) -> JobRef:
    """Return a job that died under a release that knew no fingerprints."""
    ref = world.at("failed")
    died = int(world.dump().ordered["dead"][ref.id])
    mark = world.record(ref)["fingerprint"]
    entries = (f"f {mark} mail {died:013d} {ref.id}", f"n mail {died:013d} {ref.id}")
    world.ask("HDEL", world.keys.record(ref.id), "fingerprint")
    world.ask("ZREM", world.keys.letters, *entries)
    if not world.ask("EXISTS", world.keys.letters):
        world.ask("DEL", world.keys.groups)
    world.passes(1)
    return ref


def purged_by_older(world: World, ref: JobRef) -> None:
    """Let a release that knows no files delete a dead letter."""
    keys = world.keys
    for key in (keys.dead, keys.expiry, keys.state("failed"), keys.name("failed", "mail")):
        world.ask("ZREM", key, ref.id)
    world.ask("DEL", keys.record(ref.id))


def keep_house(duty: DeadLetterFiles) -> int:
    """Let the duty work until it rests; return in how many rounds."""
    for rounds in range(1, 50):
        if duty.run_once() == DeadLetterFiles.EVERY:
            return rounds
    raise AssertionError("it does not come to rest")


@pytest.mark.parametrize("batch", [1, 2, 500])
def test_what_is_unfiled_is_filed_and_what_is_gone_is_taken_out(
    world: World, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In slices of any size; afterwards lists and groups are as if one release had done it all."""
    monkeypatch.setattr(DeadLetterFiles, "BATCH", batch)
    for _ in range(3):
        older(world)
    raw = world.letters.bury(b"x", queue="q", reason="no JSON")
    (mark,) = world.dump().ordered["groups"]
    died = int(world.dump().ordered["dead"][raw])
    world.ask("HDEL", world.keys.raw(raw), "fingerprint", "name", "origin")
    world.ask("ZREM", world.keys.letters, f"f {mark}  {died:013d} {raw}", f"n  {died:013d} {raw}")
    world.ask("ZREM", world.keys.groups, mark)
    taken = [world.at("failed") for _ in range(2)]
    kept = world.at("failed")
    for ref in taken:
        purged_by_older(world, ref)
    duty = DeadLetterFiles(world.letters)

    assert keep_house(duty) > 1

    assert world.problems() == []
    found = DeadLetterListing(world.letters, world.keys)
    assert {group.fingerprint for group in found.groups(DeadLetterFilter(), limit=9)} == {
        mark,
        world.record(kept)["fingerprint"],
    }
    assert found.count(DeadLetterFilter(name="mail")) == 4
    assert keep_house(duty) == 1


def test_files_that_are_right_are_only_counted(world: World) -> None:
    """Two counts a minute: nothing is read, nothing is written."""
    world.at("failed")
    before = world.dump()

    assert DeadLetterFiles(world.letters).run_once() == DeadLetterFiles.EVERY
    assert world.dump() == before


def test_a_dead_letter_that_died_again_is_filed_as_it_is_now(world: World) -> None:
    """Its old entry is taken out by what it says, and nothing else is."""
    ref = world.at("failed")
    (entry,) = world.letters.entries("f ", 9)
    _, mark, name, filed_at, _ = entry.split(" ")

    assert world.letters.refile(ref.id, name=name, fingerprint=mark, filed_at=filed_at) is False
    assert world.letters.refile(ref.id, name="other", fingerprint=mark, filed_at=filed_at) is True
    assert world.letters.refile(ref.id, name="", fingerprint="") is True
    assert world.problems() == []
    assert world.letters.refile(world.at("completed").id, name="", fingerprint="x") is False
