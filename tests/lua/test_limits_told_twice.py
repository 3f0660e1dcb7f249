"""``queues/settle``, ``queues/dissolve``, ``jobs/permit``: words that come twice or late, and turns nobody gains by."""

from __future__ import annotations

from dispatch_celery.queues.model import PerKey
from dispatch_celery.queues.records import dump
from tests.lua.test_limits import _ask, _granted, _hand, _run
from tests.lua.world import World


def test_a_request_that_is_told_again_while_its_job_runs_takes_nothing_away(world: World) -> None:
    """The leader died after it had handed the permit over: nobody else is given that one."""
    world.limit(concurrency=1)
    ref, _ = world.enqueue(), world.enqueue()
    world.settle()
    _run(world, ref)

    assert world.settle(told=[("ask", str(ref.id), "1", "")]) == []


def test_a_new_request_takes_the_place_of_the_one_before(world: World) -> None:
    """A job waits once, under the number of its last request."""
    world.limit(concurrency=1)
    ref = world.enqueue()
    world.tell([("ask", str(ref.id), "1", ""), ("ask", str(ref.id), "2", "")])

    found = world.dump()
    assert len(found.ordered["limit:queue:q:waiting"]) == 1
    assert found.hashes["limit:queue:q:known"][ref.id].startswith("waits 2 ")
    world.limits.settle("queue:q", [("return", str(ref.id), "2", "")], batch=0)


def test_a_late_permit_does_not_answer_a_new_request(world: World) -> None:
    """It is the permit of an attempt that has ended."""
    world.limit(concurrency=1)
    ref = world.enqueue()
    world.settle()
    world.end("retry", _run(world, ref))
    world.passes(5_000)
    world.jobs.promote([(ref, "retrying")])

    assert _hand(world, ref) == "LEFTOVER"


def test_a_permit_that_is_handed_over_twice_is_no_leftover(world: World) -> None:
    """The second time changes nothing, and gives nothing back."""
    world.limit(concurrency=1)
    ref = world.enqueue()
    world.settle()

    assert [_hand(world, ref), _hand(world, ref)] == ["READY", "REPEATED"]


def test_the_tenth_is_served_after_the_ninth(world: World) -> None:
    """However many digits its place has."""
    world.limit(concurrency=100)
    ids = _ask(world, *[""] * 12)

    assert _granted(world) == ids


def test_a_full_batch_asks_for_another_round(world: World) -> None:
    """More may be had at once."""
    world.limit(concurrency=100)
    _ask(world, *[""] * 5)

    settled = world.limits.settle("queue:q", [], batch=2)

    assert settled is not None
    assert (settled.given, settled.after, settled.waiting) == (2, 0, 3)


def test_a_key_that_comes_late_does_not_make_up_for_it(world: World) -> None:
    """It takes turns with the others from where they are."""
    world.limit(concurrency=100, per_key=PerKey(by="scope"))
    first = _ask(world, *"aaaaaa")
    assert [_granted(world, 1) for _ in range(4)] == [[one] for one in first[:4]]
    late = _ask(world, *"bbb")

    assert [_granted(world, 1) for _ in range(3)] == [[late[0]], [first[4]], [late[1]]]


def test_a_key_gains_nothing_by_asking_again(world: World) -> None:
    """Its turn stays where it was, behind those who have had fewer."""
    world.limit(concurrency=100, per_key=PerKey(by="scope"))
    first = _ask(world, *"aaaaaa")
    assert [_granted(world, 1) for _ in range(4)] == [[one] for one in first[:4]]
    late = _ask(world, *"ba")

    assert _granted(world, 1) == late[:1]


def test_a_limit_is_deleted_when_it_is_lifted_and_nobody_has_a_permit(world: World) -> None:
    """Not before, whichever of the two comes last."""
    world.limit(concurrency=1)
    assert world.limits.names() == ["queue:q"]
    assert not world.limits.dissolve("queue:q")
    ref = world.enqueue()
    world.settle()
    world.limits.set("queue:q", dump(None))
    assert not world.limits.dissolve("queue:q")
    world.jobs.cancel(ref, "limited", "enough")
    world.settle()

    assert world.limits.dissolve("queue:q")
    assert world.limits.names() == []


def test_a_changed_limit_is_looked_through_to_the_last_key(world: World) -> None:
    """Also where a batch is smaller than the number of keys that wait."""
    world.limit(per_key=PerKey(by="scope", concurrency=1))
    ids = _ask(world, *"aabbcc")
    assert len(_granted(world)) == 3

    world.limit(per_key=PerKey(by="scope", concurrency=2))

    assert {job_id for _ in range(4) for job_id in _granted(world, 1)} == {ids[1], ids[3], ids[5]}


def test_a_claim_that_meets_a_limit_gives_back_the_permit_of_the_second(world: World) -> None:
    """The limit of its name was set while its message was on the way: who waits has nothing."""
    world.limit(concurrency=1)
    ref = world.enqueue()
    world.settle()
    assert _hand(world, ref) == "READY"
    world.limits.done([], [f"{ref.id} 1 queue:q"])
    world.limit("job:mail", concurrency=1)

    assert world.jobs.claim(ref, holder=world.register(), nonce="n", pid=7) == ("LIMITED", ("job:mail",))
    assert f"return {ref.id} 1 queue:q" in world.limits.told(10)


def test_a_key_that_may_have_no_more_keeps_nobody_from_a_turn(world: World) -> None:
    """Whose turn it is and who may have nothing is passed over, by those behind as well."""
    world.limit(per_key=PerKey(by="scope", concurrency=1))
    ids = _ask(world, *"aab")
    assert set(_granted(world)) == {ids[0], ids[2]}
    world.limits.settle("queue:q", [("return", ids[2], "1", "")], batch=0)
    again = _ask(world, "b")

    assert _granted(world) == again
    world.tell([("ask", ids[2], "1", "b")])


def test_a_job_that_is_cancelled_before_it_is_claimed_gives_its_permit_back(world: World) -> None:
    """It was ready, and its message was on the way."""
    world.limit(concurrency=1)
    ref = world.enqueue()
    world.settle()
    assert _hand(world, ref) == "READY"
    world.limits.done([], [f"{ref.id} 1 queue:q"])

    world.jobs.cancel(ref, "pending", "enough")

    assert world.limits.told(10) == [f"return {ref.id} 1 queue:q"]
