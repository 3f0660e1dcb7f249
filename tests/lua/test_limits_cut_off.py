"""Limits whose change is cut off: whoever made it died, or the server was started anew in the midst of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pytest

from dispatch_celery.config import Settings
from dispatch_celery.jobs.model import JobRef, JobState
from dispatch_celery.queues.model import PerKey
from dispatch_celery.queues.permits import Permits
from dispatch_celery.queues.service import QueueService
from dispatch_celery.queues.store import LimitStore
from dispatch_celery.store.client import RedisStore
from dispatch_celery.store.embedded import EmbeddedServer
from dispatch_celery.store.scripts import Call
from dispatch_celery.work.upkeep import BATCH
from tests.lua.world import World
from tests.support.limit_walk import Broker, Died, Dying, make_duty

BY_TO = PerKey(by="arguments.to", concurrency=1)


def _service(world: World, port: Any = None) -> QueueService:
    return QueueService(LimitStore(port or world.port, world.keys, world.settings, world.time), ready=dict)


def _duty(world: World, port: Any = None) -> Permits:
    return make_duty(world, port or world.port, Broker(), clock=lambda: world.now)


def _rest(duty: Permits) -> None:
    for _ in range(500):
        if duty.run_once() != 0:
            return
    raise AssertionError("something is to be done for ever")


def _for(world: World, to: str) -> JobRef:
    return world.enqueue(payload=json.dumps({"to": to}).encode())


def _pending(world: World, refs: Sequence[JobRef]) -> list[int]:
    return [n for n, ref in enumerate(refs) if world.record(ref)["state"] == JobState.PENDING]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("call", range(1, 6))
@pytest.mark.parametrize("verb", ["resume", "unlimit"])
def test_who_dies_while_he_lets_a_queue_go_on_leaves_nobody_waiting(
    world: World, verb: str, call: int, *, after: bool
) -> None:
    """Either nothing has changed, or everybody goes."""
    dying, duty = Dying(world.port), _duty(world)
    _service(world).limit("q", concurrency=5)
    _service(world).pause("q")
    refs = [world.enqueue() for _ in range(2)]
    _rest(duty)

    dying.left, dying.after = call, after
    with suppress(Died):
        getattr(_service(world, dying), verb)("q")
    _rest(duty)
    (stands,) = world.limits.read(["queue:q"])
    if stands is not None and stands.paused:
        assert _pending(world, refs) == []
        return
    assert _pending(world, refs) == [0, 1]
    worker = world.register()
    assert world.jobs.claim(refs[0], holder=worker, nonce="n", pid=7)[0] == "CLAIMED"


def test_who_dies_over_new_keys_has_jobs_told_apart_all_the_same(world: World) -> None:
    """He had changed the limit, and not let jobs know: a job with other arguments gives its permit back."""
    dying, duty = Dying(world.port), _duty(world)
    _service(world).limit("q", concurrency=10)
    refs = [_for(world, to) for to in "ab"]
    _rest(duty)
    dying.left, dying.after = 1, True
    with pytest.raises(Died):
        _service(world, dying).limit("q", concurrency=10, per_key=BY_TO)
    world.enqueue(name="sms", payload=b'{"to": "c"}')  # the leader looks at the limit
    _rest(duty)

    new = world.job(payload=b'{"to": "b"}')
    assert world.jobs.replace(refs[0].id, new).verdict == "DONE"
    worker = world.register()
    verdicts = [world.jobs.claim(ref, holder=worker, nonce=ref.id, pid=7)[0] for ref in refs]

    assert verdicts == ["LIMITED", "CLAIMED"]


def test_who_waits_when_a_limit_is_lifted_and_set_anew_goes_in_the_order_of_arrival(world: World) -> None:
    """The new limit tells nobody apart: that two of them had keys says nothing any more."""
    service, duty = _service(world), _duty(world)
    service.limit("q", concurrency=1, per_key=BY_TO)
    refs = [_for(world, to) for to in "aaab"]
    _rest(duty)
    assert _pending(world, refs) == [0]

    service.unlimit("q")
    service.limit("q", concurrency=3)
    _rest(duty)

    assert _pending(world, refs) == [0, 1, 2]


def test_keys_that_were_told_for_an_earlier_change_do_not_end_a_later_one(world: World) -> None:
    """Two leaders, and keys that are told by one thing, by another, and by the first again."""
    service, duty = _service(world), _duty(world)
    service.limit("q", concurrency=1)
    refs = [_for(world, "a")]
    _rest(duty)
    service.limit("q", concurrency=10, per_key=BY_TO)

    class Slow:
        """A port on which all this happens before the first keys are told."""

        changed = False

        def execute(self, calls: Sequence[Call]) -> list[Any]:
            if not self.changed and calls[0].script is not None and calls[0].script.name == "queues/rekey":
                self.changed = True
                service.limit("q", concurrency=1, per_key=PerKey(by="scope"))
                refs.append(_for(world, "a"))
                _rest(duty)
                service.limit("q", concurrency=10, per_key=BY_TO)
            return list(world.port.execute(calls))

    _rest(_duty(world, Slow()))
    _rest(duty)

    assert len(refs) == 2
    assert world.problems() == []
    known = world.ask("HVALS", world.keys.limit("queue:q", "known"))
    assert [line for line in known if b" a\t" not in line] == []


def test_a_server_that_is_started_anew_in_the_midst_of_new_keys_leaves_nobody_with_an_old_one(
    killable_server: EmbeddedServer, namespace: str
) -> None:
    """Where a look through all that are known has come to says nothing to another process of the server."""
    port = RedisStore(Settings(), killable_server.url)
    world = World(port, namespace)
    service, duty = _service(world), _duty(world)
    service.limit("q", concurrency=1)
    jobs = [world.job(payload=json.dumps({"to": f"k{n}"}).encode()) for n in range(4 * BATCH)]
    world.jobs.enqueue(jobs)
    _rest(duty)
    service.limit("q", concurrency=10, per_key=BY_TO)
    while world.ask("HGET", world.keys.limit("queue:q"), "rekey").startswith(b"0"):
        duty.run_once()

    killable_server.restart()
    port = RedisStore(Settings(), killable_server.url)
    world.port = port
    _rest(_duty(world, port))

    known = world.ask("HVALS", world.keys.limit("queue:q", "known"))
    port.close()
    assert [line for line in known if b" \t" in line] == []
