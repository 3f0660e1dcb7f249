"""Durations become whole milliseconds; stored times become aware moments."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import pytest

from dispatch_celery.clock import from_ms, monotonic_ms, to_ms, wall_ms


@pytest.mark.parametrize(
    ("duration", "milliseconds"),
    [
        (0, 0),
        (1, 1_000),
        (0.25, 250),
        (2.3, 2_300),
        (timedelta(seconds=1, milliseconds=5), 1_005),
        (timedelta(days=3_650), 315_360_000_000),
        (-1, -1_000),
    ],
)
def test_a_duration_is_whole_milliseconds(duration: float | timedelta, milliseconds: int) -> None:
    """Seconds and timedeltas mean the same milliseconds."""
    assert to_ms(duration) == milliseconds


@pytest.mark.parametrize("duration", [0.0001, 1e-9, timedelta(microseconds=1)])
def test_a_positive_wait_never_becomes_none(duration: float | timedelta) -> None:
    """What is shorter than a millisecond is rounded up."""
    assert to_ms(duration) == 1


@pytest.mark.parametrize("duration", [math.nan, math.inf, -math.inf])
def test_a_duration_is_finite(duration: float) -> None:
    """NaN and the infinities are no durations, and the error shows them."""
    with pytest.raises(ValueError, match="finite number of seconds"):
        to_ms(duration)


def test_whole_milliseconds_stay_what_they_are() -> None:
    """A number of seconds with three decimals is exactly that many milliseconds."""
    assert [n for n in range(10_000) if to_ms(n / 1000) != n] == []


def test_an_immense_number_is_refused_like_infinity() -> None:
    """A number no float can hold is refused in the same way as infinity."""
    with pytest.raises(ValueError, match="finite number of seconds"):
        to_ms(10**400)


@pytest.mark.parametrize("nonsense", ["3", True])
def test_text_and_booleans_are_no_durations(nonsense: object) -> None:
    """Only numbers and timedeltas are durations."""
    with pytest.raises((TypeError, ValueError)):
        to_ms(nonsense)  # type: ignore[arg-type]  # the point of the test


def test_a_stored_time_is_an_aware_moment() -> None:
    """Milliseconds since 1970 are read as UTC."""
    assert from_ms(1_800_000_000_500) == datetime(2027, 1, 15, 8, 0, 0, 500_000, tzinfo=UTC)


def test_the_clocks_are_what_their_names_say() -> None:
    """The monotonic clock does not go back; the wall clock is that of this machine."""
    first = monotonic_ms()

    assert first <= monotonic_ms()
    assert abs(from_ms(wall_ms()) - datetime.now(UTC)) < timedelta(seconds=5)
