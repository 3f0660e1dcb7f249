"""``runs/start``: how a run comes to be, once, now or for later."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from dispatch_celery.store.client import RedisStore
from tests.lua.run_world import RunWorld, run_world
from tests.lua.world import START


@pytest.fixture
def world(store: RedisStore, namespace: str) -> Iterator[RunWorld]:
    """Return a world with runs."""
    yield from run_world(store, namespace)


def test_a_new_run_is_ready_and_found_by_every_index(world: RunWorld) -> None:
    """Record, state, name and scope index, lane and ready mark are written by one script; no timer is."""
    run = world.new_run(scope="app/org", queue="a:b", priority=3, payload=b'{"x":[]}')

    assert world.runs.start(run) == ["CREATED", "pending", str(START)]

    ref, found, record = run.ref, world.dump(), world.shown(run.ref)
    for index in ("run-state:pending", "run-name:pending:order", "run-scope:app/org", "lane:a:b:3"):
        assert found.ordered[index] == {ref.id: START}
    assert found.ordered["marks"] == {f"{ref.id}:1": START + 1_000}
    assert found.sets["lanes"] == {"a:b:3"}
    assert (record["payload"], record["version"]) == ('{"x":[]}', "1")
    assert json.loads(record["spec"]) == run.spec
    assert "timers" not in found.ordered


@pytest.mark.parametrize("option", [{"delay": 700}, {"run_at": START + 700}])
def test_a_run_for_later_waits_for_its_start(world: RunWorld, option: dict[str, Any]) -> None:
    """Only its start is due, under one timer; it is in no lane and has no mark."""
    run = world.new_run(**option)

    assert world.runs.start(run) == ["CREATED", "waiting", str(START)]

    found = world.dump()
    assert world.due_of(run.ref) == {"start": START + 700}
    assert found.ordered["timers"] == {run.ref.id: START + 700}
    assert not {"marks", "lane:q:0"} & set(found.ordered)


@pytest.mark.parametrize("option", [{"delay": 0}, {"run_at": START - 5}, {"run_at": START}])
def test_a_start_that_is_not_in_the_future_is_at_once(world: RunWorld, option: dict[str, Any]) -> None:
    """Nothing waits for a time that has come."""
    assert world.runs.start(world.new_run(**option))[1] == "pending"


@pytest.mark.parametrize(("delay", "begins"), [(None, START), (700, START + 700)])
def test_the_time_of_a_run_begins_with_its_start(world: RunWorld, delay: int | None, begins: int) -> None:
    """Its deadline is due that much after the start, whether a worker takes it or not."""
    ref = world.start(delay=delay, timeout=9_000)

    assert world.due_of(ref)["deadline"] == begins + 9_000
    assert world.dump().ordered["timers"] == {ref.id: min(world.due_of(ref).values())}


@pytest.mark.parametrize("options", [{}, {"delay": 700}, {"timeout": 900}, {"key": "k", "scope": "a/b"}])
def test_a_start_sent_again_has_one_effect(world: RunWorld, options: dict[str, Any]) -> None:
    """Now and later the answer names the state, and nothing is written."""
    run = world.new_run(**options)
    _, state, _ = world.runs.start(run)
    before = world.dump()
    world.passes(50)

    assert world.runs.start(run) == ["REPEATED", state]
    assert world.dump() == before


def test_a_start_sent_again_late_does_not_start_it_anew(world: RunWorld) -> None:
    """A run that has gone on, or has ended, stays where it is."""
    run = world.new_run(key="k")
    world.runs.start(run)
    claim = world.take(run.ref)
    assert world.runs.start(run) == ["REPEATED", "running"]
    world.finish(claim)
    before = world.dump()

    assert world.runs.start(run) == ["REPEATED", "completed"]
    assert world.dump() == before


def test_an_idempotency_key_names_one_run(world: RunWorld) -> None:
    """The same payload is the first run, another one a conflict with it; another name or tenant is another key."""
    first = world.start(key="k", payload=b"[1]")
    before = world.dump()

    assert world.runs.start(world.new_run(key="k", payload=b"[1]")) == ["EXISTING", first.id]
    assert world.runs.start(world.new_run(key="k", payload=b"[2]")) == ["CONFLICT", first.id]
    assert world.dump() == before
    assert world.runs.start(world.new_run(key="k", payload=b"[2]", name="other"))[0] == "CREATED"
    assert world.runs.start(world.new_run(key="k", payload=b"[2]", scope="a/b"))[0] == "CREATED"
