"""``middleware/admit``, ``report``, ``begin``, ``finish``: what middlewares of all processes share."""

from __future__ import annotations

import pytest

from dispatch_celery.middleware.store import BreakerLimits, MiddlewareStore
from tests.lua.world import World

LIMITS = BreakerLimits(failures=3, window=1_000, cooldown=500, probes=1, hold=200)


@pytest.fixture
def shared(world: World) -> MiddlewareStore:
    """Return the state of middlewares in the world's namespace, at its time."""
    return MiddlewareStore(world.port, world.keys, world.time, lambda _name: None, pause=lambda *_, **__: None)


def _fail(shared: MiddlewareStore, *owners: str) -> tuple[str, int]:
    for owner in owners:
        answer = shared.report("bank", owner, LIMITS, ok=False)
    return answer


def test_failures_in_a_row_open_a_breaker(shared: MiddlewareStore) -> None:
    """The third opens it; the same failure told twice is one."""
    assert shared.admit("bank", "a", LIMITS)[0] == "CLOSED"
    assert _fail(shared, "a", "a", "b") == ("CLOSED", 0)
    assert _fail(shared, "c") == ("OPENED", 500)
    assert _fail(shared, "c") == ("OPENED", 500)
    assert shared.admit("bank", "d", LIMITS) == ("OPEN", 500)
    assert shared.admit("other", "d", LIMITS)[0] == "CLOSED"


def test_a_success_ends_the_row(shared: MiddlewareStore) -> None:
    """What fails now and then opens nothing."""
    _fail(shared, "a", "b")
    assert shared.report("bank", "c", LIMITS, ok=True) == ("CLOSED", 0)

    assert _fail(shared, "d", "e") == ("CLOSED", 0)


def test_failures_of_long_ago_do_not_count(shared: MiddlewareStore, world: World) -> None:
    """The row must fit into the window."""
    _fail(shared, "a", "b")
    world.passes(1_001)

    assert _fail(shared, "c") == ("CLOSED", 0)


def test_one_probe_decides(shared: MiddlewareStore, world: World) -> None:
    """After the cooldown one is let through, the others wait; its failure opens the breaker again, at once."""
    _fail(shared, "a", "b", "c")
    world.passes(500)

    assert shared.admit("bank", "probe", LIMITS)[0] == "PROBE"
    assert shared.admit("bank", "probe", LIMITS)[0] == "PROBE"
    assert shared.admit("bank", "other", LIMITS) == ("OPEN", 200)
    assert _fail(shared, "probe") == ("OPENED", 500)
    assert shared.admit("bank", "other", LIMITS) == ("OPEN", 500)
    world.passes(500)
    assert shared.admit("bank", "next", LIMITS)[0] == "PROBE"
    assert shared.report("bank", "next", LIMITS, ok=True) == ("CLOSED", 0)
    assert shared.admit("bank", "other", LIMITS)[0] == "CLOSED"


def test_a_probe_that_is_not_heard_of_is_given_up(shared: MiddlewareStore, world: World) -> None:
    """Its process died: another one tries; what the first says later changes nothing."""
    _fail(shared, "a", "b", "c")
    world.passes(500)
    shared.admit("bank", "lost", LIMITS)
    world.passes(201)

    assert shared.admit("bank", "next", LIMITS)[0] == "PROBE"
    assert shared.report("bank", "lost", LIMITS, ok=True)[0] == "OPEN"
    assert shared.admit("bank", "third", LIMITS)[0] == "OPEN"


def test_who_began_before_it_opened_changes_nothing(shared: MiddlewareStore) -> None:
    """A late success does not close it, a late failure does not prolong it."""
    _fail(shared, "a", "b", "c")

    assert shared.report("bank", "late", LIMITS, ok=True) == ("OPEN", 500)
    assert _fail(shared, "later") == ("OPEN", 500)


def test_who_began_before_it_opened_changes_nothing_when_it_is_closed_again(
    shared: MiddlewareStore, world: World
) -> None:
    """Nor does a probe that was given up: what they say is of a time that is over."""
    began = shared.admit("bank", "late", LIMITS)[1]
    shared.admit("bank", "later", LIMITS)
    _fail(shared, "a", "b")
    world.passes(1)
    _fail(shared, "c")
    world.passes(500)
    given_up = shared.admit("bank", "lost", LIMITS)[1]
    world.passes(201)
    probed = shared.admit("bank", "probe", LIMITS)[1]
    world.passes(1)
    assert shared.report("bank", "probe", LIMITS, ok=True, began=probed) == ("CLOSED", 0)

    for owner, then in (("late", began), ("later", began), ("lost", given_up)):
        assert shared.report("bank", owner, LIMITS, ok=False, began=then) == ("NOTHING", 0)
    now = shared.admit("bank", "d", LIMITS)[1]
    for owner in ("d", "e"):
        assert shared.report("bank", owner, LIMITS, ok=False, began=now) == ("CLOSED", 0)
    assert shared.report("bank", "late", LIMITS, ok=True, began=began) == ("NOTHING", 0)
    assert shared.report("bank", "f", LIMITS, ok=False, began=now) == ("OPENED", 500)


def test_a_clock_that_is_set_back_lets_failures_count(shared: MiddlewareStore, world: World) -> None:
    """It closed at a time that is to come: nobody is late for that."""
    _fail(shared, "a", "b", "c")
    world.passes(501)
    probed = shared.admit("bank", "probe", LIMITS)[1]
    assert shared.report("bank", "probe", LIMITS, ok=True, began=probed) == ("CLOSED", 0)
    world.passes(-3_600_000)

    now = shared.admit("bank", "d", LIMITS)[1]
    told = [shared.report("bank", owner, LIMITS, ok=False, began=now) for owner in "def"]

    assert told[-1] == ("OPENED", 500)


def test_an_end_that_says_nothing_frees_the_place_of_a_probe(shared: MiddlewareStore, world: World) -> None:
    """And changes nothing else: neither the row of failures, nor what is open."""
    _fail(shared, "a", "b")
    assert shared.report("bank", "x", LIMITS, ok=None) == ("NOTHING", 0)
    assert _fail(shared, "c") == ("OPENED", 500)
    world.passes(500)
    shared.admit("bank", "probe", LIMITS)

    assert shared.report("bank", "probe", LIMITS, ok=None) == ("NOTHING", 0)
    assert shared.admit("bank", "next", LIMITS)[0] == "PROBE"
    assert shared.admit("bank", "third", LIMITS)[0] == "OPEN"


def test_work_is_begun_once_and_its_result_serves_others(shared: MiddlewareStore) -> None:
    """While one is at work others are told so; then they are given what it returned."""
    assert shared.begin("mail", "k", "job_1", attempt=1, hold=1_000)[0] == "BEGUN"
    assert shared.begin("mail", "k", "job_1", attempt=1, hold=1_000)[0] == "BEGUN"
    assert shared.begin("mail", "k", "job_2", attempt=1, hold=1_000)[:2] == ("BUSY", "job_1")
    assert shared.finish("mail", "k", "job_1", attempt=1, result=b'"sent"', window=5_000) == "KEPT"
    assert shared.finish("mail", "k", "job_1", attempt=1, result=b'"sent"', window=5_000) == "KEPT"
    assert shared.begin("mail", "k", "job_2", attempt=1, hold=1_000) == ("DONE", "job_1", b'"sent"')
    assert shared.begin("mail", "other", "job_2", attempt=1, hold=1_000)[0] == "BEGUN"


def test_work_that_failed_frees_its_place(shared: MiddlewareStore) -> None:
    """Another one may begin at once; a result that is there is not taken away."""
    shared.begin("mail", "k", "job_1", attempt=1, hold=1_000)
    assert shared.finish("mail", "k", "job_1", attempt=1, result=None, window=5_000) == "FREED"
    assert shared.begin("mail", "k", "job_2", attempt=1, hold=1_000)[0] == "BEGUN"
    shared.finish("mail", "k", "job_2", attempt=1, result=b"1", window=5_000)
    shared.finish("mail", "k", "job_2", attempt=1, result=None, window=5_000)
    assert shared.begin("mail", "k", "job_3", attempt=1, hold=1_000)[0] == "DONE"


def test_who_was_not_heard_of_is_replaced(shared: MiddlewareStore, world: World) -> None:
    """His place is taken over when his time is up, and his late result is not kept."""
    shared.begin("mail", "k", "job_1", attempt=1, hold=1_000)
    world.passes(1_001)

    assert shared.begin("mail", "k", "job_2", attempt=1, hold=1_000)[0] == "BEGUN"
    assert shared.finish("mail", "k", "job_1", attempt=1, result=b"1", window=5_000) == "OTHER"


def test_an_attempt_that_is_over_frees_no_place(shared: MiddlewareStore) -> None:
    """It was taken for dead, and its job has begun again: its late failure lets nobody else begin beside that."""
    shared.begin("mail", "k", "job_1", attempt=1, hold=1_000)
    shared.begin("mail", "k", "job_1", attempt=2, hold=1_000)

    assert shared.finish("mail", "k", "job_1", attempt=1, result=None, window=5_000) == "OTHER"
    assert shared.begin("mail", "k", "job_2", attempt=3, hold=1_000)[:2] == ("BUSY", "job_1")
    assert shared.finish("mail", "k", "job_1", attempt=2, result=None, window=5_000) == "FREED"
