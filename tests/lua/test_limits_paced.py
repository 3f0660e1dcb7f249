"""What is read of a rate agrees with what hands out permits by it."""

from __future__ import annotations

import pytest

from dispatch_celery.clock import from_ms
from dispatch_celery.queues.model import PerKey
from dispatch_celery.queues.service import QueueService
from tests.lua.world import World


def _settled(world: World, *, told: list[tuple[str, str, str, str]] | None = None) -> int | None:
    """Let the limit hand out what it can; return the ms until the next."""
    (by,) = world.limits.by(["queue:q"])
    settled = world.limits.settle("queue:q", told or [], by=by, batch=100)
    assert settled is not None
    return settled.after


def _asks(world: World, *keys: str) -> list[str]:
    refs = [world.enqueue(scope=key) for key in keys]
    world.limits.done(world.limits.told(1_000), [])
    assert _settled(world, told=[("ask", str(ref.id), "1", key) for ref, key in zip(refs, keys, strict=True)]) != 0
    return [str(ref.id) for ref in refs]


@pytest.mark.parametrize("passed", [0, 1, 399, 1_999])
def test_the_next_begins_when_the_rate_has_a_token_again(world: World, passed: int) -> None:
    """Whenever that is read, it is the moment at which the limit hands out the next permit."""
    world.limit(rate="1/2s")
    _, second, third = _asks(world, "", "", "")
    queues = QueueService(world.limits, ready=dict)
    world.passes(passed)

    place, behind = queues.waiting(second), queues.waiting(third)
    assert place is not None
    assert behind is not None
    assert _settled(world) == 2_000 - passed
    assert place.next_at == behind.next_at == from_ms(world.now + 2_000 - passed)
    assert (place.ahead, behind.ahead) == (0, 1)
    world.passes(2_000 - passed)
    assert world.limits.next_at("queue:q", "") is None


def test_a_key_waits_for_its_own_rate(world: World) -> None:
    """The later of both buckets tells; a key that has had nothing yet waits for nothing."""
    world.limit(per_key=PerKey(by="scope", rate="1/m", burst=1))
    _asks(world, "a", "a", "b")

    assert world.limits.next_at("queue:q", "a") == world.now + 60_000
    assert world.limits.next_at("queue:q", "c") is None
    world.limit(rate="1/h", per_key=PerKey(by="scope", rate="1/m", burst=1))
    _settled(world)
    _asks(world, "c", "c")
    assert world.limits.next_at("queue:q", "a") == world.now + 3_600_000


def test_without_a_rate_there_is_no_such_moment(world: World) -> None:
    """Nobody knows when a permit is given back."""
    world.limit(concurrency=1)
    _, second = _asks(world, "", "")
    place = QueueService(world.limits, ready=dict).waiting(second)

    assert place is not None
    assert place.next_at is None
