"""Duties run when they are due, and the failure of one is its own."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from dispatch_celery.service import Pace


class Duty:
    """A service that counts its rounds and does what it is told."""

    def __init__(self, name: str, round_: Callable[[], int]) -> None:
        self.name = name
        self.rounds = 0
        self._round = round_

    def run_once(self) -> int:
        """Do what it was told."""
        self.rounds += 1
        return self._round()


def _fail() -> int:
    raise RuntimeError("out of order")


def test_a_duty_runs_when_it_is_due() -> None:
    """A duty chooses its own pause, and nothing runs in between."""
    duty = Duty("a", lambda: 100)
    pace = Pace([duty], longest=1_000)

    assert [pace.run_due(moment) for moment in (0, 50, 99, 100)] == [100, 50, 1, 100]
    assert duty.rounds == 2


def test_a_failing_duty_stops_no_other(caplog: pytest.LogCaptureFixture) -> None:
    """The others run as if nothing had been, and the failure is logged once per streak."""
    broken, sound = Duty("broken", _fail), Duty("sound", lambda: 10)
    pace = Pace([broken, sound], longest=60_000)

    with caplog.at_level(logging.WARNING):
        for moment in range(0, 1_000, 10):
            pace.run_due(moment)

    assert sound.rounds == 100
    assert broken.rounds == 3
    assert caplog.text.count("broken failed and will be tried again: RuntimeError: out of order") == 1


def test_the_pause_after_failures_grows_and_is_bounded() -> None:
    """250 ms, doubled each time, at most 10 s; a success begins anew."""
    answers: list[Callable[[], int]] = [_fail] * 8 + [lambda: 0] + [_fail]
    duty = Duty("a", lambda: answers.pop(0)())  # noqa: PLW0108 - a new one each time
    pace = Pace([duty], longest=60_000)

    moment, pauses = 0, []
    while answers:
        pauses.append(pace.run_due(moment))
        moment += pauses[-1]

    assert pauses == [250, 500, 1_000, 2_000, 4_000, 8_000, 10_000, 10_000, 0, 250]


def test_a_duty_can_be_called_earlier_but_not_put_off() -> None:
    """``expect`` only ever brings a round forward; names nobody has are ignored."""
    duty = Duty("a", lambda: 1_000)
    pace = Pace([duty], longest=5_000)
    pace.run_due(0)

    pace.expect("a", 300)
    pace.expect("a", 700)
    pace.expect("nobody", 1)

    assert pace.run_due(0) == 300
    assert pace.run_due(300) == 1_000


def test_a_call_that_comes_during_the_round_is_not_lost() -> None:
    """What becomes due while a duty runs is due right after it."""
    duty = Duty("a", lambda: 1_000)
    pace = Pace([duty], longest=5_000)
    duty._round = lambda: (pace.expect("a", 20), 1_000)[1]

    assert pace.run_due(0) == 20


@pytest.mark.parametrize(("answer", "pause"), [(-5, 0), (0, 0), (10**9, 1_000)])
def test_a_pause_is_bounded(answer: int, pause: int) -> None:
    """No duty waits less than nothing or longer than the longest pause."""
    assert Pace([Duty("a", lambda: answer)], longest=1_000).run_due(0) == pause


def test_nothing_to_do_is_the_longest_pause() -> None:
    """Without services there is nothing to wake up for."""
    assert Pace([], longest=1_000).run_due(5) == 1_000
