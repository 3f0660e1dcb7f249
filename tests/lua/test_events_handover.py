"""From a stored event to the run that waits for it: handed over at once, late, twice, or by somebody else."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from dispatch_celery.errors import StoreUnavailable
from dispatch_celery.events.model import Place
from dispatch_celery.events.service import Deliveries, EventService
from dispatch_celery.events.store import EventStore
from dispatch_celery.ids import EventId
from dispatch_celery.jobs.store import JobStore
from dispatch_celery.store.client import RedisStore, Store
from dispatch_celery.store.scripts import Call
from dispatch_celery.work.model import WorkRef
from dispatch_celery.work.upkeep import House, Marks
from dispatch_celery.workflows.store import RunStore
from tests.lua.run_world import RunWorld, asleep, awaits, run_world
from tests.lua.world import START, nobody
from tests.support.machine.ground import Postbox

SAID = Place("said")
WAIT = "said#1"


@pytest.fixture
def world(store: RedisStore, namespace: str) -> Iterator[RunWorld]:
    """Return a world with runs."""
    yield from run_world(store, namespace)


class Dies(BaseException):
    """The publisher's process is gone."""


class Mortal:
    """A port whose process dies at its n-th call, before or after it is carried out."""

    def __init__(self, port: Store, at: int, *, after: bool) -> None:
        self._port = port
        self._at = at
        self._after = after
        self.calls = 0

    def execute(self, calls: Sequence[Call]) -> list[Any]:
        """Send, and die if it is the time."""
        self.calls += 1
        if self.calls == self._at and not self._after:
            raise Dies
        replies = self._port.execute(calls)
        if self.calls == self._at:
            raise Dies
        return replies


class Talk:
    """The events of a world, as one process of it publishes them."""

    def __init__(self, world: RunWorld, port: Store | None = None) -> None:
        self.world = world
        self.postbox = Postbox()
        parts = (port or world.port, world.keys, world.settings, world.time)
        self.store = EventStore(*parts)
        self.work = JobStore(*parts)
        self.events = EventService(
            store=self.store,
            work=self.work,
            keys=world.keys,
            publisher=self.postbox,
            nudge=RunStore(*parts).nudge,
            observer=nobody,
            max_payload=1_000,
        )

    def waits(self, ref: WorkRef, identity: str = WAIT, place: Place = SAID) -> None:
        """Register a run at a topic, as its holder does before it looks."""
        told = {"name": ref.name, "lane": ref.lane, "version": 1}
        self.store.look([(place, 0)], waiter=f"{ref.id} {identity}", run=json.dumps(told))

    def waiters(self) -> set[str]:
        """Return who is registered."""
        return {name.partition(" ")[0] for name in self.store.waiters(SAID.digest)[1]}

    def sweep(self) -> set[tuple[str, str]]:
        """Do the duties of the leader that make up for a publisher that is gone; return what they published."""
        Deliveries(self.events).run_once()
        world = self.world
        house = House(
            store=self.work, records=world.records, keys=world.keys, publisher=self.postbox, kinds=world.kinds, term=str
        )
        Marks(house).run_once()
        return self.postbox.emptied()


def _resting(world: RunWorld) -> WorkRef:
    """Return a run that waits for an event, and is registered for it."""
    ref = world.suspended([awaits("awaiting", 900_000, WAIT)]).ref
    Talk(world).waits(ref)
    return ref


# -- told


def test_every_run_that_waits_is_woken_once(world: RunWorld) -> None:
    """Its wake-up is published, and nothing is left for the leader."""
    refs = [_resting(world) for _ in range(3)]
    talk = Talk(world)

    talk.events.publish_at(SAID, b'"x"')

    assert talk.postbox.emptied() == {(ref.id, "2") for ref in refs}
    assert {world.shown(ref)["state"] for ref in refs} == {"pending"}
    assert not {"fanout", "marks"} & set(world.dump().ordered)


def test_hundreds_of_runs_that_wait_are_all_told(world: RunWorld) -> None:
    """They are read page by page, and each is woken, some of them perhaps told twice."""
    worker = world.register()
    refs = [world.start() for _ in range(700)]
    for n, ref in enumerate(refs):
        assert world.runs.suspend(world.take(ref, worker, nonce=str(n)), [awaits("awaiting", None, WAIT)])[0] == "DONE"
        Talk(world).waits(ref)
    talk = Talk(world)

    talk.events.publish_at(SAID, b'"x"')

    assert talk.postbox.emptied() == {(ref.id, "2") for ref in refs}


def test_who_waits_no_longer_is_struck_off(world: RunWorld) -> None:
    """A run that has ended, waits elsewhere, or is gone is not told a second time; one that is held stays."""
    ended, elsewhere, gone = world.run_at("cancelled"), world.suspended([asleep(9_000)]).ref, world.new_run().ref
    held = world.taken().ref
    talk = Talk(world)
    for ref in (ended, elsewhere, gone, held):
        talk.waits(ref)

    talk.events.publish_at(SAID, b'"x"')

    assert talk.postbox.emptied() == set()
    assert talk.waiters() == {held.id}


def test_a_run_of_another_topic_is_left_alone(world: RunWorld) -> None:
    """It is neither woken nor struck off where it waits."""
    ref = world.suspended([awaits("awaiting", None, WAIT)]).ref
    talk = Talk(world)
    talk.waits(ref, place=Place("heard"))

    talk.events.publish_at(SAID, b'"x"')

    assert world.shown(ref)["state"] == "waiting"
    assert talk.store.waiters(Place("heard").digest)[1] != {}


# -- doubled


def test_an_event_that_is_handed_over_twice_wakes_once(world: RunWorld) -> None:
    """By its publisher again, by the leader as well: the run is woken for the first of them."""
    ref = _resting(world)
    event, talk, leader = EventId.mint(time_ms=START), Talk(world), Talk(world)
    talk.events.publish_at(SAID, b'"x"', event_id=event)
    world.ask("ZADD", world.keys.fanout, START, f"{SAID.digest} {event}")

    talk.events.publish_at(SAID, b'"x"', event_id=event)
    world.passes(1_000)

    assert talk.postbox.emptied() == {(ref.id, "2")}
    assert leader.sweep() == set()
    assert (world.shown(ref)["state"], world.shown(ref)["wake"]) == ("pending", "2")
    assert len(talk.store.look([(SAID, 0)])[0]) == 1


def test_an_event_that_is_handed_over_late_wakes_nobody_who_has_heard_it(world: RunWorld) -> None:
    """The run was told by its publisher, took what there was, and has ended: the leader strikes it off."""
    ref = _resting(world)
    event, leader = EventId.mint(time_ms=START), Talk(world)
    Talk(world).events.publish_at(SAID, b'"x"', event_id=event)
    world.ask("ZADD", world.keys.fanout, START, f"{SAID.digest} {event}")
    world.finish(world.take(ref, nonce="b"))
    world.passes(1_000)

    assert leader.sweep() == set()
    assert leader.waiters() == set()
    assert "fanout" not in world.dump().ordered


# -- late, or lost


def _calls_of_a_publication(world: RunWorld) -> int:
    _resting(world)
    port = Mortal(world.port, 0, after=True)
    Talk(world, port).events.publish_at(Place("said"), b'"x"')
    return port.calls


def test_a_publisher_that_dies_anywhere_is_heard(world: RunWorld) -> None:
    """Before or after any of its calls: what it had stored is handed over by the leader, after a while, and once."""
    for at in range(1, _calls_of_a_publication(world) + 1):
        for after in (False, True):
            ref, event = _resting(world), EventId.mint(time_ms=START)
            talk, leader = Talk(world, Mortal(world.port, at, after=after)), Talk(world)
            with pytest.raises(Dies):
                talk.events.publish_at(SAID, b'"x"', event_id=event)
            stored = leader.store.records([event]) != [None]
            assert stored or (at, after) == (1, False)
            if not stored:
                leader.events.publish_at(SAID, b'"x"', event_id=event)
            world.passes(1_000)

            published = talk.postbox.emptied() | leader.sweep()

            assert published == {(ref.id, "2")}, (at, after)
            assert "fanout" not in world.dump().ordered
            world.finish(world.take(ref, nonce=f"{at}{after}"))


def test_a_publisher_without_an_answer_leaves_it_to_the_leader(world: RunWorld) -> None:
    """Its event is stored, so it is told that it is; the run rests until the grace is over, and not longer."""
    ref = _resting(world)
    leader = Talk(world)

    class Silent(Mortal):
        def execute(self, calls: Sequence[Call]) -> list[Any]:
            if self.calls:
                raise StoreUnavailable("no answer")
            return super().execute(calls)

    event = Talk(world, Silent(world.port, 0, after=True)).events.publish_at(SAID, b'"x"')

    assert leader.events.get(event).payload == "x"
    world.passes(999)
    assert leader.sweep() == set()
    world.passes(1)
    assert leader.sweep() == {(ref.id, "2")}


def test_the_leader_tells_a_batch_at_a_time(world: RunWorld) -> None:
    """Of more than a round can hold, none is forgotten."""
    talk = Talk(world)
    refs = []
    for n in range(130):
        place = Place("said", str(n))
        refs.append(world.suspended([awaits("awaiting", None, WAIT)]).ref)
        talk.waits(refs[-1], place=place)
        talk.store.publish(EventId.mint(time_ms=START), place, b'"x"')
    world.passes(1_000)
    leader = Talk(world)

    assert Deliveries(leader.events).run_once() == 0
    assert Deliveries(leader.events).run_once() > 0
    assert leader.postbox.emptied() == {(ref.id, "2") for ref in refs}
