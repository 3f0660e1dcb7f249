"""Policies: when an execution is tried again, how long after, and what ends a job at once."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

import pytest

from dispatch_celery.errors import ConfigurationError, DispatchError, PayloadError, PayloadTooLarge
from dispatch_celery.retry import MAX_DELAY, Backoff, Constant, Exponential, Linear, Retry, describe


class Fibonacci:
    """A backoff of a user's own."""

    def delay(self, attempt: int, /) -> float:
        """Return 1, 1, 2, 3, 5 ..."""
        a, b = 1, 1
        for _ in range(attempt - 1):
            a, b = b, a + b
        return a


class Answers:
    """A backoff that answers what it is told."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def delay(self, attempt: int, /) -> Any:  # noqa: ARG002 - the protocol's parameter
        """Return the answer."""
        return self.answer


@pytest.mark.parametrize(
    ("backoff", "delays"),
    [
        (Constant(3), [3, 3, 3, 3]),
        (Constant(0), [0, 0, 0, 0]),
        (Linear(2, 7), [2, 4, 6, 7]),
        (Linear(10, 5), [5, 5, 5, 5]),
        (Exponential(1, 6, jitter=False), [1, 2, 4, 6]),
        (Fibonacci(), [1, 1, 2, 3]),
    ],
)
def test_a_backoff_answers_for_each_attempt(backoff: Backoff, delays: list[float]) -> None:
    """Delays follow the formula from the first failed attempt on, up to the maximum."""
    assert [backoff.delay(attempt) for attempt in (1, 2, 3, 4)] == delays
    assert isinstance(backoff, Backoff)


@pytest.mark.parametrize("attempt", [1, 3, 9, 500])
def test_full_jitter_is_uniform_up_to_the_cap(attempt: int) -> None:
    """A jittered delay lies between nothing and the capped power, and uses all of that."""
    random.seed(attempt)
    backoff = Exponential(1, 60)
    cap = min(2.0 ** (attempt - 1), 60.0)

    delays = [backoff.delay(attempt) for _ in range(2_000)]

    assert all(0 <= delay <= cap for delay in delays)
    assert min(delays) < cap * 0.02
    assert max(delays) > cap * 0.98
    assert abs(sum(delays) / len(delays) - cap / 2) < cap * 0.05


@pytest.mark.parametrize("backoff", [Constant(5), Linear(5, 5), Exponential(5, 5, jitter=False)])
@pytest.mark.parametrize("attempt", [1_024, 1_025, 2**31, 2**63])
def test_a_huge_attempt_overflows_nothing(backoff: Backoff, attempt: int) -> None:
    """However often a job was tried, the delay is the maximum."""
    assert backoff.delay(attempt) == 5


@pytest.mark.parametrize("kind", [Constant, Linear, Exponential])
def test_a_duration_may_be_a_timedelta(kind: Any) -> None:
    """Seconds and timedeltas mean the same."""
    assert kind(timedelta(minutes=1)) == kind(60)


@pytest.mark.parametrize("kind", [Constant, Linear, Exponential])
@pytest.mark.parametrize("bad", [-1, float("nan"), float("inf"), MAX_DELAY + 1, timedelta(days=-1)])
def test_a_duration_out_of_bounds_is_refused(kind: Any, bad: Any) -> None:
    """Less than nothing, more than ten years, and no number are mistakes."""
    with pytest.raises(ConfigurationError, match=rf"{kind.__name__}\(\w+\) must be between 0 seconds and ten years"):
        kind(bad)


@pytest.mark.parametrize("bad", ["soon", None, [1]])
def test_a_duration_that_is_no_number_is_refused_in_our_words(bad: Any) -> None:
    """The error is one of the tree, and names the parameter."""
    with pytest.raises(ConfigurationError, match=r"Constant\(seconds\)"):
        Constant(bad)


def test_the_default_policy_is_three_attempts() -> None:
    """A job is tried three times, whatever the exception is."""
    policy = Retry()

    assert policy.max_attempts == 3
    assert not policy.gives_up(ValueError("x"))
    assert describe(policy)["max_attempts"] == 3


@pytest.mark.parametrize("bad", [0, -1, True, "3", 1.0, None])
def test_attempts_are_a_positive_integer(bad: Any) -> None:
    """Anything else is refused where it is declared."""
    with pytest.raises(ConfigurationError, match=r"max_attempts=\.\.\.\) must be an integer of at least 1"):
        Retry(bad)


@pytest.mark.parametrize("bad", [5, None, "exponential", object()])
def test_a_backoff_has_a_delay(bad: Any) -> None:
    """What has no ``delay`` is no backoff."""
    with pytest.raises(ConfigurationError, match=r"Retry\(backoff=\.\.\.\) must have .*delay\(attempt\)"):
        Retry(backoff=bad)


def test_a_class_is_no_backoff() -> None:
    """``backoff=Exponential``, its parentheses forgotten, is refused where it is declared."""
    with pytest.raises(ConfigurationError, match="delay"):
        Retry(3, Exponential)  # type: ignore[arg-type]  # the point of the test


@pytest.mark.parametrize("name", ["retry_on", "give_up_on"])
@pytest.mark.parametrize("bad", [(ValueError(),), ("ValueError",), "ValueError", (int,), [None]])
def test_errors_are_named_by_their_classes(name: str, bad: Any) -> None:
    """Instances, names and other classes are refused."""
    with pytest.raises(ConfigurationError, match=rf"Retry\({name}=\.\.\.\) must hold exception classes"):
        Retry(**{name: bad})


def test_a_number_is_no_list_of_errors() -> None:
    """The error is one of the tree."""
    with pytest.raises(ConfigurationError, match="retry_on"):
        Retry(retry_on=5)  # type: ignore[arg-type]  # the point of the test


def test_one_class_may_stand_alone() -> None:
    """``retry_on=ValueError`` means a tuple of it."""
    assert Retry(retry_on=ValueError).retry_on == (ValueError,)  # type: ignore[arg-type]  # allowed at run time


@pytest.mark.parametrize(
    ("error", "ends"),
    [
        (OSError("x"), False),
        (ConnectionError("x"), False),
        (FileNotFoundError("x"), True),
        (ValueError("x"), True),
        (KeyboardInterrupt(), True),
    ],
)
def test_give_up_on_is_asked_before_retry_on(error: BaseException, ends: bool) -> None:  # noqa: FBT001 - a table's column
    """A class given up on wins over its base that is retried; the rest is not retried."""
    policy = Retry(retry_on=(OSError,), give_up_on=(FileNotFoundError,))

    assert policy.gives_up(error) is ends


@pytest.mark.parametrize("error", [PayloadError("x"), PayloadTooLarge("x")])
def test_bad_payloads_are_never_retried(error: Exception) -> None:
    """Whatever the policy says, the same payload would fail again."""
    assert Retry(retry_on=(Exception,)).gives_up(error)
    assert Retry(retry_on=(PayloadError, PayloadTooLarge)).gives_up(error)


@pytest.mark.parametrize("answer", [None, "3", -1, float("nan"), float("inf"), MAX_DELAY + 1])
def test_a_backoff_that_answers_nonsense_is_named(answer: Any) -> None:
    """The error names the backoff's class and what it answered."""
    with pytest.raises(DispatchError, match=r"Answers\.delay\(2\) answered"):
        Retry(backoff=Answers(answer)).delay(2)
