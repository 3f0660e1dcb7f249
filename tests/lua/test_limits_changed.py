"""Limits that are changed while jobs wait: keys told anew, other arguments, a limit that is gone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from dispatch_celery.jobs.model import JobRef, JobState
from dispatch_celery.queues.model import Limit, PerKey, checked_limits
from dispatch_celery.queues.permits import Permits
from dispatch_celery.queues.service import QueueService
from dispatch_celery.store.scripts import Call
from dispatch_celery.work.upkeep import BATCH
from tests.lua.world import World
from tests.support.limit_walk import Broker, Died, Dying, make_duty


def _service(world: World) -> QueueService:
    return QueueService(world.limits, ready=dict)


def _duty(world: World, port: Any = None) -> Permits:
    return make_duty(world, port or world.port, Broker(), clock=lambda: world.now)


def _rest(duty: Permits) -> None:
    while duty.run_once() == 0:
        pass


def _for(world: World, to: str) -> JobRef:
    return world.enqueue(payload=json.dumps({"to": to}).encode())


def _replace(world: World, ref: JobRef, to: str) -> None:
    assert world.jobs.replace(ref.id, world.job(payload=json.dumps({"to": to}).encode())).verdict == "DONE"


def _pending(world: World, refs: Sequence[JobRef]) -> list[int]:
    return [n for n, ref in enumerate(refs) if world.record(ref)["state"] == JobState.PENDING]


def _complete(world: World, ref: JobRef) -> None:
    world.end("complete", world.claim(ref, world.register(), nonce=f"n{ref.id[-4:]}"))


BY_TO = PerKey(by="arguments.to", concurrency=1)


# -- keys


def test_who_waits_when_keys_are_told_apart_gets_a_key(world: World) -> None:
    """And who has a permit, too: a key has no more than its own."""
    service, duty = _service(world), _duty(world)
    service.limit("q", concurrency=1)
    refs = [_for(world, to) for to in ("a", "a", "b", "b")]
    _rest(duty)
    assert _pending(world, refs) == [0]

    service.limit("q", concurrency=10, per_key=BY_TO)
    _rest(duty)

    assert _pending(world, refs) == [0, 2]
    _complete(world, refs[0])
    _rest(duty)
    assert _pending(world, refs) == [1, 2]


def test_keys_that_are_told_by_something_else_are_told_anew(world: World) -> None:
    """In their order of arrival, more of them than one slice has."""
    service, duty = _service(world), _duty(world)
    service.limit("q", concurrency=1, per_key=PerKey(by="scope"))
    refs = [_for(world, f"k{n % 300}") for n in range(BATCH + 100)]
    _rest(duty)

    service.limit("q", concurrency=1_000, per_key=BY_TO)
    _rest(duty)

    assert _pending(world, refs) == list(range(300))
    assert service.waiting(refs[300].id).key == "k0"  # type: ignore[union-attr]  # it waits


def test_nobody_is_let_go_by_an_old_key(world: World) -> None:
    """Three tenants write to one address, which has a permit of its own since."""
    service, duty = _service(world), _duty(world)
    service.limit("q", concurrency=1, per_key=PerKey(by="scope"))
    refs = [world.enqueue(scope=scope, payload=b'{"to": "a"}') for scope in "xyz"]
    _rest(duty)

    service.limit("q", concurrency=10, per_key=BY_TO)
    _rest(duty)

    assert _pending(world, refs) == [0]


def test_who_is_told_apart_no_more_goes_in_the_order_of_arrival(world: World) -> None:
    """Two keys become one line again."""
    service, duty = _service(world), _duty(world)
    service.limit("q", concurrency=1, per_key=BY_TO)
    refs = [_for(world, to) for to in "aaab"]
    _rest(duty)

    service.limit("q", concurrency=3)
    _rest(duty)

    assert _pending(world, refs) == [0, 1, 2]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("call", range(1, 12))
def test_a_leader_that_dies_over_new_keys_is_followed_by_one_that_ends_it(
    world: World, call: int, *, after: bool
) -> None:
    """Whatever it had told the limit."""
    service, dying = _service(world), Dying(world.port)
    duty = _duty(world, dying)
    service.limit("q", concurrency=1)
    refs = [_for(world, to) for to in ("a", "a", "b")]
    _rest(duty)
    service.limit("q", concurrency=10, per_key=BY_TO)

    dying.left, dying.after = call, after
    try:
        _rest(duty)
    except Died:
        assert world.problems() == []
    _rest(_duty(world))

    assert _pending(world, refs) == [0, 2]


def test_a_request_that_was_read_before_a_change_is_not_taken_in_with_its_old_key(world: World) -> None:
    """The leader reads what keys are told by, then tells the limit: between the two somebody changes it."""
    service = _service(world)
    service.limit("q", concurrency=10)
    _rest(_duty(world))
    refs = [_for(world, to) for to in "aab"]

    class Slow:
        """A port on which the limit is changed between the two."""

        changed = False

        def execute(self, calls: Sequence[Call]) -> list[Any]:
            if not self.changed and calls[0].script is not None and calls[0].script.name == "queues/settle":
                self.changed = True
                service.limit("q", concurrency=10, per_key=BY_TO)
            return list(world.port.execute(calls))

    _rest(_duty(world, Slow()))

    assert _pending(world, refs) == [0, 2]


def test_keys_that_are_told_late_are_not_taken_in(world: World) -> None:
    """A leader that was out for long tells keys by what was said then."""
    service = _service(world)
    service.limit("q", concurrency=1)
    ref = world.enqueue(scope="a")
    world.settle()
    service.limit("q", concurrency=10, per_key=PerKey(by="scope"))
    service.limit("q", concurrency=10, per_key=BY_TO)
    mark = world.ask("HGET", world.keys.limit("queue:q"), "rekey").decode()

    assert not world.limits.rekey("queue:q", "scope", mark, "0", [(ref.id, "1", "a")])


# -- other arguments


def test_a_job_that_waits_with_other_arguments_waits_by_their_key(world: World) -> None:
    """In the place that it had among all."""
    service, duty = _service(world), _duty(world)
    service.limit("q", concurrency=10, per_key=BY_TO)
    refs = [_for(world, to) for to in "aaab"]
    _rest(duty)
    assert _pending(world, refs) == [0, 3]
    since = world.record(refs[1])["limited_at"]

    world.passes(5)
    _replace(world, refs[1], "b")
    _rest(duty)
    _complete(world, refs[0])
    _rest(duty)
    assert _pending(world, refs) == [2, 3]
    assert world.record(refs[1])["limited_at"] == since
    _complete(world, refs[3])
    _rest(duty)
    assert _pending(world, refs) == [1, 2]


def test_a_job_with_other_arguments_keeps_its_place(world: World) -> None:
    """Where nobody is told apart by them, and while it waits."""
    service, duty = _service(world), _duty(world)
    service.limit("q", concurrency=1)
    refs = [_for(world, to) for to in "abc"]
    _rest(duty)

    _replace(world, refs[1], "z")
    _replace(world, refs[0], "y")
    _rest(duty)
    assert _pending(world, refs) == [0]
    _complete(world, refs[0])
    _rest(duty)

    assert _pending(world, refs) == [1]


def test_a_permit_for_other_arguments_is_given_back(world: World) -> None:
    """It was that of another key: the job asks for its own when a worker takes it."""
    service, duty = _service(world), _duty(world)
    service.limit("q", concurrency=10, per_key=BY_TO)
    refs = [_for(world, to) for to in "ab"]
    _rest(duty)
    assert _pending(world, refs) == [0, 1]

    _replace(world, refs[0], "b")
    _rest(duty)

    worker = world.register()
    assert world.jobs.claim(refs[0], holder=worker, nonce="n", pid=7) == ("LIMITED", ("queue:q",))
    _rest(duty)
    assert _pending(world, refs) == [1]
    _complete(world, refs[1])
    _rest(duty)
    assert _pending(world, refs) == [0]


def test_a_job_of_two_limits_with_other_arguments_begins_with_the_first(world: World) -> None:
    """The permit it has already is that of another key."""
    service, duty = _service(world), _duty(world)
    service.limit(job="mail", concurrency=10, per_key=BY_TO)
    service.pause("q")
    ref = _for(world, "a")
    _rest(duty)
    assert world.record(ref)["limit"] == "queue:q"

    _replace(world, ref, "b")
    assert world.record(ref)["limit"] == "job:mail"
    _rest(duty)
    service.resume("q")
    _rest(duty)

    assert world.record(ref)["state"] == JobState.PENDING


# -- a limit that is gone


def test_nobody_has_a_permit_of_a_limit_that_is_gone(world: World) -> None:
    """It was lifted and forgotten while requests were on their way; a new one would not know of such permits."""
    service, duty = _service(world), _duty(world)
    service.limit("q", concurrency=1)
    refs = [world.enqueue() for _ in range(3)]
    service.unlimit("q")
    assert world.limits.dissolve("queue:q")
    _rest(duty)
    assert _pending(world, refs) == [0, 1, 2]

    service.limit("q", concurrency=1)
    worker = world.register()
    for ref in refs:
        assert world.jobs.claim(ref, holder=worker, nonce=ref.id, pid=7) == ("LIMITED", ("queue:q",))
    _rest(duty)

    assert _pending(world, refs) == [0]


def test_a_limit_that_is_set_anew_holds_who_asked_its_forerunner(world: World) -> None:
    """Between the word that it is gone, and the news for the job."""
    service = _service(world)
    service.limit("q", concurrency=1)
    refs = [world.enqueue() for _ in range(2)]
    service.unlimit("q")
    assert world.limits.dissolve("queue:q")

    class Slow:
        """A port on which the limit is set anew between the two."""

        def execute(self, calls: Sequence[Call]) -> list[Any]:
            if calls[0].script is not None and calls[0].script.name == "jobs/permit" and not service.list():
                service.limit("q", concurrency=1)
            return list(world.port.execute(calls))

    _rest(_duty(world, Slow()))

    assert _pending(world, refs) == [0]


def test_a_limit_that_only_jobs_know_of_holds_nobody(world: World) -> None:
    """Whoever put it in force died before word of it came to the leader, and it was lifted meanwhile."""
    service, duty = _service(world), _duty(world)
    _rest(duty)
    world.ask("HSET", world.keys.limits, "queue:q", "on")
    ref = world.enqueue()

    _rest(duty)

    assert world.record(ref)["state"] == JobState.PENDING
    assert world.ask("HGET", world.keys.limits, "queue:q") is None
    assert list(service.list()) == []


def test_going_on_does_not_lift_a_limit_that_is_set_meanwhile(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look at a pause and its end somebody sets a limit."""
    service = _service(world)
    service.pause("q")
    real = world.limits.read

    def read(limits: Sequence[str]) -> Any:
        found = real(limits)
        monkeypatch.setattr(world.limits, "read", real)
        service.limit("q", concurrency=3)
        return found

    monkeypatch.setattr(world.limits, "read", read)
    service.resume("q")

    stands = service.get("q")
    assert stands.limit is not None
    assert not stands.paused
    assert world.ask("HGET", world.keys.limits, "queue:q") == b"on"


def test_going_on_leaves_the_limit(world: World) -> None:
    """A pause that has ended takes itself with it, and nothing else."""
    service = _service(world)
    service.limit("q", concurrency=3)
    service.pause("q")
    service.resume("q")

    assert world.ask("HGET", world.keys.limits, "queue:q") == b"on"
    service.unlimit("q")
    assert world.ask("HGET", world.keys.limits, "queue:q") is None


def test_what_was_lifted_stays_lifted(world: World) -> None:
    """Until it is declared otherwise: the next worker that starts does not set it again."""
    service = _service(world)
    service.declare(checked_limits({"mail": Limit(concurrency=2)}))
    service.unlimit("mail")
    assert world.limits.dissolve("queue:mail")

    service.declare(checked_limits({"mail": Limit(concurrency=2)}))
    assert list(service.list()) == []

    service.declare(checked_limits({"mail": Limit(concurrency=3)}))
    assert service.get("mail").limit == Limit(concurrency=3)


def test_a_limit_that_another_process_lifts_at_once_can_be_set(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was there, and is gone before its setter looks."""
    service = _service(world)
    monkeypatch.setattr(world.limits, "read", lambda _: [None])

    assert service.limit("q", concurrency=3).limit is None


def test_a_permit_given_in_vain_is_handed_on_at_once(world: World) -> None:
    """Not when somebody else rings: its job was called off, and the next one waits."""
    service, duty = _service(world), _duty(world)
    service.limit("q", concurrency=1)
    first, second = world.enqueue(), world.enqueue()
    world.settle()
    world.jobs.cancel(first, JobState.LIMITED, "enough")
    for row in world.limits.told(10):
        world.limits.done([row], [])  # what it left is still on its way, to another leader

    assert duty.run_once() == 0
    assert duty.run_once() > 0

    assert world.record(second)["state"] == JobState.PENDING
