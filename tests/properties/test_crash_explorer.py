"""The crash explorer: the real engine and the real Lua, with every kind of fault at every call.

A failing world prints its ``Plan``; ``visit(store, namespace, plan)`` runs exactly that world again.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from dispatch_celery.store.client import RedisStore, Store
from tests.support.mutants import MUTANTS, Mutant, MutantStore
from tests.support.scenarios import WORKLOADS, pairs, sample, scenarios, visit
from tests.support.simulation import Fault, Plan

KILLERS = Path(__file__).with_name("killers.json")
SEED = 20_261_121


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Silence the log: thousands of simulated crashes are no news."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def _explore(store: Store, namespace: str, plans: list[Plan]) -> list[str]:
    found = []
    for plan in plans:
        _, problems = visit(store, namespace, plan)
        found += [f"{plan}: {problem}" for problem in problems]
    return found


@pytest.mark.timeout(180)
def test_no_single_fault_breaks_a_promise(store: RedisStore, namespace: str) -> None:
    """A thousand worlds with one fault each come to rest with every invariant unbroken."""
    plans = sample(list(scenarios(store, namespace)), 1_000, SEED)

    assert len(plans) == 1_000
    assert _explore(store, namespace, plans) == []


@pytest.mark.timeout(120)
def test_no_pair_of_faults_breaks_a_promise(store: RedisStore, namespace: str) -> None:
    """Worlds with two faults each come to rest with every invariant unbroken."""
    plans = pairs(list(scenarios(store, namespace)), 150, SEED)

    assert _explore(store, namespace, plans) == []


@pytest.mark.faults
@pytest.mark.timeout(600)
def test_no_single_fault_anywhere_breaks_a_promise(store: RedisStore, namespace: str) -> None:
    """Every world with one fault, all of them, comes to rest with every invariant unbroken."""
    assert _explore(store, namespace, list(scenarios(store, namespace))) == []


def _plan_of(data: dict[str, object]) -> Plan:
    faults = tuple(Fault(**fault) for fault in data["faults"])  # type: ignore[attr-defined]  # read from our own file
    return Plan(tuple(data["jobs"]), faults, inline=bool(data["inline"]), seed=int(data["seed"]))  # type: ignore[call-overload]  # as above


def _killed(store: Store, namespace: str, mutant: Mutant, plan: Plan) -> bool:
    try:
        _, problems = visit(store, namespace, plan, stack=lambda inner: MutantStore(inner, mutant))
    except (KeyError, ValueError, AssertionError) as error:
        # A broken reply can break the engine itself: that is being noticed, too.
        return "has no" not in str(error)
    return bool(problems)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_planted_bug_is_caught(mutant: Mutant, store: RedisStore, namespace: str) -> None:
    """The recorded world of each planted bug breaks a promise with it, and none without."""
    plan = _plan_of(json.loads(KILLERS.read_text())[mutant.name])

    assert visit(store, namespace, plan)[1] == []
    assert _killed(store, namespace, mutant, plan)


@pytest.mark.faults
@pytest.mark.timeout(600)
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_planted_bug_is_found_by_searching(mutant: Mutant, store: RedisStore, namespace: str) -> None:
    """The search finds a world that catches each planted bug, without being told where to look."""
    calm = [Plan(jobs, inline=inline) for jobs in WORKLOADS for inline in (True, False)]
    plans = calm + sample(list(scenarios(store, namespace)), 3_000, SEED)

    assert any(_killed(store, namespace, mutant, plan) for plan in plans)
