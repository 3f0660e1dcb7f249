"""Races about one run that waits for an event: publish, look, rest, time out, be nudged, be cancelled, in any order.

A failing race prints its seed and every call it made, in their order; ``RaceWorld(store, namespace).play(seed)`` runs
exactly that race again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from dispatch_celery.store.client import RedisStore
from tests.support.mutants import Mutant, MutantStore
from tests.support.race_mutants import RACE_MUTANTS
from tests.support.races import Race, RaceWorld

COUNT = 250
PLANTED = ("a wait is over before its run has looked once more", "a run that was asked to cancel rests")


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Silence the log: hundreds of runs that are cancelled are no news."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture
def world(store: RedisStore, namespace: str) -> Iterator[RaceWorld]:
    """Return a world for races."""
    world = RaceWorld(store, namespace)
    yield world
    world.clean()


def _play(world: RaceWorld, seeds: range) -> list[Race]:
    races = [world.play(seed) for seed in seeds]
    broken = [str(race) for race in races if race.problems]
    assert not broken, f"{len(broken)} of {len(races)} races broke a promise, the first of them:\n{broken[0]}"
    return races


@pytest.mark.parametrize("part", range(4))
def test_an_event_a_timeout_or_a_cancel_wins_and_nothing_is_lost(world: RaceWorld, part: int) -> None:
    """In 1,000 orders of calls exactly one of them wins, and each wins some: no event is lost, or taken twice."""
    races = _play(world, range(part * COUNT, (part + 1) * COUNT))

    assert {race.winner for race in races} == {"event", "timeout", "cancel"}
    late = [race.winner for race in races if race.passed and not race.cancelled]
    assert late.count("event") > 10, "an event is stored before the time is up"
    assert late.count("timeout") > 10, "the time is up before an event is stored"


@pytest.mark.faults
@pytest.mark.timeout(600)
@pytest.mark.parametrize("part", range(4))
def test_nothing_is_lost_in_many_races(world: RaceWorld, part: int) -> None:
    """The same, in 20,000 more orders."""
    _play(world, range(10_000 + part * 5_000, 15_000 + part * 5_000))


def test_a_seed_makes_the_same_race_again(store: RedisStore, namespace: str) -> None:
    """Or nobody could look into one that went wrong."""
    first, second = (RaceWorld(store, f"{namespace}-{n}") for n in range(2))
    second.play(3)
    for seed in range(20):
        one, other = first.play(seed), second.play(seed)
        assert (one.trace, one.said, one.heard) == (other.trace, other.said, other.heard)
    first.clean()
    second.clean()


def _is_noticed(mutant: Mutant, store: RedisStore, namespace: str, seeds: int) -> bool:
    world = RaceWorld(MutantStore(store, mutant), namespace)
    try:
        return any(world.play(seed).problems for seed in range(seeds))
    finally:
        world.clean()


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_bug_is_noticed(name: str, store: RedisStore, namespace: str) -> None:
    """A few races are enough to find a bug that was put into a script."""
    (mutant,) = [mutant for mutant in RACE_MUTANTS if mutant.name == name]

    assert _is_noticed(mutant, store, namespace, 200)


@pytest.mark.faults
@pytest.mark.timeout(120)
@pytest.mark.parametrize("mutant", RACE_MUTANTS, ids=lambda mutant: mutant.name)
def test_every_planted_bug_is_noticed(mutant: Mutant, store: RedisStore, namespace: str) -> None:
    """As many races as the suite runs find each of the planted bugs."""
    assert _is_noticed(mutant, store, namespace, 4 * COUNT)
