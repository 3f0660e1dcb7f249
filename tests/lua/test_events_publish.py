"""``events/publish`` and what is read of a topic: kept in order, once, within its limits, for as long as it is kept."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest

from dispatch_celery.events.model import Place
from dispatch_celery.events.store import LOOK, EventStore
from dispatch_celery.ids import EventId
from dispatch_celery.store.client import RedisStore
from tests.lua.run_world import RunWorld, run_world
from tests.lua.world import START

SAID = Place("said", "key")
_MICRO = 1_000


@pytest.fixture
def world(store: RedisStore, namespace: str) -> Iterator[RunWorld]:
    """Return a world whose topics hold five events, and whose inboxes hold three."""
    yield from run_world(store, namespace, max_events=5, max_inbox=3)


def _events(world: RunWorld) -> EventStore:
    return EventStore(world.port, world.keys, world.settings, world.time)


def _publish(world: RunWorld, place: Place = SAID, payload: bytes = b'"x"', event: EventId | None = None) -> list[str]:
    return _events(world).publish(event or EventId.mint(time_ms=START), place, payload)


def _place(at: int, then: int = 0) -> str:
    return str(at * _MICRO + then)


# -- stored


def test_an_event_is_found_under_its_topic(world: RunWorld) -> None:
    """And among all of them, by time; nobody waits, so nobody is to be told."""
    event = EventId.mint(time_ms=START)
    place = Place("said", "key", "app/org")

    assert _publish(world, place, b'{"l":[],"n":9007199254740993}', event) == ["STORED", _place(START), "0"]

    found = world.dump()
    assert found.ordered[f"topic:{place.digest}"] == {event: START * _MICRO}
    assert found.ordered["events"] == {event: START}
    assert "fanout" not in found.ordered
    (record,) = _events(world).records([event])
    assert record is not None
    assert (record.name, record.key, record.scope.path) == ("said", "key", "app/org")
    assert record.payload == {"l": [], "n": 9007199254740993}
    assert record.published_at.timestamp() * 1_000 == START


def test_an_event_is_kept_for_its_time(world: RunWorld) -> None:
    """The server itself forgets its record and, after the last one, its topic."""
    event = EventId.mint(time_ms=START)
    _publish(world, event=event)

    for key in (world.keys.record(event), world.keys.topic(SAID.digest)):
        left = int(world.ask("PTTL", key))
        assert world.settings.retain_events - 60_000 < left <= world.settings.retain_events


@pytest.mark.parametrize("passes", [0, 1, -5_000])
def test_a_topic_is_in_the_order_in_which_it_was_written(world: RunWorld, passes: int) -> None:
    """Also within one millisecond, and where the clock of the server was set back."""
    ids = [EventId.mint(time_ms=START) for _ in range(4)]
    for event in ids:
        _publish(world, event=event)
        world.passes(passes)

    ((*found,),) = _events(world).look([(SAID, 0)])
    assert [one.id for one in found] == ids
    assert all(one.place < other.place for one, other in pairwise(found))


def test_topics_are_kept_apart(world: RunWorld) -> None:
    """By name, key, scope and run."""
    places = [
        Place("said", "key"),
        Place("said"),
        Place("heard", "key"),
        Place("said", "key", "a/b"),
        Place("said", run="r"),
    ]
    for n, place in enumerate(places):
        _publish(world, place, b"%d" % n)

    topics = _events(world).look([(place, 0) for place in places])
    assert [[one.payload for one in topic] for topic in topics] == [[b"%d" % n] for n in range(5)]


def test_an_event_sent_again_is_the_first_one(world: RunWorld) -> None:
    """Later, too, and in a topic that has become full; whatever it says now, it is told its place and not written."""
    event = EventId.mint(time_ms=START)
    _publish(world, event=event)
    for _ in range(4):
        _publish(world)
    before = world.dump()
    world.passes(50)

    assert _publish(world, payload=b'"y"', event=event) == ["REPEATED", _place(START)]
    assert world.dump() == before


def test_who_waits_is_noted_to_be_told(world: RunWorld) -> None:
    """Until the publisher has done so: others take it over after a while."""
    event = EventId.mint(time_ms=START)
    _events(world).look([(SAID, 0)], waiter="run_1 said#1", run="{}")

    assert _publish(world, event=event) == ["STORED", _place(START), "1"]

    assert world.dump().ordered["fanout"] == {f"{SAID.digest} {event}": START + 1_000}
    _events(world).told(SAID.digest, event)
    assert "fanout" not in world.dump().ordered


# -- limits


def test_a_full_topic_refuses_and_others_do_not(world: RunWorld) -> None:
    """The answer says how many it holds, and nothing is written."""
    for _ in range(5):
        _publish(world)
    before = world.dump()

    assert _publish(world) == ["FULL", "5"]
    assert world.dump() == before
    assert _publish(world, Place("said", "other"))[0] == "STORED"


def test_the_inbox_of_a_run_has_a_limit_of_its_own(world: RunWorld) -> None:
    """Under each name: nobody can drown a run, and one kind of event does not keep the others from it."""
    inbox = Place("said", run="run_1")
    assert [_publish(world, inbox)[0] for _ in range(4)] == ["STORED"] * 3 + ["FULL"]

    assert _publish(world, Place("heard", run="run_1"))[0] == "STORED"
    assert _publish(world, Place("said", run="run_2"))[0] == "STORED"
    assert _publish(world, Place("said"))[0] == "STORED"


def test_what_has_passed_makes_room(world: RunWorld) -> None:
    """An event whose time is over is gone from its topic, and from the list of all, with the next that is published."""
    for _ in range(5):
        _publish(world)
    world.passes(world.settings.retain_events - 1)
    assert _publish(world)[0] == "FULL"
    world.passes(2)
    event = EventId.mint(time_ms=START)

    assert _publish(world, event=event)[0] == "STORED"

    found = world.dump()
    assert found.ordered[f"topic:{SAID.digest}"].keys() == found.ordered["events"].keys() == {event}


def test_an_event_is_refused_whole_when_memory_is_full(full: RunWorld) -> None:
    """The publisher is told "not now", and nothing is left behind; the same event is good once there is room."""
    event = EventId.mint(time_ms=START)
    _publish(full)

    full.refuses_whole(lambda: _publish(full, event=event))
    assert _publish(full, event=event)[0] == "STORED"


# -- read


def test_a_look_begins_behind_a_place_and_ends_after_a_batch(store: RedisStore, namespace: str) -> None:
    """Whoever was answered with a whole batch looks on behind its last one."""
    for world in run_world(store, namespace):
        for n in range(LOOK + 5):
            _publish(world, payload=b"%d" % n)
        events = _events(world)

        ((*first,),) = events.look([(SAID, START * _MICRO - 1)])
        ((*second,),) = events.look([(SAID, first[-1].place)])
        ((*third,),) = events.look([(SAID, second[-1].place)])

        assert [int(one.payload) for one in (*first, *second, *third)] == list(range(LOOK + 5))
        assert (len(first), len(second), len(third)) == (LOOK, 5, 0)


@pytest.mark.parametrize("gone", [1, LOOK // 2, LOOK, 2 * LOOK])
def test_what_is_gone_does_not_hide_what_is_behind_it(store: RedisStore, namespace: str, gone: int) -> None:
    """The server has forgotten the oldest, and nothing was published since: who looks finds the rest all the same."""
    for world in run_world(store, namespace):
        ids = [EventId.mint(time_ms=START) for _ in range(2 * LOOK + 5)]
        for event in ids:
            _publish(world, event=event)
        world.ask("DEL", *(world.keys.record(event) for event in ids[:gone]))

        seen: list[str] = []
        after = 0
        while True:
            ((*found,),) = _events(world).look([(SAID, after)])
            seen += [one.id for one in found]
            if len(found) < LOOK:
                break
            after = found[-1].place

        assert seen == ids[gone:]


def test_who_looks_only_is_not_registered(world: RunWorld) -> None:
    """And who is, is struck off by name."""
    events, places = _events(world), [(SAID, 0), (Place("heard"), 0)]
    events.look(places)
    assert events.waiters(SAID.digest) == ("0", {})
    for waiter in ("run_1 said#1", "run_2 said#1"):
        events.look(places, waiter=waiter, run="{}")

    events.forget([place for place, _ in places], "run_1 said#1")

    for place, _ in places:
        assert events.waiters(place.digest) == ("0", {"run_2 said#1": "{}"})
