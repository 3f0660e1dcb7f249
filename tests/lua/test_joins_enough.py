"""A run that waits for several members: it wakes at the end that leaves few enough, or at the first failure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

import pytest

from dispatch_celery.store.client import RedisStore
from tests.lua.families import awaited, parent_in, send_jobs, send_runs
from tests.lua.run_world import RunWorld, asleep, awaits, run_world
from tests.lua.world import START, Held

MEMBERS = ("m#1", "m#2", "m#3")
VERBS = ("complete", "fail", "obey")


@pytest.fixture
def world(store: RedisStore, namespace: str) -> Iterator[RunWorld]:
    """Return a world with runs."""
    yield from run_world(store, namespace)


def _sent(world: RunWorld, *, enough: int | None = None, fast: bool = False) -> list[Held]:
    """Return the held members of a run that waits for all of them."""
    claim = parent_in(world)
    jobs = send_jobs(world, claim, *MEMBERS)
    assert world.runs.suspend(claim, awaited(*MEMBERS), enough=enough, fast=fast) == ("DONE", [])
    worker = world.register()
    return [world.claim(job, worker) for job in jobs]


def _wakes_at(verbs: Sequence[str], *, enough: int, fast: bool) -> list[bool]:
    """Return at which of these ends a run wakes: at the first that gives it what it lacks, and at no other."""
    has_enough = [len(verbs) - ended <= enough for ended in range(1, len(verbs) + 1)]
    lacks_nothing = [it or (fast and verb != "complete") for it, verb in zip(has_enough, verbs, strict=True)]
    first = lacks_nothing.index(True)
    return [n == first for n in range(len(verbs))]


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("enough", [0, 1, 2])
def test_a_run_wakes_once_and_when_it_has_what_it_lacked(world: RunWorld, enough: int, *, fast: bool) -> None:
    """However its members end, and in whatever order: never too early, never too late, never twice."""
    for verbs in product(VERBS, repeat=len(MEMBERS)):
        held = _sent(world, enough=enough, fast=fast)

        woken = [world.end(verb, one).woken != "" for verb, one in zip(verbs, held, strict=True)]

        assert woken == _wakes_at(verbs, enough=enough, fast=fast), verbs


def test_a_run_that_does_not_say_how_many_wakes_at_the_first(world: RunWorld) -> None:
    """Whatever that comes to."""
    for verb in VERBS:
        held = _sent(world)
        assert [world.end(verb, one).woken for one in held] == ["2", "", ""]


def test_outcomes_are_numbered_in_their_order(world: RunWorld) -> None:
    """What decides a race is read from these numbers: the last member ended first."""
    held = _sent(world, enough=0)
    for n, one in enumerate(reversed(held)):
        world.passes(n)
        world.end("complete", one)

    parent = held[0].ref.parent
    assert parent is not None
    seqs = {name: (one.seq, one.at) for name, one in world.promises(parent.ref).items()}
    assert seqs == {"m#1": (4, START + 3), "m#2": (3, START + 1), "m#3": (2, START)}


def test_members_that_ended_before_are_counted_too(world: RunWorld) -> None:
    """Of three, one ended while the run was held: if two may be open it does not even rest, if one may, it does."""
    for enough, verdict in ((2, "READY"), (1, "DONE")):
        claim = parent_in(world)
        first, second, _ = send_jobs(world, claim, *MEMBERS)
        world.end("complete", world.claim(first, world.register()))

        assert world.runs.suspend(claim, awaited(*MEMBERS), enough=enough)[0] == verdict
        woken = world.end("complete", world.claim(second, world.register())).woken
        assert woken == ("2" if verdict == "DONE" else "")


@pytest.mark.parametrize("fast", [False, True])
def test_a_failure_from_before_keeps_a_run_that_is_fast_from_resting(world: RunWorld, *, fast: bool) -> None:
    """It is answered with the failure; one that takes failures as they come rests for the others."""
    claim = parent_in(world)
    first, *_ = send_jobs(world, claim, *MEMBERS)
    world.end("fail", world.claim(first, world.register()))

    verdict, details = world.runs.suspend(claim, awaited(*MEMBERS), enough=0, fast=fast)

    assert (verdict, details[:1]) == (("READY", [b"m#1"]) if fast else ("DONE", []))


def test_jobs_and_children_are_waited_for_together(world: RunWorld) -> None:
    """Two of each: the run wakes at the last."""
    claim = parent_in(world)
    jobs, runs = send_jobs(world, claim, "m#1", "m#2"), send_runs(world, claim, "c#1", "c#2")
    world.runs.suspend(claim, awaited("m#1", "m#2", "c#1", "c#2"), enough=0)
    worker = world.register()

    woken = [world.end("fail", world.claim(job, worker)).woken for job in jobs]
    woken += [world.finish(world.take(run, worker), "cancelled").woken for run in runs]

    assert woken == ["", "", "", "2"]


def test_a_due_time_counts_like_an_end(world: RunWorld) -> None:
    """A sleep among what is waited for is struck off when it is over; its timer outlives the run's wake-up."""
    claim = parent_in(world)
    first, second = send_jobs(world, claim, "m#1", "m#2")
    waits = [*awaited("m#1", "m#2"), asleep(100), awaits("awaiting", 9_000, "e#1")]
    world.runs.suspend(claim, waits, enough=1)
    worker = world.register()
    assert world.end("complete", world.claim(first, worker)).woken == ""
    world.passes(100)
    assert world.fire(claim.ref) == ("NOTHING", "waiting")

    assert world.end("complete", world.claim(second, worker)).woken == "2"

    assert world.due_of(claim.ref) == {"e#1": START + 9_000}
    assert world.dump().ordered["timers"] == {claim.ref.id: START + 9_000}
