"""The scripts of cron between leaders, people and code: who has seen less changes nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dispatch_celery.cron.model import CronEntry, Timetable
from dispatch_celery.cron.records import Birth
from dispatch_celery.errors import LeadershipLost
from dispatch_celery.store.replies import ask, words
from tests.lua.test_cron import NEXT, SLOT, crons, fire, registered, registration, slots, stored
from tests.lua.world import World


def _queued(world: World, **options: Any) -> CronEntry:
    """Return an entry with a slot that waits for the end of the one before."""
    entry = registered(world, overlap="queue_one", **options)
    assert fire(world, entry)[0] == "FIRED"
    assert fire(world, stored(world), fired=NEXT, next_slot=NEXT + 60_000)[0] == "QUEUED"
    return stored(world)


def _declare(world: World, **options: Any) -> str:
    """Declare the entry in code."""
    store = crons(world)
    call = store.registering(registration(**options), next_slot=SLOT, next_due=SLOT, is_declared=True)
    ((verdict, _),) = store.registered([call])
    return verdict


def test_a_leader_that_has_not_seen_what_was_triggered_fires_nothing(world: World) -> None:
    """Neither the entry nor its slot was changed by it, but what goes on is another job."""
    entry = registered(world, overlap="skip")
    assert crons(world).trigger(entry, Birth.of(entry, None), []) == "FIRED"

    assert fire(world, entry)[0] == "STALE"
    assert fire(world, stored(world))[0] == "OVERLAPPED"


def test_a_queued_slot_is_released_by_the_term_that_reigns(world: World) -> None:
    """Another one is refused, and changes nothing."""
    store = crons(world)
    queued = _queued(world)
    first = store.lead("a", "n1", lease=1_000)
    world.passes(1_001)
    second = store.lead("b", "n2", lease=1_000)
    birth = Birth.of(queued, queued.queued_slot)
    before = world.dump()

    with pytest.raises(LeadershipLost):
        ask(world.port, store.releasing(queued, birth, term=first.term))
    assert world.dump() == before
    assert words(ask(world.port, store.releasing(queued, birth, term=second.term)))[0] == "WAITING"


def test_a_queued_slot_whose_work_is_there_already_is_not_written_again(world: World) -> None:
    """An operator brought it back from a copy, say."""
    queued = _queued(world)
    (first,) = world.records.stored([queued.last_id])
    assert first is not None
    world.end("complete", world.claim(first.ref, world.register()))  # type: ignore[arg-type]  # a job's
    birth = Birth.of(queued, queued.queued_slot)
    ref = world.enqueue(job_id=birth.ref.id)
    job = world.records.raw(ref.id)

    assert words(ask(world.port, crons(world).releasing(queued, birth, term="")))[0] == "REPEATED"
    assert world.records.raw(ref.id) == job
    assert stored(world).queued_slot is None


def test_who_leads_again_has_another_term(world: World) -> None:
    """What it has sent under the one before, and what comes late, is refused."""
    registered(world)
    terms = []
    for holder in ("a", "b", "a"):
        terms.append(crons(world).lead(holder, f"nonce of {holder}", lease=1_000).term)
        world.passes(1_001)

    assert len(set(terms)) == 3


def test_a_leader_is_told_what_is_due_and_nothing_else(world: World) -> None:
    """And when the next is."""
    entry = registered(world)
    store = crons(world)
    later = replace(registration(), name="later")
    store.registered([store.registering(later, next_slot=NEXT, next_due=NEXT)])
    world.passes(60_005)

    lead = store.lead("a", "n", lease=1_000)

    assert (lead.due, lead.after) == ([entry.id], NEXT)


def test_an_entry_that_is_disabled_is_not_due(world: World) -> None:
    """Nobody has to look at it in vain."""
    entry = registered(world)

    assert crons(world).enable(entry.id, 1, enabled=False) == ("DONE", 2)

    assert slots(world) == {}


def test_an_edit_forgets_nothing_of_what_was_fired(world: World) -> None:
    """Its last job goes on to be the one that the next slot looks at."""
    entry = registered(world, overlap="skip")
    assert fire(world, entry)[0] == "FIRED"
    store = crons(world)
    edited = registration(overlap="skip", payload=b'{"n":1}')
    assert store.registered([store.registering(edited, next_slot=SLOT, next_due=SLOT, expected=1)]) == [("EDITED", 2)]

    assert fire(world, stored(world), fired=NEXT, next_slot=NEXT + 60_000)[0] == "OVERLAPPED"


def test_a_queued_slot_that_waits_is_asked_for_later(world: World) -> None:
    """And not all the time; after an edit it is read anew."""
    queued = _queued(world)
    store = crons(world)
    world.passes(10_000)
    call = store.releasing(queued, Birth.of(queued, queued.queued_slot), term="")

    assert words(ask(world.port, call))[0] == "WAITING"
    assert world.dump().ordered["cron-chores"][f"queued {queued.id}"] > world.now
    edited = registration(overlap="queue_one", payload=b'{"n":1}')
    assert store.registered([store.registering(edited, next_slot=SLOT, next_due=SLOT, expected=1)]) == [("EDITED", 2)]
    assert words(ask(world.port, call))[0] == "STALE"


def test_an_entry_that_is_disabled_has_nothing_queued(world: World) -> None:
    """Enabled again, it fires its slots as if nothing had waited."""
    queued = _queued(world)
    crons(world).enable(queued.id, 1, enabled=False)

    assert stored(world).queued_slot is None
    assert "cron-chores" not in world.dump().ordered


def test_an_orphan_has_nothing_queued(world: World) -> None:
    """Nobody fires for who is not declared any more."""
    _declare(world, overlap="queue_one")
    assert fire(world, stored(world))[0] == "FIRED"
    assert fire(world, stored(world), fired=NEXT, next_slot=NEXT + 60_000)[0] == "QUEUED"
    assert crons(world).orphan(stored(world).id, world.now)

    assert stored(world).queued_slot is None
    assert "cron-chores" not in world.dump().ordered


def test_an_orphan_that_was_disabled_comes_back_disabled(world: World) -> None:
    """And is not due."""
    _declare(world)
    store, entry = crons(world), stored(world)
    store.enable(entry.id, 1, enabled=False)
    assert store.orphan(entry.id, world.now)

    assert _declare(world) == "REVIVED"
    assert (stored(world).state, slots(world)) == ("disabled", {})


def test_an_orphan_that_is_edited_goes_on(world: World) -> None:
    """Who edits it wants it."""
    _declare(world)
    store, entry = crons(world), stored(world)
    assert store.orphan(entry.id, world.now)
    edited = replace(registration(), timetable=Timetable(schedule="0 * * * *"))

    edit = store.registering(edited, next_slot=NEXT, next_due=NEXT, seen=SLOT, expected=2)
    assert store.registered([edit]) == [("EDITED", 3)]
    assert (stored(world).state, slots(world)) == ("enabled", {entry.id: NEXT})


def test_an_orphan_that_was_adopted_is_nobody_elses(world: World) -> None:
    """Code that declares it again, and goes again, does not stop it."""
    _declare(world)
    store, entry = crons(world), stored(world)
    assert store.orphan(entry.id, world.now)
    assert store.enable(entry.id, 2, enabled=True, next_slot=NEXT, next_due=NEXT) == ("DONE", 3)
    assert _declare(world) == "SAME"

    assert not store.orphan(entry.id, world.now)
    assert stored(world).state == "enabled"


def test_a_process_that_started_again_waits_for_the_end_of_its_lease(world: World) -> None:
    """It bears the same name, and knows nothing of what it has sent."""
    registered(world)
    store = crons(world)
    first = store.lead("a", "n1", lease=1_000)

    assert store.lead("a", "n2", lease=1_000).term == ""
    assert store.lead("a", "n1", lease=1_000).term == first.term


def test_an_entry_that_is_registered_again_has_no_past(world: World) -> None:
    """Its history went with it; what is triggered has a line of its own."""
    entry = registered(world)
    assert crons(world).trigger(entry, Birth.of(entry, None), []) == "FIRED"
    assert [line.outcome for line in stored(world).fires] == ["triggered"]
    assert crons(world).delete(entry.id, None) == "DONE"

    registered(world)

    assert stored(world).fires == ()


def test_the_history_of_an_entry_has_an_end(world: World) -> None:
    """Not only where it is read."""
    registered(world)
    for number in range(25):
        entry = stored(world)
        assert fire(world, entry, fired=entry.next_slot, next_slot=NEXT + number * 60_000)[0] == "FIRED"

    assert world.ask("LLEN", world.keys.cron_fires(entry.id)) == 20


def test_a_lead_of_a_clock_that_was_set_back_ends_with_a_lease(world: World) -> None:
    """Who led has died with the clock an hour ahead: nobody waits for that hour."""
    registered(world)
    store = crons(world)
    assert store.lead("a", "n1", lease=1_000).term
    world.passes(-3_600_000)
    world.passes(2_001)

    assert store.lead("b", "n2", lease=1_000).term
