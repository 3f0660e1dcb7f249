"""How far a step says it has come: its holder's word, seen while it runs and gone with what it was said of."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from dispatch_celery.errors import Fenced, PayloadError, StoreUnavailable
from dispatch_celery.store.client import RedisStore
from dispatch_celery.workflows.held import RunClaim
from dispatch_celery.workflows.holder import Holder
from dispatch_celery.workflows.records import RunRecords
from dispatch_celery.workflows.step_definition import StepCall, StepDefinition
from dispatch_celery.workflows.steps import StepContext, context_of, in_step
from tests.lua.run_world import ENDS, RunWorld, asleep, held_by, run_world

SAID = '{"step":"a#1","done":1}'


@pytest.fixture
def world(store: RedisStore, namespace: str) -> Iterator[RunWorld]:
    """Return a world with runs."""
    yield from run_world(store, namespace)


def _said(world: RunWorld) -> RunClaim:
    claim = world.taken()
    assert world.runs.progress(claim.ref.id, claim.token, SAID).verdict == "DONE"
    return claim


def _shown(world: RunWorld, claim: RunClaim) -> object:
    (run,) = RunRecords(world.port, world.keys).runs([claim.ref.id])
    assert run is not None
    return run.progress


def test_the_last_word_is_seen(world: RunWorld) -> None:
    """It is no write of the holder's: the revision stays, and the next outcome is recorded as before."""
    claim = _said(world)
    assert world.runs.progress(claim.ref.id, claim.token, '{"done":2}').verdict == "DONE"

    assert _shown(world, claim) == {"done": 2}
    world.note(claim, "a#1")
    assert _shown(world, claim) is None


@pytest.mark.parametrize("token", ["1.other", "2.nonce", "", "nonce"])
def test_another_token_says_nothing(world: RunWorld, token: str) -> None:
    """A process that was taken for dead does not speak for the one that goes on."""
    claim = _said(world)

    assert world.runs.progress(claim.ref.id, token, "{}").verdict == "FENCED"
    assert _shown(world, claim) == json.loads(SAID)


LEAVES: dict[str, Callable[[RunWorld, RunClaim], object]] = {
    "suspend": lambda world, claim: world.runs.suspend(claim, [asleep(1_000)]),
    "release": lambda world, claim: world.runs.release(claim.ref, **held_by(claim)),
    "recover": lambda world, claim: world.runs.release(claim.ref, **held_by(claim), counter="crashes", pause=5),
    "park": lambda world, claim: world.runs.park(claim.ref, **held_by(claim), reason="r", detail="d"),
    **{end: lambda world, claim, end=end: world.finish(claim, end) for end in ENDS},
}


@pytest.mark.parametrize("verb", LEAVES)
def test_it_is_gone_when_the_run_leaves_its_worker(world: RunWorld, verb: str) -> None:
    """And who held it cannot say more."""
    claim = _said(world)
    LEAVES[verb](world, claim)

    assert "progress" not in world.shown(claim.ref)
    assert world.runs.progress(claim.ref.id, claim.token, "{}").verdict == "FENCED"
    assert _shown(world, claim) is None


def test_it_is_gone_when_an_undo_is_done(world: RunWorld) -> None:
    """As with a step."""
    claim = world.undoing("a#1")
    assert world.runs.progress(claim.ref.id, claim.token, '{"step":"undo:a#1"}').verdict == "DONE"
    world.undo(claim, "a#1")

    assert _shown(world, claim) is None


def test_a_run_that_is_gone_has_none(world: RunWorld) -> None:
    """Nothing is written where there is no record."""
    assert world.runs.progress("run_none", "1.nonce", "{}").verdict == "FENCED"
    assert not world.ask("EXISTS", world.keys.record("run_none"))


# -- by the step's own context


def _step(n: int) -> None:
    """Do nothing."""


def _context(world: RunWorld, claim: RunClaim, identity: str = "charge#1") -> StepContext:
    call = StepCall("charge", StepDefinition(_step), {"n": 1})
    return context_of(call, Holder(claim, store=world.runs, seat=None), identity, 2)  # type: ignore[arg-type]  # no seat is asked


def test_a_step_says_which_it_is(world: RunWorld) -> None:
    """Identity and attempt come with its word; a long message is cut."""
    claim = world.taken()
    with in_step(_context(world, claim)) as mine:
        mine.progress(1.5, 4, "m" * 600)

    assert _shown(world, claim) == {"step": "charge#1", "attempt": 2, "done": 1.5, "total": 4, "message": "m" * 500}


def test_an_undo_is_told_by_its_function(world: RunWorld) -> None:
    """Its identity is that of what it undoes."""
    mine = _context(world, world.taken(), "undo:charge#1")

    assert (mine.name, mine.is_undo) == ("_step", True)
    assert _context(world, world.taken()).name == "charge"


def test_what_is_no_number_is_refused(world: RunWorld) -> None:
    """The error names what was given."""
    with in_step(_context(world, world.taken())) as mine, pytest.raises(PayloadError, match=r"progress\(nan, None\)"):
        mine.progress(float("nan"))


def test_a_step_that_is_not_held_any_more_is_fenced(world: RunWorld) -> None:
    """Its code is to stop."""
    claim = world.taken()
    mine = _context(world, claim)
    world.runs.release(claim.ref, **held_by(claim))

    with in_step(mine), pytest.raises(Fenced, match=r"charge#1 of run_\w+ does not run any more under token 1\.nonce"):
        mine.progress(1)


def test_a_thread_that_a_step_has_left_behind_is_fenced(world: RunWorld) -> None:
    """Its run is still held, but by now it is another step's turn to speak."""
    claim = world.taken()
    with in_step(_context(world, claim)) as mine:
        mine.progress(1)
    with pytest.raises(Fenced):
        mine.progress(2)

    progress = _shown(world, claim)
    assert isinstance(progress, dict)
    assert progress["done"] == 1


def test_a_server_that_does_not_answer_costs_no_attempt(world: RunWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """The step goes on."""
    claim = world.taken()

    def silent(*_: object) -> None:
        raise StoreUnavailable("no answer")

    with in_step(_context(world, claim)) as mine, monkeypatch.context() as patch:
        patch.setattr(world.port, "execute", silent)
        mine.progress(1)
    assert _shown(world, claim) is None
