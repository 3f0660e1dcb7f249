"""``lib/join``, ``strike`` and ``ended``, in every script that ends a job or a run: what its run learns of that end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from dispatch_celery.store.client import RedisStore
from dispatch_celery.work.model import WorkRef
from dispatch_celery.workflows.held import RunClaim
from tests.lua.families import Act, Ending, awaited, each_ending, parent_in, send_jobs, send_runs
from tests.lua.run_world import ENDS, RunWorld, run_world
from tests.lua.world import ENDS as JOB_ENDS
from tests.lua.world import START


@pytest.fixture
def world(store: RedisStore, namespace: str) -> Iterator[RunWorld]:
    """Return a world with runs."""
    yield from run_world(store, namespace)


def _waiting(world: RunWorld, ending: Ending) -> tuple[RunClaim, WorkRef, Act]:
    """Return a run that waits for one member, that member, and what ends it."""
    claim = parent_in(world)
    ref, act = ending.prepare(world, claim, "m#1")
    assert world.runs.suspend(claim, awaited("m#1")) == ("DONE", [])
    return claim, ref, act


# -- one end, told once


@each_ending
def test_an_end_wakes_the_run_that_waits_for_it(world: RunWorld, ending: Ending) -> None:
    """Its promise is resolved in its place, with what is told; the run is ready in its own lane, to be published."""
    claim, ref, act = _waiting(world, ending)
    before = world.promises(claim.ref)["m#1"]
    seq = int(world.shown(claim.ref)["seq"])
    world.jobs.tidy("p:5")
    world.passes(30)

    answer = act()

    promise, record, found = world.promises(claim.ref)["m#1"], world.shown(claim.ref), world.dump()
    assert (answer.verdict, answer.detail, answer.woken) == ("DONE", str(START + 30), "2")
    assert (promise.status, promise.seq, promise.at) == (ending.status, seq + 1, START + 30)
    assert (promise.head, promise.payload) == (before.head, ending.told(ref))
    assert (record["state"], record["wake"], record["seq"]) == ("pending", "2", str(seq + 1))
    assert not {"enough", "fast"} & set(record)
    assert found.ordered["lane:p:5"] == {claim.ref.id: START + 30}
    assert found.ordered["marks"][f"{claim.ref.id}:2"] == START + 1_030
    assert "p:5" in found.sets["lanes"]  # it was taken off the list while nothing was in it
    assert [one["event"] for one in found.journal if one["id"] == claim.ref.id][-1] == "dispatch.run.ready"


@each_ending
def test_an_end_is_struck_off_what_the_run_would_have_to_undo(world: RunWorld, ending: Ending) -> None:
    """Nothing of the member is left to be called off; who takes the run is told of its end."""
    claim, ref, act = _waiting(world, ending)
    assert world.open_undos(claim.ref) == ["m#1"]

    act()

    again = world.take(claim.ref, nonce="b")
    assert (world.open_undos(claim.ref), again.undos) == ([], [])
    assert {one.identity: one.payload for one in again.entries} == {"m#1": ending.told(ref)}


@each_ending
def test_an_end_sent_twice_is_told_once(world: RunWorld, ending: Ending) -> None:
    """The second time nothing changes, some time later, and whether the run has gone on meanwhile or not."""
    claim, _, act = _waiting(world, ending)
    assert act().verdict == "DONE"
    after = world.dump()
    world.passes(5)

    assert act().verdict == ending.again
    assert world.dump() == after
    world.note(world.take(claim.ref, nonce="b"), "step#1")
    after = world.dump()
    answer = act()
    assert (answer.verdict, answer.woken) == (ending.again, "")
    assert world.dump() == after


@each_ending
def test_an_end_is_accepted_when_memory_is_full(full: RunWorld, ending: Ending) -> None:
    """The member ends, and its run is ready, or neither could ever be freed."""
    claim, ref, act = _waiting(full, ending)
    full.fill()

    assert (act().verdict, full.shown(claim.ref)["state"]) == ("DONE", "pending")
    promise = full.promises(claim.ref)["m#1"]
    assert (promise.status, promise.payload) == (ending.status, ending.told(ref))


@pytest.mark.parametrize("token", ["1.other", "2.nonce", ""])
@pytest.mark.parametrize("verb", ["complete", "fail", "obey", *ENDS])
def test_a_zombie_tells_nobody(world: RunWorld, verb: str, token: str) -> None:
    """An outcome under another token than the member's is neither recorded nor told."""
    claim = parent_in(world)
    if verb in JOB_ENDS:
        (job,) = send_jobs(world, claim, "m#1")
        held = world.claim(job, world.register())
    else:
        (run,) = send_runs(world, claim, "m#1")
        child = world.take(run)
    world.runs.suspend(claim, awaited("m#1"))
    before = world.dump()

    answer = world.end(verb, held, token=token) if verb in JOB_ENDS else world.finish(replace(child, token=token), verb)

    assert (answer.verdict, answer.woken) == ("FENCED", "")
    assert world.dump() == before
