"""The scripts of cron: each fires, edits or refuses as its header says, and sent twice it has one effect."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dispatch_celery.clock import from_ms
from dispatch_celery.cron.lead_store import LeadStore
from dispatch_celery.cron.model import CronEntry, Misfire, Overlap, Template, Timetable
from dispatch_celery.cron.records import Birth, Registration
from dispatch_celery.errors import LeadershipLost, StoreUnavailable
from dispatch_celery.ids import JobId
from dispatch_celery.store.replies import ask, words
from tests.lua.run_world import RunWorld
from tests.lua.world import START, World

SLOT = START + 60_000
NEXT = SLOT + 60_000


def crons(world: World) -> LeadStore:
    """Return the scripts of a world's cron."""
    return LeadStore(world.port, world.keys, world.settings, world.time)


def registration(*, overlap: str = "allow", of_run: bool = False, **template: Any) -> Registration:
    """Return an entry that is not written yet."""
    made: dict[str, Any] = {"name": "tick", "queue": "q", "spec": {"schema": 1}, "payload": b'{"n":[]}', **template}
    if of_run:
        made |= {"version": 2, "timeout": 5_000}
    return Registration(
        name="e",
        timetable=Timetable(schedule="* * * * *"),
        template=Template(**made),
        misfire=Misfire("once"),
        overlap=Overlap(overlap),
    )


def registered(world: World, entry: Registration | None = None, **options: Any) -> CronEntry:
    """Write an entry whose first slot is in a minute; return it as it is stored."""
    entry = entry or registration(**options)
    store = crons(world)
    ((verdict, _),) = store.registered([store.registering(entry, next_slot=SLOT, next_due=SLOT + 5)])
    assert verdict == "CREATED"
    return stored(world)


def stored(world: World) -> CronEntry:
    """Return the entry as it is."""
    (entry,) = crons(world).entries([registration().id])
    assert entry is not None
    return entry


def fire(
    world: World, entry: CronEntry, *, fired: int | None = SLOT, term: str = "", next_slot: int | None = NEXT
) -> tuple[str, Birth]:
    """Fire a slot of an entry, as soon as it is due."""
    world.time.now = max(world.now, entry.next_due or 0)
    birth = Birth.of(entry, entry.next_slot if fired is None else fired)
    call = crons(world).firing(entry, birth, fired=fired, next_slot=next_slot, next_due=next_slot, term=term)
    return words(ask(world.port, call))[0], birth


def slots(world: World) -> dict[str, float]:
    """Return what is due when."""
    return world.dump().ordered.get("cron-slots", {})


# -- registered and edited


def test_an_entry_is_registered_once(world: World) -> None:
    """Found among all, due at its first slot; the same again changes nothing."""
    entry = registered(world)
    store = crons(world)
    again = store.registering(registration(), next_slot=NEXT, next_due=NEXT, expected=0)

    assert store.registered([again]) == [("SAME", 1)]
    assert (entry.revision, entry.next_slot, entry.next_due, entry.origin) == (1, SLOT, SLOT + 5, "api")
    assert slots(world) == {entry.id: SLOT + 5}
    assert world.dump().ordered["crons"] == {entry.id: START}


def test_an_edit_by_who_has_not_seen_the_one_before_is_refused(world: World) -> None:
    """Also a first one, of a name that is taken meanwhile."""
    registered(world)
    store = crons(world)
    other = registration(payload=b"{}")

    assert store.registered([store.registering(other, next_slot=1, next_due=1, expected=0)]) == [("CONFLICT", 1)]
    assert stored(world).template.payload == b'{"n":[]}'
    assert store.registered([store.registering(other, next_slot=1, next_due=1, expected=1)]) == [("EDITED", 2)]
    assert (stored(world).template.payload, stored(world).next_slot) == (b"{}", SLOT)


def test_an_edit_of_the_timetable_moves_the_next_slot(world: World) -> None:
    """It counts from now; a disabled entry stays disabled."""
    entry = registered(world)
    store = crons(world)
    assert store.enable(entry.id, 1, enabled=False) == ("DONE", 2)
    later = replace(registration(), timetable=Timetable(schedule="0 * * * *"))
    unseen = store.registering(later, next_slot=NEXT, next_due=NEXT, expected=2)
    assert store.registered([unseen]) == [("STALE", 2)]
    edit = store.registering(later, next_slot=NEXT, next_due=NEXT, seen=SLOT, expected=2)
    assert store.registered([edit]) == [("EDITED", 3)]

    assert (stored(world).next_slot, stored(world).is_enabled) == (NEXT, False)
    assert slots(world) == {}


def test_what_code_declares_again_leaves_the_edits_of_people(world: World) -> None:
    """Only another declaration is an edit."""
    store = crons(world)
    mine, changed, edited = registration(), registration(queue="other"), registration(payload=b"{}")

    def declare(entry: Registration) -> tuple[str, int]:
        (answer,) = store.registered([store.registering(entry, next_slot=SLOT, next_due=SLOT, is_declared=True)])
        return answer

    assert declare(mine) == ("CREATED", 1)
    assert store.registered([store.registering(edited, next_slot=SLOT, next_due=SLOT, expected=1)]) == [("EDITED", 2)]
    assert declare(mine) == ("SAME", 2)
    assert stored(world).template.payload == b"{}"
    assert declare(changed) == ("EDITED", 3)
    assert (stored(world).template.queue, stored(world).origin) == ("other", "code")


def test_an_entry_is_switched_once(world: World) -> None:
    """Sent twice it is the same; who has not seen an edit is refused. It is noted since when it is disabled."""
    entry = registered(world)
    store = crons(world)

    assert store.enable(entry.id, 1, enabled=False) == ("DONE", 2)
    since = stored(world).disabled_at
    assert since == from_ms(world.now)
    world.passes(5_000)
    assert store.enable(entry.id, 1, enabled=False) == ("SAME", 2)
    assert stored(world).disabled_at == since
    assert store.enable(entry.id, 1, enabled=True, next_slot=NEXT, next_due=NEXT) == ("CONFLICT", 2)
    assert store.enable(entry.id, 2, enabled=True, next_slot=NEXT, next_due=NEXT) == ("DONE", 3)
    assert slots(world) == {entry.id: NEXT}
    assert stored(world).disabled_at is None


def test_an_entry_is_deleted_with_all_that_names_it(world: World) -> None:
    """By who has seen it as it is; twice it is gone."""
    entry = registered(world)
    fire(world, entry)
    store = crons(world)

    assert store.delete(entry.id, 9) == "CONFLICT"
    assert store.delete(entry.id, 1) == "DONE"
    assert store.delete(entry.id, None) == "GONE"
    found = world.dump()
    assert not any(name.startswith("cron") for kind in (found.hashes, found.ordered) for name in kind)


# -- fired


@pytest.mark.parametrize("of_run", [False, True], ids=["job", "run"])
def test_a_slot_creates_ready_work_and_moves_the_entry_on(world: World, *, of_run: bool) -> None:
    """Its record, indexes, lane and mark are those of any other; a run has its deadline."""
    entry = registered(world, of_run=of_run, scope="a/o", priority=3)
    world.passes(60_000)
    verdict, birth = fire(world, entry)

    found = world.dump()
    prefix = "run-" if of_run else ""
    work_id = birth.ref.id
    assert verdict == "FIRED"
    for name in (f"{prefix}state:pending", f"{prefix}name:pending:tick", f"{prefix}scope:a/o", "lane:q:3"):
        assert found.ordered[name] == {work_id: world.now}
    assert found.ordered["marks"] == {f"{work_id}:1": world.now + 1_000}
    assert found.ordered.get("timers", {}) == ({work_id: world.now + 5_000} if of_run else {})
    assert slots(world) == {entry.id: NEXT}
    after = stored(world)
    assert (after.next_slot, after.last_id, after.last_slot) == (NEXT, work_id, SLOT)
    assert [(fire_.outcome, fire_.id) for fire_ in after.fires] == [("fired", work_id)]


def test_a_slot_that_is_sent_twice_is_fired_once(world: World) -> None:
    """The reply was lost, or another leader has computed the same."""
    entry = registered(world)

    assert fire(world, entry)[0] == "FIRED"
    before = world.dump()
    assert fire(world, entry)[0] == "STALE"
    assert world.dump() == before


def test_a_slot_is_fired_by_the_term_that_reigns(world: World) -> None:
    """Another one is refused, and changes nothing."""
    entry = registered(world)
    store = crons(world)
    world.passes(60_005)
    first = store.lead("a", "n1", lease=1_000)
    world.passes(1_001)
    second = store.lead("b", "n2", lease=1_000)
    before = world.dump()

    with pytest.raises(LeadershipLost):
        fire(world, entry, term=first.term)
    assert world.dump() == before
    assert fire(world, entry, term=second.term)[0] == "FIRED"


def test_a_slot_is_not_fired_before_it_is_due(world: World) -> None:
    """A leader was told of an earlier one, and has read the entry after another leader had fired that."""
    entry = registered(world)
    birth = Birth.of(entry, SLOT)
    world.passes(60_004)
    call = crons(world).firing(entry, birth, fired=SLOT, next_slot=NEXT, next_due=NEXT, term="")

    assert words(ask(world.port, call)) == ["EARLY"]
    assert fire(world, entry)[0] == "FIRED"


@pytest.mark.parametrize("edit", ["edited", "disabled", "deleted"])
def test_a_slot_computed_before_an_edit_is_not_fired(world: World, edit: str) -> None:
    """The revision tells."""
    entry = registered(world)
    store = crons(world)
    if edit == "edited":
        store.registered([store.registering(registration(payload=b"{}"), next_slot=1, next_due=1, expected=1)])
    elif edit == "disabled":
        store.enable(entry.id, 1, enabled=False)
    else:
        store.delete(entry.id, None)

    assert fire(world, entry)[0] == ("GONE" if edit == "deleted" else "STALE")
    assert "state:pending" not in world.dump().ordered


def test_missed_slots_are_passed_over(world: World) -> None:
    """Nothing is created, and the entry stands at its next slot."""
    entry = registered(world)

    assert fire(world, entry, fired=None)[0] == "PASSED"
    assert (stored(world).next_slot, stored(world).last_id) == (NEXT, "")
    assert "state:pending" not in world.dump().ordered


def test_a_slot_that_another_leader_has_passed_over_is_not_fired(world: World) -> None:
    """Nothing was created, and the entry was not edited: the slot alone tells."""
    entry = registered(world)
    world.passes(600_000)

    assert fire(world, entry, fired=None)[0] == "PASSED"
    assert fire(world, entry)[0] == "STALE"
    assert "state:pending" not in world.dump().ordered


def test_the_last_slot_ends_an_entry(world: World) -> None:
    """It is due no more, and stays to be seen."""
    entry = registered(world)

    assert fire(world, entry, next_slot=None)[0] == "FIRED"
    assert (stored(world).state, slots(world)) == ("finished", {})


def test_work_that_is_there_already_is_not_written_again(world: World) -> None:
    """The entry was deleted and registered again within one slot: its id is the same."""
    entry = registered(world)
    _, birth = fire(world, entry)
    crons(world).delete(entry.id, None)
    again = registered(world)
    job = world.records.raw(birth.ref.id)

    assert fire(world, again)[0] == "REPEATED"
    assert world.records.raw(birth.ref.id) == job
    assert (stored(world).next_slot, stored(world).fires) == (NEXT, ())


@pytest.mark.parametrize(
    ("overlap", "verdict"),
    [("allow", "FIRED"), ("skip", "OVERLAPPED"), ("cancel_previous", "FIRED"), ("queue_one", "QUEUED")],
)
@pytest.mark.parametrize("state", ["pending", "running", "retrying", "completed", "failed", "cancelled"])
def test_the_state_of_the_work_before_decides(world: World, overlap: str, verdict: str, state: str) -> None:
    """As long as it has not ended, the policy does; afterwards every slot is fired."""
    entry = registered(world, overlap=overlap)
    _, birth = fire(world, entry)
    _bring(world, birth, state)
    is_busy = state in ("pending", "running", "retrying")
    found, second = fire(world, stored(world), fired=NEXT, next_slot=NEXT + 60_000)

    assert found == (verdict if is_busy else "FIRED")
    assert bool(world.records.raw(second.ref.id)) is (found == "FIRED")
    chores = set(world.dump().ordered.get("cron-chores", {}))
    expected = {"QUEUED": {f"queued {entry.id}"}}.get(found, set())
    if overlap == "cancel_previous" and is_busy:
        expected = {f"cancel {entry.id} {birth.ref.id}"}
    assert chores == expected


def _bring(world: World, birth: Birth, state: str) -> None:
    if state == "pending":
        return
    held = world.claim(birth.ref, world.register())  # type: ignore[arg-type]  # a job's
    verb = {"retrying": "retry", "completed": "complete", "failed": "fail", "cancelled": "obey"}.get(state)
    if verb:
        assert world.end(verb, held).verdict == "DONE"


def test_a_queued_slot_is_fired_after_the_end(world: World) -> None:
    """Not before; once; and further slots are passed over while it waits."""
    entry = registered(world, overlap="queue_one")
    _, first = fire(world, entry)
    assert fire(world, stored(world), fired=NEXT, next_slot=NEXT + 60_000)[0] == "QUEUED"
    assert fire(world, stored(world), fired=NEXT + 60_000, next_slot=NEXT + 120_000)[0] == "OVERLAPPED"
    queued = stored(world)
    birth = Birth.of(queued, queued.queued_slot)
    call = crons(world).releasing(queued, birth, term="")

    assert words(ask(world.port, call))[0] == "WAITING"
    _bring(world, first, "completed")
    assert words(ask(world.port, call))[0] == "FIRED"
    assert words(ask(world.port, call))[0] == "GONE"
    assert world.dump().ordered.get("cron-chores", {}) == {}
    assert (stored(world).last_id, stored(world).queued_slot) == (birth.ref.id, None)
    assert fire(world, queued, fired=NEXT + 120_000, next_slot=NEXT + 180_000)[0] == "STALE"


def test_the_history_is_capped(world: World) -> None:
    """The last twenty, the newest first."""
    registered(world)
    for number in range(25):
        entry = stored(world)
        assert fire(world, entry, fired=entry.next_slot, next_slot=NEXT + number * 60_000)[0] == "FIRED"

    assert len(stored(world).fires) == 20
    assert stored(world).fires[0].id == stored(world).last_id


# -- by hand


def test_a_triggered_entry_keeps_its_slots(world: World) -> None:
    """Sent twice it is one job; edited meanwhile it is read again."""
    entry = registered(world)
    birth = Birth.of(entry, None)
    store = crons(world)

    assert store.trigger(entry, birth, []) == "FIRED"
    assert store.trigger(entry, birth, []) == "REPEATED"
    assert store.trigger(replace(entry, revision=9), Birth.of(entry, None), []) == "STALE"
    assert stored(world).next_slot == SLOT
    assert isinstance(birth.ref.id, JobId)


# -- the lead


def test_one_leads_until_its_lease_ends(world: World) -> None:
    """Renewing keeps the term; a follower writes nothing; the next has a term of its own."""
    registered(world)
    store = crons(world)
    first = store.lead("a", "n1", lease=1_000)
    before = world.dump()
    follower = store.lead("b", "n2", lease=1_000)

    assert (follower.term, follower.leader) == ("", "a")
    assert world.dump() == before
    world.passes(900)
    assert store.lead("a", "n1", lease=1_000).term == first.term
    world.passes(1_001)
    second = store.lead("b", "n2", lease=1_000)
    assert second.term not in ("", first.term)
    assert store.lead("a", "n1", lease=1_000).term == ""


def test_nobody_leads_where_there_is_nothing_to_fire(world: World) -> None:
    """And nothing is written; who has work of its own leads all the same."""
    store = crons(world)

    assert store.lead("a", "n1", lease=1_000).term == ""
    assert "cron-leader" not in world.dump().hashes
    assert store.lead("a", "n1", lease=1_000, eager=True).term


def test_a_beat_takes_the_lead_from_a_worker_and_not_from_a_beat(world: World) -> None:
    """Only beats send ``beat_schedule``."""
    registered(world)
    store = crons(world)
    worker = store.lead("w", "n1", lease=5_000, rank=1)
    beat = store.lead("b", "n2", lease=5_000, rank=2)

    assert beat.term not in ("", worker.term)
    assert store.lead("w", "n1", lease=5_000, rank=1).term == ""
    assert store.lead("c", "n3", lease=5_000, rank=2).term == ""


def test_a_lead_is_resigned(world: World) -> None:
    """By who has it."""
    registered(world)
    store = crons(world)
    store.lead("a", "n1", lease=5_000)
    store.lead("b", "n2", lease=0)
    assert store.lead("b", "n2", lease=5_000).leader == "a"
    store.lead("a", "n1", lease=0)

    assert store.lead("b", "n2", lease=5_000).term


def test_a_leader_is_told_what_is_due(world: World) -> None:
    """Some of it, and when the next is."""
    entry = registered(world)
    store = crons(world)
    assert store.lead("a", "n", lease=1_000).after == SLOT + 5
    world.passes(60_004)
    assert store.lead("a", "n", lease=1_000).due == []
    world.passes(1)
    lead = store.lead("a", "n", lease=1_000, limit=1)

    assert (lead.due, lead.after, lead.is_full) == ([entry.id], None, True)


# -- orphans


def test_an_entry_that_nobody_declares_stops_and_keeps_its_slot(world: World) -> None:
    """Declared again, it goes on where it stood; its revision tells who has computed from it before."""
    store = crons(world)
    declaring = store.registering(registration(), next_slot=SLOT, next_due=SLOT, is_declared=True)
    store.registered([declaring])
    entry = stored(world)
    assert store.undeclared(START - 1) == []
    assert store.orphan(entry.id, START - 1) is False
    assert store.undeclared(START) == [entry.id]
    assert store.orphan(entry.id, START) is True
    assert store.orphan(entry.id, START) is False

    assert (stored(world).state, slots(world)) == ("orphaned", {})
    assert fire(world, entry)[0] == "STALE"
    assert store.registered([declaring]) == [("REVIVED", 2)]
    assert (stored(world).state, slots(world)) == ("enabled", {entry.id: SLOT})


def test_enabling_an_orphan_adopts_it(world: World) -> None:
    """It is the API's from now on, and is not stopped again."""
    store = crons(world)
    store.registered([store.registering(registration(), next_slot=SLOT, next_due=SLOT, is_declared=True)])
    entry = stored(world)
    store.orphan(entry.id, START)

    assert store.enable(entry.id, 2, enabled=True, next_slot=NEXT, next_due=NEXT) == ("DONE", 3)
    assert (stored(world).state, stored(world).origin) == ("enabled", "api")


def test_an_entry_is_set_aside_unless_it_was_edited(world: World) -> None:
    """Never to before it is due; and one that is gone is forgotten."""
    entry = registered(world)
    store = crons(world)
    store.defer(entry.id, "7", 90_000)
    assert slots(world) == {entry.id: SLOT + 5}
    store.defer(entry.id, "1", 1_000)
    assert slots(world) == {entry.id: SLOT + 5}
    store.defer(entry.id, "1", 90_000)
    assert slots(world) == {entry.id: START + 90_000}
    world.ask("DEL", world.keys.cron(entry.id))
    store.defer(entry.id, "1", 60_000)
    assert slots(world) == {}
    world.ask("DEL", world.keys.crons)


# -- beat_schedule


def test_a_run_of_beat_schedule_is_noted_before_and_after_it_is_sent(world: World) -> None:
    """Once, by the term that reigns; what was noted and not sent is told to the next leader."""
    store = crons(world)
    term = store.lead("a", "n", lease=1_000, eager=True).term
    assert store.sending("plain", None, 100, "", term=term)
    assert not store.sending("plain", None, 100, "", term=term)
    assert store.sending("plain", 100, 200, "id-1", term=term)
    assert not store.sending("plain", 100, 200, "id-1", term=term)
    assert store.sent() == {"plain": (200, "id-1")}
    store.was_sent("plain", 200, "other", term=term)
    assert store.sent() == {"plain": (200, "id-1")}
    store.was_sent("plain", 200, "id-1", term=term)
    assert store.sent() == {"plain": (200, "")}

    with pytest.raises(LeadershipLost):
        store.sending("plain", 200, 300, "id-2", term="9.x")


# -- a full server


def test_a_full_server_refuses_a_slot_and_keeps_it(full: RunWorld) -> None:
    """It is fired when there is room again; nothing is half-written."""
    entry = registered(full)
    full.passes(60_005)
    full.fill()
    with pytest.raises(StoreUnavailable):
        fire(full, entry)
    full.make_room()

    assert (stored(full).next_slot, stored(full).last_id) == (SLOT, "")
    assert fire(full, entry)[0] == "FIRED"
