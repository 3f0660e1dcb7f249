"""How an attempt ends: four exceptions to raise, and any error as plain, bounded data."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from dispatch_celery.jobs.outcome import Cancel, Fail, RetryAfter, Snooze, attempt_line, failure_of
from dispatch_celery.retry import MAX_DELAY


class Unprintable(Exception):
    """Raises when it is printed."""

    def __str__(self) -> str:
        raise RuntimeError("no words")

    __repr__ = __str__


class Wordless(Exception):
    """Prints as no text."""

    def __str__(self) -> str:
        return None  # type: ignore[return-value]  # noqa: PLE0307 - the point of the test


def raised(error: BaseException) -> BaseException:
    """Return an error with a traceback."""
    try:
        raise error  # noqa: TRY301 - what the function is for
    except BaseException as caught:  # noqa: BLE001 - any will do
        return caught


@pytest.mark.parametrize("kind", [RetryAfter, Snooze])
@pytest.mark.parametrize(("delay", "milliseconds"), [(30, 30_000), (0.5, 500), (timedelta(minutes=1), 60_000)])
def test_a_wait_is_seconds_or_a_timedelta(kind: Any, delay: Any, milliseconds: int) -> None:
    """Both exceptions take the same durations, and say something without being told what."""
    assert kind(delay).delay_ms == milliseconds
    assert str(kind(delay))
    assert str(kind(delay, "rate limit")) == "rate limit"


@pytest.mark.parametrize("kind", [RetryAfter, Snooze])
@pytest.mark.parametrize("delay", [-1, MAX_DELAY + 1, 1e300])
def test_a_wait_out_of_bounds_is_refused(kind: Any, delay: float) -> None:
    """Less than nothing and more than ten years are mistakes, as in ``options(delay=...)``."""
    with pytest.raises(ValueError, match="ten years"):
        kind(delay)


@pytest.mark.parametrize("kind", [RetryAfter, Snooze, Fail, Cancel])
def test_the_four_endings_are_exceptions(kind: type[BaseException]) -> None:
    """A handler's own ``except Exception`` sees them; they are no errors of this package."""
    assert issubclass(kind, Exception)


def test_an_error_becomes_type_message_and_traceback() -> None:
    """A builtin is named bare, others with their module; the traceback ends in the message."""
    failure = failure_of(raised(KeyError("k")))

    assert (failure.type, failure.message) == ("KeyError", "'k'")
    assert failure.traceback.rstrip().endswith("KeyError: 'k'")
    assert failure_of(json.JSONDecodeError("x", "", 0)).type == "json.decoder.JSONDecodeError"


def test_causes_groups_and_notes_are_kept() -> None:
    """What Python prints of an error is stored."""
    error = ValueError("outer")
    error.__cause__ = KeyError("inner")
    error.add_note("a note")
    group = ExceptionGroup("several", [OSError("first"), OSError("second")])

    assert {"KeyError: 'inner'", "ValueError: outer", "a note"} <= set(failure_of(error).traceback.splitlines())
    assert "second" in failure_of(raised(group)).traceback


@pytest.mark.parametrize("error", [Unprintable("x"), Wordless("x")])
def test_an_error_that_cannot_be_printed_is_still_told(error: Exception) -> None:
    """The type and the place remain, and the message says why it is missing."""
    failure = failure_of(raised(error))

    assert failure.type.endswith(type(error).__name__)
    assert failure.message.startswith("<its message cannot be printed: ")
    assert "test_outcome" in failure.traceback


def test_an_error_whose_cause_or_notes_cannot_be_printed_is_still_told() -> None:
    """Hostile company does not hide an error."""
    error = ValueError("plain")
    error.__cause__ = Unprintable("x")
    error.__notes__ = [Unprintable("x")]  # type: ignore[list-item]  # the point of the test

    assert failure_of(raised(error)).message == "plain"


def _chain(length: int) -> BaseException:
    error: BaseException = ValueError("0")
    for n in range(length):
        error.__context__, error = None, ValueError(f"{n}")
        error.__cause__ = ValueError("earlier" * 100)
    return error


@pytest.mark.parametrize(
    "error",
    [ValueError("x" * 1_000_000), ExceptionGroup("g", [ValueError("y" * 90_000)] * 90), _chain(900)],
    ids=["message", "group", "chain"],
)
def test_a_failure_is_bounded(error: BaseException) -> None:
    """First and last words stay; the middle says how much was left out."""
    failure = failure_of(raised(error))

    assert len(failure.message) < 2_100
    assert len(failure.traceback) < 16_100


def test_a_long_message_keeps_its_ends() -> None:
    """What is cut is the middle."""
    message = failure_of(ValueError("begin" + "x" * 5_000 + "end")).message

    assert message.startswith("begin")
    assert message.endswith("end")
    assert "characters left out" in message


def test_a_deep_recursion_is_told_shortly() -> None:
    """A RecursionError's thousand frames are folded."""

    def endless() -> None:
        endless()

    with pytest.raises(RecursionError) as caught:
        endless()
    assert len(failure_of(caught.value).traceback) < 16_100


@pytest.mark.parametrize("words", ["\ud800", "a\0b", "\udcff" * 3_000], ids=range(3))
def test_a_failure_can_always_be_stored(words: str) -> None:
    """Lone surrogates are escaped, so that UTF-8 can hold message and traceback."""
    failure = failure_of(raised(ValueError(words)))

    assert failure.message.encode()
    assert failure.traceback.encode()


def test_a_line_of_history_is_the_rest_of_an_object() -> None:
    """The script puts times and worker before it; one line, whatever the message is."""
    line = attempt_line(2, "failed", "ValueError", 'a "quote"\nand a \ud800' + "x" * 10_000)

    assert "\n" not in line
    assert line.encode("ascii")
    stored = json.loads('{"started_at":1,' + line)
    assert (stored["number"], stored["outcome"], stored["type"]) == (2, "failed", "ValueError")
    assert len(stored["message"]) == 500
