"""``queues/settle``, ``jobs/permit`` and their fragments: who is handed a permit, when, and what is given back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from dispatch_celery.ids import JobId
from dispatch_celery.jobs.model import JobRef, JobState
from dispatch_celery.queues.model import PerKey
from dispatch_celery.store.scripts import Call
from tests.lua.world import ENDS, Held, World
from tests.support.limit_walk import Broker, Died, Dying, make_duty


def _hand(world: World, ref: JobRef, ask: str = "1", limit: str = "queue:q") -> str:
    return world.limits.permit([(ref, limit, ask, False)])[0].verdict


def _run(world: World, ref: JobRef, ask: str = "1") -> Held:
    assert _hand(world, ref, ask) == "READY"
    world.limits.done([], [f"{ref.id} {ask} queue:q"])
    return world.claim(ref, world.register(), nonce=f"n{ask}{ref.id[-4:]}")


def _ask(world: World, *keys: str) -> list[str]:
    """Enqueue a job for each key, tell the limit, and return the ids in that order."""
    refs = [world.enqueue(scope=key) for key in keys]
    told = [("ask", str(ref.id), "1", key) for ref, key in zip(refs, keys, strict=True)]
    world.limits.done(world.limits.told(1_000), [])
    world.tell(told)
    return [str(ref.id) for ref in refs]


def _granted(world: World, batch: int = 1_000) -> list[str]:
    """Hand out, and return who has a permit by now in the order in which they were given."""
    before = set(world.limits.granted(1_000))
    world.limits.settle("queue:q", [], batch=batch)
    return [row.split(" ")[0] for row in world.limits.granted(1_000) if row not in before]


# -- being held back


def test_a_job_of_a_limited_queue_waits_without_a_message(world: World) -> None:
    """It is in no lane and has no mark; it is listed as limited, and has left word for its limit."""
    world.limit(concurrency=1)
    ref = world.enqueue()

    found = world.dump()
    assert world.record(ref)["state"] == JobState.LIMITED
    assert "lane:q:0" not in found.ordered
    assert "marks" not in found.ordered
    assert list(found.ordered["permits"]) == [f"ask {ref.id} 1 queue:q"]


def test_a_job_of_another_queue_is_not_held_back(world: World) -> None:
    """A limit concerns its own queue only."""
    world.limit(concurrency=1)

    assert world.record(world.enqueue(queue="other"))["state"] == JobState.PENDING


def test_many_at_once_wait_in_their_order(world: World) -> None:
    """Five hundred jobs that were enqueued in one trip ask in the order in which they were given."""
    world.limit(concurrency=500)
    jobs = [world.job() for _ in range(500)]
    assert {answer[1] for answer in world.jobs.enqueue(jobs)} == {JobState.LIMITED}

    assert [row.split(" ")[1] for row in world.limits.told(1_000)] == [job.ref.id for job in jobs]


def test_what_was_ready_before_the_limit_asks_when_it_is_claimed(world: World) -> None:
    """The worker that takes its message is told, and it is not ready any more."""
    ref = world.enqueue()
    world.limit(concurrency=1)

    assert world.jobs.claim(ref, holder=world.register(), nonce="n", pid=7) == ("LIMITED", ("queue:q",))
    assert world.record(ref)["state"] == JobState.LIMITED
    assert world.settle() == [ref.id]
    assert _hand(world, ref) == "READY"


# -- being let go


def test_no_more_permits_than_the_limit_in_the_order_of_arrival(world: World) -> None:
    """The third waits until one is given back."""
    world.limit(concurrency=2)
    refs = [world.enqueue() for _ in range(3)]
    assert world.settle() == [ref.id for ref in refs[:2]]
    held = [_run(world, ref) for ref in refs[:2]]

    assert world.settle() == []
    world.end("complete", held[1])
    assert world.settle() == [refs[2].id]


@pytest.mark.parametrize("verb", [verb for verb in ENDS if verb != "release"])
def test_a_permit_is_given_back_when_the_attempt_ends(world: World, verb: str) -> None:
    """Whichever way it ends."""
    world.limit(concurrency=1)
    first, second = world.enqueue(), world.enqueue()
    world.settle()
    held = _run(world, first)

    world.end(verb, held)

    assert "permits" not in world.record(first)
    assert world.settle() == [second.id]


def test_a_job_that_is_released_keeps_its_permit(world: World) -> None:
    """It goes to another worker at once: nobody else may have its place meanwhile."""
    world.limit(concurrency=1)
    first, _ = world.enqueue(), world.enqueue()
    world.settle()
    held = _run(world, first)

    world.end("release", held)

    assert world.settle() == []
    assert world.claim(first, world.register(), nonce="again").token.startswith("2.")


def test_a_job_with_two_limits_needs_a_permit_of_each(world: World) -> None:
    """First of its own name's, then of its queue's; both are given back."""
    world.limit("job:mail", concurrency=1)
    world.limit("queue:q", concurrency=1)
    ref = world.enqueue()
    assert world.settle("job:mail") == [ref.id]

    assert _hand(world, ref, limit="job:mail") == "LIMITED"
    world.limits.done([], [f"{ref.id} 1 job:mail"])
    assert world.settle() == [ref.id]
    held = _run(world, ref, "2")
    world.end("complete", held)

    assert sorted(world.limits.told(10)) == [f"return {ref.id} 1 job:mail", f"return {ref.id} 2 queue:q"]


def test_a_limit_that_comes_later_and_first_takes_no_permit_hostage(world: World) -> None:
    """Who has its queue's permit and lacks that of its name gives the first back: two could wait for each other."""
    world.limit(concurrency=1)
    ref = world.enqueue()
    world.settle()
    world.limit("job:mail", concurrency=1)

    assert _hand(world, ref) == "LIMITED"

    assert world.record(ref)["limit"] == "job:mail"
    assert f"return {ref.id} 1 queue:q" in world.limits.told(10)


# -- rows that come twice, late, or too late


def test_a_request_that_is_told_again_after_its_job_has_ended_is_given_back(world: World) -> None:
    """The permit it is granted in vain reaches a job that does not wait, which says so."""
    world.limit(concurrency=1)
    ref = world.enqueue()
    world.settle()
    world.end("complete", _run(world, ref))
    world.settle()

    assert world.settle(told=[("ask", str(ref.id), "1", "")]) == [ref.id]
    assert _hand(world, ref) == "LEFTOVER"
    world.settle(told=[("return", str(ref.id), "1", "")])


def test_a_late_return_does_not_take_the_next_permit_of_its_job(world: World) -> None:
    """It bears the number of another request."""
    world.limit(concurrency=1)
    ref = world.enqueue()
    world.settle()
    world.end("retry", _run(world, ref))
    world.passes(5_000)
    world.jobs.promote([(ref, "retrying")])
    assert world.settle() == [ref.id]

    world.settle(told=[("return", str(ref.id), "1", "")])

    assert world.dump().hashes["limit:queue:q:known"][ref.id].startswith("holds 2 ")
    assert _hand(world, ref, "2") == "READY"


def test_a_cancelled_job_frees_its_place(world: World) -> None:
    """Waiting or granted, what it asked for is withdrawn."""
    world.limit(concurrency=1)
    refs = [world.enqueue() for _ in range(3)]
    world.settle()

    world.jobs.cancel(refs[0], "limited", "enough")
    world.jobs.cancel(refs[1], "limited", "enough")

    assert world.settle() == [refs[2].id]
    assert _hand(world, refs[0]) == "LEFTOVER"


# -- rates


def test_a_rate_gives_a_burst_and_then_one_at_a_time(world: World) -> None:
    """Two at once, then one each 100 ms, and the limit says when the next one may be had."""
    world.limit(rate="10/s", burst=2)
    ids = _ask(world, "", "", "", "")

    assert _granted(world) == ids[:2]
    world.passes(99)
    settled = world.limits.settle("queue:q", [], batch=10)
    assert settled is not None
    assert (settled.given, settled.after) == (0, 1)
    world.passes(1)
    assert _granted(world) == [ids[2]]


def test_a_clock_that_is_set_back_stops_nothing(world: World) -> None:
    """An hour back: the next permit comes after one interval, not after an hour."""
    world.limit(rate="10/s", burst=1)
    ids = _ask(world, "", "")
    assert _granted(world) == ids[:1]
    world.passes(-3_600_000)
    assert _granted(world) == []

    world.passes(100)

    assert _granted(world) == ids[1:]


def test_a_rest_of_a_key_ends_although_the_clock_is_set_back(world: World) -> None:
    """A key rests no longer than its own rate can make it."""
    world.limit(per_key=PerKey(by="scope", rate="1/s"))
    ids = _ask(world, "a", "a")
    assert _granted(world) == ids[:1]
    world.passes(-3_600_000)
    assert _granted(world) == []

    world.passes(1_000)

    assert _granted(world) == ids[1:]


# -- keys


def test_keys_take_turns(world: World) -> None:
    """A key with many jobs does not keep another from its turn."""
    world.limit(concurrency=100, per_key=PerKey(by="scope"))
    ids = _ask(world, *"aaaa", *"bb")

    assert [_granted(world, 1) for _ in range(5)] == [[ids[0]], [ids[4]], [ids[1]], [ids[5]], [ids[2]]]


def test_a_weight_gives_more_turns(world: World) -> None:
    """A key of weight two has two where another has one."""
    world.limit(concurrency=100, per_key=PerKey(by="scope", weights={"a": 2}))
    ids = _ask(world, *"aaaaaa", *"bbb")
    given = [job_id for _ in range(6) for job_id in _granted(world, 1)]

    assert len([job_id for job_id in given if job_id in ids[:6]]) == 4


def test_a_key_at_its_own_limit_lets_others_pass(world: World) -> None:
    """It has one permit of its own, and gets the next when it gives that back."""
    world.limit(concurrency=100, per_key=PerKey(by="scope", concurrency=1))
    ids = _ask(world, *"aaa", "b")

    assert set(_granted(world)) == {ids[0], ids[3]}
    world.end("complete", _run(world, JobRef(id=JobId(ids[0]), name="mail", queue="q", scope="a")))
    assert world.settle()[-1] == ids[1]


def test_a_key_at_its_own_limit_uses_up_no_token(world: World) -> None:
    """What it may not have is there for the others."""
    world.limit(rate="1/s", burst=2, per_key=PerKey(by="scope", concurrency=1))
    ids = _ask(world, *"aa", "b")

    assert set(_granted(world)) == {ids[0], ids[2]}


def test_waiting_writes_nothing(world: World) -> None:
    """A thousand rounds of the leader change nothing about those that wait: there is no loop of rewriting."""
    world.limit(concurrency=1)
    _ask(world, "", "", "")
    _granted(world)
    before = world.dump()

    for _ in range(3):
        assert _granted(world) == []

    assert world.dump() == before


def test_a_limit_that_is_raised_lets_keys_on(world: World) -> None:
    """Without waiting for a permit to come back."""
    world.limit(per_key=PerKey(by="scope", concurrency=1))
    ids = _ask(world, *"aa", *"bb")
    assert len(_granted(world)) == 2

    world.limit(per_key=PerKey(by="scope", concurrency=2))

    assert set(_granted(world)) == {ids[1], ids[3]}


def test_a_paused_limit_gives_nothing(world: World) -> None:
    """And everything, in order, when it goes on."""
    world.limit(concurrency=10)
    world.limits.set("queue:q", {"paused": "1"})
    ids = _ask(world, "", "")
    assert _granted(world) == []

    world.limits.set("queue:q", {"paused": ""})

    assert _granted(world) == ids


def test_a_limit_nobody_has_is_said_to_be_gone(world: World) -> None:
    """Whoever asks may go: nobody holds it back."""
    assert world.limits.settle("queue:q", [("ask", "job_x", "1", "")], batch=10) is None


def test_what_is_left_while_the_leader_looks_is_taken_in_at_once(world: World) -> None:
    """The bell rings for the first row only; the leader that has it in hand must look whether there are more."""
    world.limit("queue:q", concurrency=2)
    refs = [world.enqueue()]

    class Busy:
        """A port on which a second job comes while the first one's request is told."""

        def execute(self, calls: Sequence[Call]) -> list[Any]:
            if len(refs) == 1 and calls[0].script is not None and calls[0].script.name == "queues/settle":
                refs.append(world.enqueue())
            return list(world.port.execute(calls))

    duty = make_duty(world, Busy(), Broker())

    assert duty.run_once() == 0
    assert duty.run_once() > 0
    assert {world.record(ref)["state"] for ref in refs} == {JobState.PENDING}


def test_a_pause_with_an_end_is_over_by_itself(world: World) -> None:
    """The leader looks when it ends, and lets who waits go, within the limit."""
    world.limit(concurrency=1)
    world.limits.set("queue:q", {"paused": "1", "paused_until": world.now + 500}, ends=world.now + 500)
    ids = _ask(world, "", "")
    settled = world.limits.settle("queue:q", [], batch=10)
    assert settled is not None
    assert (settled.given, settled.after, settled.resumed) == (0, 500, False)

    world.passes(500)

    settled = world.limits.settle("queue:q", [], batch=10)
    assert settled is not None
    assert (settled.given, settled.resumed, settled.lifted) == (1, True, False)
    assert [row.split(" ")[0] for row in world.limits.granted(10)] == ids[:1]


@pytest.mark.parametrize("longer", [{}, {"paused_until": 60_000}])
def test_a_pause_with_an_end_leaves_one_that_lasts_longer(world: World, longer: dict[str, int]) -> None:
    """A breaker must not end what a person has paused."""
    there = {name: world.now + value for name, value in longer.items()}
    world.limits.set("queue:q", {"paused": "1", **there})

    world.limits.set("queue:q", {"paused": "1", "paused_until": world.now + 500}, ends=world.now + 500)
    world.passes(1_000)

    settled = world.limits.settle("queue:q", [], batch=10)
    assert settled is not None
    assert not settled.resumed


def test_a_pause_alone_is_forgotten_when_it_has_ended(world: World) -> None:
    """Nobody asks a limit any more that was nothing but a pause, wherever the leader dies meanwhile."""
    world.limits.set("queue:q", {"paused": "1", "paused_until": world.now + 500}, ends=world.now + 500)
    world.limits.enforce(["queue:q"])
    ref = world.enqueue()
    dying = Dying(world.port)
    duty = make_duty(world, dying, Broker())
    duty.run_once()
    assert world.record(ref)["state"] == JobState.LIMITED
    world.passes(500)

    dying.left, dying.after = 2, True  # the pause has ended, and nobody was told
    with pytest.raises(Died):
        make_duty(world, dying, Broker()).run_once()
    again = make_duty(world, world.port, Broker())
    while again.run_once() == 0:
        pass

    assert world.record(ref)["state"] == JobState.PENDING
    assert world.ask("HGET", world.keys.limits, "queue:q") is None
    assert world.record(world.enqueue())["state"] == JobState.PENDING


def test_that_a_pause_has_ended_is_not_lost_with_an_answer(world: World) -> None:
    """A leader whose connection breaks at that moment goes on, and lets jobs and runs know."""
    world.limit(concurrency=1)
    world.limits.set("queue:q", {"paused": "1", "paused_until": world.now + 500}, ends=world.now + 500)
    world.limits.enforce(["queue:q"])
    dying = Dying(world.port)
    duty = make_duty(world, dying, Broker(), clock=lambda: world.now)
    duty.run_once()
    assert world.ask("HGET", world.keys.limits, "queue:q") == b"paused"
    world.passes(500)

    dying.left, dying.after = 2, True
    with pytest.raises(Died):
        duty.run_once()
    dying.left = -1
    while duty.run_once() == 0:
        pass

    assert world.ask("HGET", world.keys.limits, "queue:q") == b"on"


def test_buckets_that_are_full_again_are_forgotten(world: World) -> None:
    """Keys come and go; what is kept of each is kept for as long as it says something."""
    world.limit(per_key=PerKey(by="scope", rate="100/s", burst=1))
    keys = [f"key{n}" for n in range(20)]
    _ask(world, *keys)
    buckets = world.keys.limit("queue:q", "buckets")
    assert len(_granted(world)) == len(keys)
    assert world.ask("HLEN", buckets) == len(keys)

    world.passes(1_000)
    for _ in range(200):
        world.limits.settle("queue:q", [], batch=10)

    assert world.ask("HLEN", buckets) == 0
