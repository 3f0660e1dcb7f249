"""A job's life against a model of it: any history of verbs leaves the server as the model says.

A failure prints the shortest history that shows it, as calls of the machine's rules. The histories are drawn from the
code alone, so the same ones come again; ``make faults`` draws more and longer ones.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from itertools import count

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from dispatch_celery.ids import JobId
from dispatch_celery.store.client import RedisStore, Store
from tests.lua.world import World
from tests.support.machine import JobMachine
from tests.support.mutants import MUTANTS, Mutant, MutantStore

NORMAL = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    database=None,
    report_multiple_bugs=False,
    suppress_health_check=list(
        HealthCheck
    ),  # a step is some trips to a server, and its choices are filtered on purpose
)
LONG = settings(NORMAL, max_examples=1_500, stateful_step_count=60)
ONLY_FIND = settings(NORMAL, max_examples=600, phases=(Phase.generate,))
PLANTED = ("the fence compares no token", "a retry has no timer")


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Silence the log: thousands of lost workers are no news."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def _machines(port: Store, namespace: str) -> Callable[[], JobMachine]:
    """Return a maker of machines, each in a namespace of its own."""
    numbers = count()
    return lambda: JobMachine(port, f"{namespace}-{next(numbers)}")


def test_any_history_is_as_the_model_says(store: RedisStore, namespace: str) -> None:
    """Whatever is done in whatever order, answers, records, indexes, holdings and keys are the model's."""
    run_state_machine_as_test(_machines(store, namespace), settings=NORMAL)


@pytest.mark.faults
@pytest.mark.timeout(600)
def test_any_long_history_is_as_the_model_says(store: RedisStore, namespace: str) -> None:
    """The same, for more and longer histories."""
    run_state_machine_as_test(_machines(store, namespace), settings=LONG)


def _budget_notices(mutant: Mutant, store: Store, namespace: str) -> None:
    with pytest.raises(AssertionError, match="from the model"):
        run_state_machine_as_test(_machines(MutantStore(store, mutant), namespace), settings=ONLY_FIND)


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_bug_is_noticed(name: str, store: RedisStore, namespace: str) -> None:
    """The usual number of histories is enough to find a bug that was put into a script."""
    (mutant,) = [mutant for mutant in MUTANTS if mutant.name == name]

    _budget_notices(mutant, store, namespace)


@pytest.mark.faults
@pytest.mark.timeout(120)
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_planted_bug_is_noticed(mutant: Mutant, store: RedisStore, namespace: str) -> None:
    """The model sees each of the planted bugs, those of the crash explorer that need no crash."""
    _budget_notices(mutant, store, namespace)


def test_a_job_reopened_late_leaves_the_key_of_another_alone(store: RedisStore, namespace: str) -> None:
    """A dead letter that outlived its key, when it is reopened, takes nothing from the job that has the key now."""
    world = World(store, namespace, retain_failed=60, retain_completed=60, retain_key=60)
    world.time.now = 4_000_000_000_000
    old = world.at("failed", key="k", job_id=JobId.adopt("old"))
    world.passes(60_000)
    # What the server does by itself, whose clock is not the test's.
    world.ask("DEL", world.keys.idempotency("", "mail", "k"))
    new = world.at("completed", key="k", job_id=JobId.adopt("new"))
    kept_until = world.ask("PEXPIRETIME", world.keys.idempotency("", "mail", "k"))
    try:
        assert kept_until == world.now + 60_000
        assert world.jobs.reopen(old).verdict == "READY"
        assert world.ask("PEXPIRETIME", world.keys.idempotency("", "mail", "k")) == kept_until
        assert world.ask("GET", world.keys.idempotency("", "mail", "k")).startswith(new.id.encode())
    finally:
        world.ask("DEL", *world.ask("KEYS", f"{world.keys.tag}*"))
