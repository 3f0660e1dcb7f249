"""Every script of runs can be sent twice with one effect, and to a server that has lost its scripts."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dispatch_celery.errors import StoreUnavailable
from dispatch_celery.store.client import RedisStore
from dispatch_celery.store.scripts import all_scripts
from tests.lua.lost_replies import LosesReplies
from tests.lua.resending import Case, named
from tests.lua.run_cases import CASES
from tests.lua.run_world import RunWorld, run_world


@pytest.fixture
def world(store: RedisStore, namespace: str) -> Iterator[RunWorld]:
    """Return a world with runs."""
    yield from run_world(store, namespace)


def test_every_script_of_runs_is_among_the_cases() -> None:
    """A new one is sent twice here, too."""
    of_runs = {script.name for script in all_scripts() if script.name.startswith("runs/")}
    assert {case.script for case in CASES} >= of_runs


@pytest.mark.parametrize("case", CASES, ids=named)
def test_a_script_of_runs_sent_twice_has_one_effect(world: RunWorld, case: Case[RunWorld]) -> None:
    """The first answer, then the second one, and the same state after both, some time later."""
    act = case.prepare(world)
    assert act() == case.first
    after = world.dump()
    world.passes(5)

    assert act() == case.second
    assert world.dump() == after


@pytest.mark.parametrize("case", CASES, ids=named)
def test_a_lost_reply_is_asked_for_again(store: RedisStore, namespace: str, case: Case[RunWorld]) -> None:
    """Whoever gets no answer sends the same again, and gets the answer of a second time."""
    port = LosesReplies(store)
    for world in run_world(port, namespace):
        act = case.prepare(world)

        port.loses = True
        with pytest.raises(StoreUnavailable, match="the reply was lost"):
            act()

        assert act() == case.second


@pytest.mark.parametrize("case", CASES, ids=named)
def test_a_server_that_lost_its_scripts_is_sent_their_text(world: RunWorld, case: Case[RunWorld]) -> None:
    """After SCRIPT FLUSH the answer is the same as ever."""
    act = case.prepare(world)
    world.ask("SCRIPT", "FLUSH")

    assert act() == case.first
