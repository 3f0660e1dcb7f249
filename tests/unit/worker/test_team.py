"""How several steps of one run work in threads of one process: at the same time, within their time, to their end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import pytest

from dispatch_celery.ids import RunId
from dispatch_celery.jobs.outcome import Cancel
from dispatch_celery.middleware.base import MiddlewareStack
from dispatch_celery.scope import Scope
from dispatch_celery.worker.bootsteps import AttemptTimeout
from dispatch_celery.worker.handlers import Handlers
from dispatch_celery.worker.team import ThreadTeam
from dispatch_celery.workflows.model import RunRef
from dispatch_celery.workflows.step_definition import StepCall, StepDefinition
from dispatch_celery.workflows.steps import Made, StepContext, current_step
from tests.support.eventually import eventually

mood: ContextVar[str] = ContextVar("mood", default="unset")
RUN = RunId.mint()


class Seat:
    """A seat that only notes its limits."""

    def __init__(self, *, stands_alone: bool = True) -> None:
        self.stands_alone = stands_alone
        self.limits: list[bool] = []

    def limit(self, timeout_ms: int | None) -> None:
        """Note whether there is a limit."""
        self.limits.append(timeout_ms is not None)


@pytest.fixture
def handlers() -> Iterator[Handlers]:
    """Return handlers whose event loop ends with the test."""
    made = Handlers(MiddlewareStack())
    yield made
    made.close()


@pytest.fixture
def alone(handlers: Handlers) -> ThreadTeam:
    """Return a team in a process that may be interrupted."""
    return ThreadTeam(Seat(), handlers)  # type: ignore[arg-type]  # what of a seat is used here


def context(identity: str, **facts: Any) -> StepContext:
    ref = RunRef(id=RUN, name="checkout", queue="q", version=1)
    kept = {"name": "step", "token": 3, "idempotency_key": "k", "scope": Scope(), "arguments": {}, "attempt": 1}
    return StepContext(id=identity, ref=ref, deadline=None, **{**kept, **facts})


def start(team: ThreadTeam, identity: str, fn: Callable[[], Any], timeout: float | None = None, **facts: Any) -> None:
    definition: StepDefinition[..., Any, Any] = StepDefinition(fn, name="step", timeout=timeout)
    team.start(StepCall("step", definition, {}), context(identity, **facts))


def made_by(team: ThreadTeam) -> Made:
    return eventually(lambda: team.next(0.1), what="something came of a step")


def naps(seconds: float = 10.0) -> str:
    """Stay, in short naps: an exception reaches it."""
    gate = threading.Event()
    for _ in range(int(seconds * 100)):
        gate.wait(0.01)
    return "not interrupted"


def test_steps_work_at_the_same_time(alone: ThreadTeam) -> None:
    """Two that wait for each other both end, sync and async alike."""
    barrier = threading.Barrier(3)

    def meets() -> str:
        barrier.wait(10)
        return current_step().id

    async def ameets() -> str:
        barrier.wait(10)
        return current_step().id

    start(alone, "a", meets)
    start(alone, "b", meets)
    start(alone, "c", ameets)

    assert {(made.identity, made.value) for made in (made_by(alone) for _ in range(3))} == {
        ("a", "a"),
        ("b", "b"),
        ("c", "c"),
    }
    assert alone.next(0) is None


def test_there_is_room_for_so_many_of_each_kind(alone: ThreadTeam) -> None:
    """Eight sync ones, fifty async ones; one that has ended makes room."""
    gate = threading.Event()

    async def answer() -> None:
        """Do nothing."""

    sync, on_loop = (StepCall("s", StepDefinition(fn, name="s"), {}) for fn in (lambda: gate.wait(10), answer))
    for n in range(8):
        assert alone.has_room(sync)
        alone.start(sync, context(f"s{n}"))
    assert (alone.has_room(sync), alone.has_room(on_loop)) == (False, True)

    gate.set()
    made_by(alone)
    assert alone.has_room(sync)


def test_a_step_sees_the_context_of_who_began_it(alone: ThreadTeam) -> None:
    """A copy of it: what it sets stays in it."""

    def looks() -> str:
        before = mood.get()
        mood.set("set by the step")
        return before

    mark = mood.set("set by the body")
    start(alone, "a", looks)
    mood.reset(mark)

    assert made_by(alone).value == "set by the body"
    assert mood.get() == "unset"


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3), KeyboardInterrupt()])
def test_whatever_a_step_raises_is_told(alone: ThreadTeam, error: BaseException) -> None:
    """It ends no thread but its own, and with it."""

    def fails() -> None:
        raise error

    start(alone, "a", fails)

    assert made_by(alone) == Made("a", error=error)
    eventually(lambda: not any(one.name == "dispatch-step a" for one in threading.enumerate()), what="its thread ended")


def test_a_step_past_its_time_is_told_once_and_heard_of_at_its_end(handlers: Handlers) -> None:
    """The worker watches the first of all limits, until the code that is past it has ended."""
    seat = Seat()
    team = ThreadTeam(seat, handlers)  # type: ignore[arg-type]  # as above
    start(team, "slow", naps, timeout=0.05)
    start(team, "beside", lambda: "fine", timeout=30)

    found = {}
    while len(found) < 3:
        made = made_by(team)
        found[made.identity, made.is_over] = made
    assert isinstance(found["slow", False].error, AttemptTimeout)
    assert isinstance(found["slow", True].error, AttemptTimeout)
    assert found["beside", True].value == "fine"
    assert seat.limits[0] is True
    assert seat.limits[-1] is False


def test_nothing_is_interrupted_where_others_work_too(handlers: Handlers) -> None:
    """In threads its time is up all the same; its code runs on, and its worker ends it by its own rule."""
    team = ThreadTeam(Seat(stands_alone=False), handlers)  # type: ignore[arg-type]  # as above
    start(team, "slow", lambda: naps(0.3), timeout=0.05)

    first, second = made_by(team), made_by(team)
    assert (first.is_over, isinstance(first.error, AttemptTimeout)) == (False, True)
    assert (second.is_over, second.value) == (True, "not interrupted")


def test_whoever_works_can_be_told_to_stop(alone: ThreadTeam) -> None:
    """Sync ones by an exception; a coroutine is cancelled when its context says so."""
    stops = threading.Event()

    async def waits() -> None:
        await asyncio_forever()

    start(alone, "sync", naps)
    start(alone, "async", waits, is_cancelled=stops.is_set)
    eventually(lambda: sum(one.name.startswith("dispatch-step") for one in threading.enumerate()) == 2, what="both run")
    stops.set()
    alone.stop()

    ended = {made.identity: made.error for made in (made_by(alone), made_by(alone))}
    assert isinstance(ended["sync"], Cancel)
    assert type(ended["async"]).__name__ == "CancelledError"


async def asyncio_forever() -> None:
    """Wait for what never comes."""
    await asyncio.get_running_loop().create_future()


def test_being_told_too_late_changes_nothing(alone: ThreadTeam) -> None:
    """However close to its end it comes: each is heard of exactly once, and its thread ends in order."""
    for n in range(100):
        start(alone, f"quick{n}", lambda: "done")
        alone.stop()
        made = made_by(alone)
        assert (made.identity, made.is_over) == (f"quick{n}", True)
        assert made.value == "done" or isinstance(made.error, Cancel)
