"""The clock of a test: where it begins, how it moves, and whom it rules."""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest

from dispatch_celery import clock, ids
from dispatch_celery.errors import ConfigurationError
from dispatch_celery.ids import JobId
from dispatch_celery.store.servertime import ServerTime
from dispatch_celery.testing.virtual import VirtualClock

START = datetime(2030, 1, 1, tzinfo=UTC)
START_MS = int(START.timestamp() * 1000)


def test_it_stands_still_until_it_is_moved() -> None:
    """Only forward, and by what was asked for."""
    virtual = VirtualClock(START)

    virtual.sleep(timedelta(days=30))
    virtual.move_to(START_MS)

    assert virtual.now == START + timedelta(days=30)


def test_it_rules_scripts_and_this_process_for_a_block() -> None:
    """The server's time and the wall clock are its own, also after a move; afterwards they are as before."""
    virtual, server = VirtualClock(START), ServerTime()

    with virtual.ruling(server):
        assert (server.now, clock.wall_ms()) == (START_MS, START_MS)
        virtual.sleep(2.5)
        assert (server.now, clock.wall_ms()) == (START_MS + 2_500, START_MS + 2_500)

    assert (server.now, clock.time) == (None, time)


def test_a_clock_within_a_clock_gives_the_time_back() -> None:
    """The outer one rules again when the inner one ends, also by an error."""
    outer, server = VirtualClock(START), ServerTime()

    with outer.ruling(server):
        with suppress(KeyError), VirtualClock(START + timedelta(days=1)).ruling(server):
            assert clock.wall_ms() == START_MS + 86_400_000
            raise KeyError
        assert (server.now, clock.wall_ms()) == (START_MS, START_MS)
        outer.sleep(1)
        assert server.now == START_MS + 1_000


def test_ids_are_minted_in_order_while_the_clock_stands() -> None:
    """What is made first is first in every list; real ids follow the real clock again."""
    with VirtualClock(START).ruling(ServerTime()):
        minted = [JobId.mint() for _ in range(50)]

    assert minted == sorted(minted)
    assert ids.wall_ms is clock.wall_ms


def test_a_start_without_a_time_zone_is_refused() -> None:
    """It could be any of several moments."""
    with pytest.raises(ConfigurationError, match="needs a time zone"):
        VirtualClock(datetime(2030, 1, 1))  # noqa: DTZ001 - the mistake it shows
