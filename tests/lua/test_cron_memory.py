"""A server whose memory is full keeps every slot and entry as they were, and lets what needs no memory be done."""

from __future__ import annotations

from functools import partial

import pytest

from dispatch_celery.cron.records import Birth
from dispatch_celery.jobs.model import JobRef
from dispatch_celery.store.replies import ask, words
from dispatch_celery.store.scripts import all_scripts
from tests.lua.resending import Act, Case, named
from tests.lua.run_world import RunWorld
from tests.lua.test_cron import NEXT, SLOT, crons, fire, registered, registration, stored
from tests.lua.world import World


def _slot(world: World, *, fired: int | None = SLOT, next_slot: int | None = NEXT) -> Act:
    entry = registered(world)
    world.passes(60_005)
    return lambda: fire(world, entry, fired=fired, next_slot=next_slot)[0]


def _queue(world: World) -> Act:
    first = registered(world, overlap="queue_one")
    fire(world, first)
    second = stored(world)
    world.passes(120_000)
    return lambda: fire(world, second, fired=NEXT, next_slot=NEXT + 60_000)[0]


def _release(world: World, *, ended: bool) -> Act:
    first = registered(world, overlap="queue_one")
    _, birth = fire(world, first)
    assert fire(world, stored(world), fired=NEXT, next_slot=NEXT + 60_000)[0] == "QUEUED"
    if ended:
        assert isinstance(birth.ref, JobRef)
        assert world.end("complete", world.claim(birth.ref, world.register())).verdict == "DONE"
    queued = stored(world)
    call = crons(world).releasing(queued, Birth.of(queued, queued.queued_slot), term="")
    return lambda: words(ask(world.port, call))[0]


def _trigger(world: World) -> Act:
    entry = registered(world)
    birth = Birth.of(entry, None)
    return lambda: crons(world).trigger(entry, birth, [])


def _register(world: World, *, is_declared: bool) -> Act:
    store = crons(world)
    call = store.registering(registration(), next_slot=SLOT, next_due=SLOT, is_declared=is_declared)
    return lambda: store.registered([call])[0][0]


def _enable(world: World, *, enabled: bool) -> Act:
    entry = registered(world)
    if enabled:
        crons(world).enable(entry.id, 1, enabled=False)
    revision = 2 if enabled else 1
    return lambda: crons(world).enable(entry.id, revision, enabled=enabled, next_slot=SLOT, next_due=SLOT)[0]


def _delete(world: World) -> Act:
    entry = registered(world)
    return lambda: crons(world).delete(entry.id, 1)


def _orphan(world: World) -> Act:
    _register(world, is_declared=True)()
    return lambda: crons(world).orphan(registration().id, world.now + 1)


def _defer(world: World) -> Act:
    entry = registered(world)
    return lambda: crons(world).defer(entry.id, "1", 5_000)


def _lead(world: World) -> Act:
    registered(world)
    return lambda: bool(crons(world).lead("a", "n", lease=1_000).term)


def _send(world: World) -> Act:
    return lambda: crons(world).sending("plain", None, 200, "id", term="")


CASES: list[Case[World]] = [
    Case("cron/release", partial(_release, ended=True), "FIRED", None),
    # Its removal from what is due comes first: the entry is done with, and what it creates is small.
    Case("cron/fire", partial(_slot, next_slot=None), "FIRED", None, "the last slot"),
    Case("cron/enable", partial(_enable, enabled=True), "DONE", None),
    Case("cron/enable", partial(_enable, enabled=False), "DONE", None, "that disables"),
    Case("cron/delete", _delete, "DONE", None),
    Case("cron/orphan", _orphan, True, None),
]
REFUSED: list[Case[World]] = [
    Case("cron/fire", _slot, "FIRED", None),
    Case("cron/fire", partial(_slot, fired=None), "PASSED", None, "that passes over"),
    Case("cron/fire", _queue, "QUEUED", None, "that queues"),
    Case("cron/release", partial(_release, ended=False), "WAITING", None, "too early"),
    Case("cron/trigger", _trigger, "FIRED", None),
    Case("cron/register", partial(_register, is_declared=False), "CREATED", None),
    Case("cron/register", partial(_register, is_declared=True), "CREATED", None, "by code"),
    Case("cron/defer", _defer, None, None),
    Case("cron/lead", _lead, True, None),
    Case("cron/send", _send, True, None),
]


def test_every_script_of_cron_is_among_the_cases() -> None:
    """A new one is tried here, too."""
    assert {case.script for case in [*CASES, *REFUSED]} == {
        script.name for script in all_scripts() if script.name.startswith("cron/")
    }


@pytest.mark.parametrize("case", CASES, ids=named)
def test_what_takes_away_or_was_promised_is_done_when_memory_is_full(full: RunWorld, case: Case[World]) -> None:
    """A slot that waits for the end of the one before was accepted already; an entry can be stopped and deleted."""
    act = case.prepare(full)
    full.fill()

    assert act() == case.first


@pytest.mark.parametrize("case", REFUSED, ids=named)
def test_a_slot_is_refused_whole_and_kept_when_memory_is_full(full: RunWorld, case: Case[World]) -> None:
    """The answer is "not now", nothing is left behind, and the same is good once there is room."""
    act = case.prepare(full)

    full.refuses_whole(act)
    assert act() == case.first
