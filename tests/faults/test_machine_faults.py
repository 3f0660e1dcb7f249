"""The server's disk is full, its clock is set (F-30, F-31): limits, cron and dead letters keep what they promise."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dispatch_celery.store.embedded import EmbeddedServer
from tests.support.busy_rooms import BusyRooms
from tests.support.eventually import eventually
from tests.support.machine_room import Clock, Disk, server_with_a_clock, server_with_a_disk
from tests.support.workers import fleet

pytestmark = [pytest.mark.faults, pytest.mark.timeout(180)]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[tuple[EmbeddedServer, Disk]]:
    """Return a server of this test alone, and its disk."""
    with server_with_a_disk(tmp_path) as made:
        yield made


@pytest.fixture
def clock(tmp_path: Path) -> Iterator[tuple[EmbeddedServer, Clock]]:
    """Return a server of this test alone, and its clock."""
    with server_with_a_clock(tmp_path) as made:
        yield made


def _for(seconds: float) -> None:
    until = time.monotonic() + seconds
    eventually(lambda: time.monotonic() > until, within=seconds + 5, every=0.1)


@pytest.mark.parametrize("seconds", [1, 8])
def test_a_full_disk_loses_and_doubles_nothing(
    seconds: int, disk: tuple[EmbeddedServer, Disk], namespace: str, tmp_path: Path
) -> None:
    """F-30: for less, or for more, than a lease nothing can be written; callers are told, and workers go on."""
    server, room = disk
    with fleet(namespace, server.url, tmp_path) as made:
        rooms = BusyRooms(made, misfire="all(100)")
        workers = [rooms.worker("w1"), rooms.worker("w2")]
        with rooms.in_use():
            rooms.goes_on()
            room.fill()
            eventually(lambda: rooms.refused, within=20, what="callers are told")
            _for(seconds)
            room.make_room()
            rooms.goes_on()

        assert all("refuses for now: MISCONF" in words and "No space left" in words for words in rooms.refused)
        assert [worker.process.poll() for worker in workers] == [None, None]
        rooms.check()
        assert rooms.gaps() == []


def test_a_clock_that_is_set_forwards_loses_and_doubles_nothing(
    clock: tuple[EmbeddedServer, Clock], namespace: str, tmp_path: Path
) -> None:
    """F-31: every lease is over at once, the lead too; of the missed slots one is made up for."""
    server, wall = clock
    with fleet(namespace, server.url, tmp_path) as made:
        rooms = BusyRooms(made, misfire="once")
        workers = [rooms.worker("w1"), rooms.worker("w2")]
        with rooms.in_use():
            rooms.goes_on()
            wall.set(1)
            rooms.goes_on()

        assert [worker.process.poll() for worker in workers] == [None, None]
        rooms.check()
        (gap,) = rooms.gaps()
        assert 3_600 - 120 < gap < 3_600


def test_a_clock_that_is_set_back_loses_and_doubles_nothing(
    clock: tuple[EmbeddedServer, Clock], namespace: str, tmp_path: Path
) -> None:
    """F-31: limited jobs and replays go on, who is killed is replaced, and slots stay fired."""
    server, wall = clock
    with fleet(namespace, server.url, tmp_path) as made:
        rooms = BusyRooms(made, misfire="once")
        workers = [rooms.worker("w1"), rooms.worker("w2")]
        with rooms.in_use():
            rooms.goes_on()
            wall.set(-1)
            last = max(rooms.slots())
            rooms.more(rooms.ended, 10, "limited jobs run an hour before")
            rooms.more(lambda: len(rooms.replays), 1, "dead letters are replayed an hour before")
            workers[0].kill()
            rooms.more(rooms.ended, 10, "the other worker goes on")
            assert max(rooms.slots()) <= last + 1
            wall.set(0)
            rooms.goes_on()

        assert workers[1].process.poll() is None
        rooms.check()
        assert rooms.gaps() == []
