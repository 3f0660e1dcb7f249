"""The crash explorer: the real engine and the real Lua, with every kind of fault at every call.

A failing world prints its ``Plan``; ``visit(store, namespace, plan)`` runs exactly that world again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from itertools import chain

import pytest

from dispatch_celery.config import Settings
from dispatch_celery.store.client import RedisStore, Store
from dispatch_celery.store.embedded import EmbeddedServer
from tests.support.killers import SEED, killed, killers, worlds
from tests.support.mutants import MUTANTS, RUN_MUTANTS, Mutant
from tests.support.scenarios import FLOWS, pairs, sample, scenarios, visit
from tests.support.simulation import Plan

PARTS = 16
"""Into how many tests all worlds with runs are divided, so that they are explored on every core: 6,000 each."""


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Silence the log: thousands of simulated crashes are no news."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture(scope="module")
def socket_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the URL of a server on a socket of the file system: a trip to it costs two thirds of one over TCP."""
    path = tmp_path_factory.mktemp("explorer") / "server"
    with EmbeddedServer(append_only=False, options=("--unixsocket", str(path))):
        yield f"unix://{path}"


@pytest.fixture
def store(socket_url: str) -> Iterator[RedisStore]:
    """Return the port to the server of this module."""
    port = RedisStore(Settings(), socket_url)
    yield port
    port.close()


def _explore(store: Store, namespace: str, plans: list[Plan]) -> list[str]:
    found = []
    for plan in plans:
        _, problems = visit(store, namespace, plan)
        found += [f"{plan}: {problem}" for problem in problems]
    return found


_LONG = ("a failed member tells nobody", "a child's end resolves nothing", "a nudge wakes nobody")
_SHOWN = [
    pytest.param(mutant, marks=[pytest.mark.faults] if mutant.name in _LONG else [])
    for mutant in [*MUTANTS, *RUN_MUTANTS]
]
"""The planted bugs; those whose world takes its time are of the long matrix."""


@pytest.mark.timeout(180)
def test_no_single_fault_breaks_a_promise(store: RedisStore, namespace: str) -> None:
    """Some of the worlds with one fault each come to rest with every invariant unbroken."""
    plans = sample(list(scenarios(store, namespace)), 250, SEED)

    assert len(plans) == 250
    assert _explore(store, namespace, plans) == []


@pytest.mark.timeout(120)
def test_no_pair_of_faults_breaks_a_promise(store: RedisStore, namespace: str) -> None:
    """Worlds with two faults each come to rest with every invariant unbroken."""
    plans = pairs(list(scenarios(store, namespace)), 150, SEED)

    assert _explore(store, namespace, plans) == []


@pytest.mark.timeout(180)
def test_no_single_fault_breaks_a_promise_about_runs(store: RedisStore, namespace: str) -> None:
    """Some of the worlds with runs and one fault each come to rest with every invariant unbroken."""
    plans = sample(list(scenarios(store, namespace, FLOWS)), 300, SEED)

    assert len(plans) == 300
    assert _explore(store, namespace, plans) == []


@pytest.mark.timeout(120)
def test_no_pair_of_faults_breaks_a_promise_about_runs(store: RedisStore, namespace: str) -> None:
    """Worlds with runs and two faults each come to rest with every invariant unbroken."""
    plans = pairs(list(scenarios(store, namespace, FLOWS)), 75, SEED)

    assert _explore(store, namespace, plans) == []


@pytest.mark.faults
@pytest.mark.timeout(600)
@pytest.mark.parametrize("part", range(4))
def test_no_single_fault_breaks_a_promise_about_runs_in_thousands(store: RedisStore, namespace: str, part: int) -> None:
    """Five thousand worlds with runs and one fault, spread over all, come to rest with every invariant unbroken."""
    plans = sample(list(scenarios(store, namespace, FLOWS)), 5_000, SEED + 1)

    assert _explore(store, namespace, plans[part::4]) == []


@pytest.mark.explore
@pytest.mark.timeout(1_200)
@pytest.mark.parametrize("part", range(PARTS))
def test_no_single_fault_anywhere_breaks_a_promise_about_runs(store: RedisStore, namespace: str, part: int) -> None:
    """Every world with runs and one fault, all of them, comes to rest with every invariant unbroken."""
    assert _explore(store, namespace, list(scenarios(store, namespace, FLOWS))[part::PARTS]) == []


@pytest.mark.faults
@pytest.mark.timeout(600)
def test_no_single_fault_anywhere_breaks_a_promise(store: RedisStore, namespace: str) -> None:
    """Every world with one fault, all of them, comes to rest with every invariant unbroken."""
    assert _explore(store, namespace, list(scenarios(store, namespace))) == []


@pytest.mark.parametrize("mutant", _SHOWN, ids=lambda mutant: mutant.name)
def test_a_planted_bug_is_caught(mutant: Mutant, store: RedisStore, namespace: str) -> None:
    """The recorded world of each planted bug breaks a promise with it, and none without."""
    plan = killers()[mutant.name]

    assert visit(store, namespace, plan)[1] == []
    assert killed(store, namespace, mutant, plan)


@pytest.mark.explore
@pytest.mark.timeout(1_200)
@pytest.mark.parametrize("mutant", [*MUTANTS, *RUN_MUTANTS], ids=lambda mutant: mutant.name)
def test_a_planted_bug_is_found_by_searching(mutant: Mutant, store: RedisStore, namespace: str) -> None:
    """The search finds a world that catches each planted bug, without being told where to look.

    Where three thousand worlds hold none, it looks into all that the recorded one was taken from.
    """
    rest = scenarios(store, namespace, [killers()[mutant.name].jobs])
    assert any(killed(store, namespace, mutant, plan) for plan in chain(worlds(store, namespace, mutant), rest))
