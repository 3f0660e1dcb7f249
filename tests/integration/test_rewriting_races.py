"""What happens between two calls of a verb that rewrites a run, or of a worker that lets go of it.

The real engine and the real Lua in one thread, under a clock of their own; a test says what comes in between.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from dispatch_celery.errors import StateConflict, StoreUnavailable
from dispatch_celery.ids import RunId
from dispatch_celery.store.client import RedisStore, Store
from dispatch_celery.store.scripts import Call
from tests.support.simulation import Plan, World


class Interrupted:
    """A port at which something happens before the next call of a name, or where its reply is ``lost``."""

    def __init__(self, port: Store) -> None:
        self._port = port
        self.label = ""
        self.lost = ""
        self.happens: Callable[[], None] = lambda: None

    def before(self, label: str, happens: Callable[[], None]) -> None:
        """Let something happen before the next call of this name, once."""
        self.label, self.happens = label, happens

    def execute(self, calls: Sequence[Call]) -> list[Any]:
        """Send, unless something is to happen first."""
        if self.label and self.label in [call.label for call in calls]:
            self.label = ""
            self.happens()
        replies = self._port.execute(calls)
        if self.lost and self.lost in [call.label for call in calls]:
            self.lost = ""
            raise StoreUnavailable("the reply was lost")
        return replies


class Scene:
    """One run in a world, and what may come in between."""

    def __init__(self, store: Store, namespace: str, kind: str) -> None:
        self.ports: list[Interrupted] = []
        self.world = World(store, namespace, Plan((kind,)), stack=self._between)
        self.world.clients.clear()
        self.runs = self.world.flow_service
        self.id = RunId(self.runs.write(self.world.new_runs[0]))
        self.settle()

    def _between(self, inner: Store) -> Store:
        self.ports.append(Interrupted(inner))
        return self.ports[0]

    def before(self, label: str, happens: Callable[[], object]) -> None:
        """Let something happen before the next call of this name, once."""

        def both() -> None:
            happens()
            self.settle()

        self.ports[0].before(label, both)

    def settle(self, seconds: float = 0) -> None:
        """Let time pass, and everybody do what there is to do."""
        self.world.sleep(seconds)
        idle = 0
        while idle < 2:  # what the leader makes ready is taken in the next round
            idle = 0 if self.world._everybody_once() else idle + 1

    def hears(self, word: str, event: str = "said") -> None:
        """Publish an event, and let the run go on with it."""
        self.world.events.publish(event, word)
        self.settle()

    def effect(self, step: str) -> int:
        """Return how often a step of the run has run."""
        (run,) = self.world.new_runs
        return self.world.effects.get(f"{run.ref.name}-0/{step}", 0)


@pytest.fixture
def scene(store: RedisStore, namespace: str, request: pytest.FixtureRequest) -> Any:
    """Return what stages a kind of run."""
    made: list[Scene] = []

    def stage(kind: str) -> Scene:
        made.append(Scene(store, namespace, kind))
        return made[0]

    yield stage
    problems = made[0].world.problems()
    made[0].world.clean()
    assert [problem for problem in problems if problem[:3] not in ("11:", "12:")] == []


def test_who_cancels_late_strikes_nobody_off(scene: Callable[[str], Scene]) -> None:
    """A run that was cancelled and taken back waits again when its canceller comes to clean up."""
    hearing = scene("flow_hears")
    hearing.before("HDEL", lambda: hearing.runs.rewind(hearing.id))

    hearing.runs.cancel(hearing.id)
    assert hearing.runs.state(hearing.id) == "waiting"
    hearing.hears("one")

    assert hearing.effect("one") == 0  # it waits for two words
    hearing.hears("two")
    assert hearing.runs.get(hearing.id).result == ["one", "two"]


def test_who_cancels_later_still_strikes_nobody_off(scene: Callable[[str], Scene]) -> None:
    """Also where the run is taken back before he has looked where it waited."""
    hearing = scene("flow_hears")
    hearing.before("HGETALL", lambda: hearing.runs.rewind(hearing.id))

    hearing.runs.cancel(hearing.id)
    hearing.hears("one")
    hearing.hears("two")

    assert hearing.runs.get(hearing.id).result == ["one", "two"]


def test_who_lets_a_generation_go_late_strikes_nobody_off(scene: Callable[[str], Scene]) -> None:
    """The next one waits already where the one before waited."""
    loose = scene("flow_loose")
    loose.before("HDEL", lambda: loose.settle(2))
    loose.settle(2)
    assert loose.runs.get(loose.id).generation == 1

    loose.hears("heard", event="cried")
    loose.settle(5)

    assert (loose.effect("heard"), loose.effect("b")) == (1, 0)


def test_a_fork_is_of_one_generation(scene: Callable[[str], Scene]) -> None:
    """A run that begins anew while it is read is read again: its arguments belong to what it has recorded."""
    anew = scene("flow_anew")
    anew.settle(3)
    forks = []
    anew.ports[0].before("HGETALL", lambda: anew.before("HGETALL", lambda: anew.hears("one")))

    forks.append(anew.runs.fork(anew.id, arguments={"flow": "fork"}))

    assert anew.runs.get(anew.id).generation == 1
    assert anew.runs.get(forks[0].id).arguments == {"flow": "fork", "left": 1}


def test_two_who_take_a_run_back_take_it_back_once(scene: Callable[[str], Scene]) -> None:
    """The one who looked before the other was there is told so, and changes nothing; the other may ask again."""
    mended = scene("flow_mended")
    mended.before("runs/rewind", lambda: mended.runs.rewind(mended.id, idempotency_key="first"))

    with pytest.raises(StateConflict, match="changed meanwhile"):
        mended.runs.rewind(mended.id, idempotency_key="second")

    assert mended.runs.get(mended.id).generation == 1
    assert mended.runs.rewind(mended.id, idempotency_key="first") == "completed"
    assert mended.runs.get(mended.id).generation == 1


def test_who_got_no_answer_takes_a_run_back_once(scene: Callable[[str], Scene]) -> None:
    """It was taken back, and has ended again by the time that he asks under the same key once more."""
    mended = scene("flow_mended")
    mended.ports[0].lost = "runs/rewind"

    with pytest.raises(StoreUnavailable, match="the reply was lost"):
        mended.runs.rewind(mended.id, idempotency_key="ticket")
    mended.settle(2)  # nobody published that it is ready: its mark is swept

    assert mended.runs.rewind(mended.id, idempotency_key="ticket") == "completed"
    assert (mended.effect("b"), mended.runs.get(mended.id).generation) == (2, 1)


def test_a_rewind_that_reaches_the_server_twice_is_done_once(scene: Callable[[str], Scene]) -> None:
    """A connection that breaks has its last call sent again: that is the same rewind, whoever has taken the run."""
    mended = scene("flow_mended")
    sent: list[Sequence[Call]] = []
    port = mended.ports[0]._port

    class Twice:
        """A port that sends each rewind twice, and tells the second answer."""

        def execute(self, calls: Sequence[Call]) -> list[Any]:
            replies = port.execute(calls)
            if calls[0].label == "runs/rewind":
                sent.append(calls)
                mended.settle(2)
                return port.execute(calls)
            return replies

    mended.ports[0]._port = Twice()
    assert mended.runs.rewind(mended.id) == "completed"
    assert (len(sent), mended.runs.get(mended.id).generation) == (1, 1)


def test_who_got_no_answer_forks_a_run_once(scene: Callable[[str], Scene]) -> None:
    """The second time, under the same key, he is given the fork that there is."""
    forked = scene("flow_forked")
    forked.ports[0].lost = "runs/start"

    with pytest.raises(StoreUnavailable, match="the reply was lost"):
        forked.runs.fork(forked.id, idempotency_key="side")
    fork = forked.runs.fork(forked.id, idempotency_key="side")

    assert fork.id != forked.id
    assert sum(forked.runs.count(name="flow_forked").values()) == 2
