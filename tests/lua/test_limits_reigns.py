"""Limits between leaders and people: a reign whose first round fails, a pause of what has its permit already."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from dispatch_celery.clock import from_ms
from dispatch_celery.errors import ConfigurationError
from dispatch_celery.jobs.model import JobState
from dispatch_celery.queues.model import PerKey
from dispatch_celery.queues.service import QueueService
from tests.lua.world import START, World
from tests.support.limit_walk import Broker, Died, Dying, make_duty


def _service(world: World) -> QueueService:
    return QueueService(world.limits, ready=dict)


@pytest.mark.parametrize("after", [False, True])
def test_a_reign_whose_first_round_fails_looks_at_every_limit_in_the_next(world: World, *, after: bool) -> None:
    """The server was away before, or after, it was told what to do; nobody says again that a rate has a token."""
    world.limit(rate="10/s", burst=1)
    refs = [world.enqueue(), world.enqueue()]
    old = make_duty(world, world.port, Broker(), clock=lambda: world.now)
    for _ in range(3):
        old.run_once()
    assert sorted(world.record(ref)["state"] for ref in refs) == [JobState.LIMITED, JobState.PENDING]

    port = Dying(world.port)
    new = make_duty(world, port, Broker(), lambda: "t2", clock=lambda: world.now)
    port.left, port.after = 3, after
    with pytest.raises(Died):
        new.run_once()
    port.left = -1
    world.passes(1_000)
    new.run_once()

    assert {world.record(ref)["state"] for ref in refs} == {JobState.PENDING}


@pytest.mark.parametrize("until", [-5, 0, timedelta(seconds=-1), from_ms(START - 1)])
def test_a_pause_that_is_over_already_is_refused(world: World, until: Any) -> None:
    """It would be told as a pause, and be none."""
    service = _service(world)

    with pytest.raises(ConfigurationError, match="is over already"):
        service.pause("q", until=until)
    assert list(service.list()) == []


def test_a_pause_says_why_until_it_is_over(world: World) -> None:
    """A later one says what it says; one that is over, by itself or by a person, says nothing."""
    service = _service(world)
    assert service.pause("q", until=5, reason="the bank\nis away").pause_reason == "the bank?is away"
    assert service.pause("q").pause_reason == ""
    service.resume("q")
    service.limit("q", concurrency=1)

    service.pause("q", until=5, reason="again")
    assert service.pause("q", until=1, reason="shorter").pause_reason == "again"
    world.passes(5_000)
    make_duty(world, world.port, Broker(), clock=lambda: world.now).run_once()

    assert service.get("q").pause_reason == ""
    assert not service.get("q").paused


@pytest.mark.parametrize("where", [{"queue": "q"}, {"job": "mail"}])
def test_a_pause_holds_what_has_its_permit_and_has_not_begun(world: World, where: dict[str, str]) -> None:
    """It gives the permit back, asks again, and begins when the pause is over."""
    service = _service(world)
    service.limit(**where, concurrency=1)
    first, second = world.enqueue(), world.enqueue()
    duty = make_duty(world, world.port, Broker(), clock=lambda: world.now)
    duty.run_once()
    assert world.record(first)["state"] == JobState.PENDING
    service.pause(**where)

    worker = world.register()
    limit = ":".join(next(iter(where.items())))
    assert world.jobs.claim(first, holder=worker, nonce="n", pid=7) == ("LIMITED", (limit,))
    assert "permits" not in world.record(first)
    for _ in range(3):
        duty.run_once()
    assert {world.record(ref)["state"] for ref in (first, second)} == {JobState.LIMITED}
    assert service.get(**where).permits == 0

    service.resume(**where)
    for _ in range(3):
        duty.run_once()
    states = [world.record(ref)["state"] for ref in (first, second)]
    assert sorted(states) == [JobState.LIMITED, JobState.PENDING]
    ready = (first, second)[states.index(JobState.PENDING)]
    assert world.jobs.claim(ready, holder=worker, nonce="n", pid=7)[0] == "CLAIMED"


def test_the_weights_of_a_limit_go_with_it(world: World) -> None:
    """A limit that is set later has those it was given."""
    service = _service(world)
    service.limit("q", per_key=PerKey(by="scope", concurrency=5, weights={"a": 3}))
    service.unlimit("q")

    service.limit("q", per_key=PerKey(by="scope", concurrency=5))
    assert world.ask("HGET", world.keys.limit("queue:q", "weights"), "a") is None


def test_a_limit_that_is_made_anew_is_looked_at(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look at which its forerunner was dissolved, and the report of that look: a pause that is to end."""
    service = _service(world)
    service.limit("q", concurrency=1)
    service.unlimit("q")
    duty = make_duty(world, world.port, Broker(), clock=lambda: world.now)
    real = world.limits.dissolve

    def dissolve(limit: str) -> bool:
        done = real(limit)
        world.passes(1)
        service.pause("q", until=5)
        return done

    with monkeypatch.context() as patched:
        patched.setattr(duty._store, "dissolve", dissolve)
        duty.run_once()
    for _ in range(10):
        world.passes(1_000)
        duty.run_once()

    assert world.ask("HGET", world.keys.limits, "queue:q") is None
