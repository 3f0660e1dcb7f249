"""What an error means for a job: the table of classification."""

from __future__ import annotations

from typing import Any

import pytest

from dispatch_celery.errors import JobTimeout, PayloadError, PayloadTooLarge, StoreUnavailable
from dispatch_celery.jobs.options import StoredRetry
from dispatch_celery.jobs.outcome import Fail, Failed, RetryAfter, Retrying, classify_error
from dispatch_celery.retry import Constant, Exponential, Retry
from dispatch_celery.work.model import Failure

FAILURE = Failure(type="T", message="m")
POLICY = Retry(3, Constant(5), retry_on=(Exception,), give_up_on=(KeyError,))


class Broken:
    """A backoff that answers what it is told, or raises it."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def delay(self, attempt: int, /) -> Any:  # noqa: ARG002 - the protocol's parameter
        """Return or raise the answer."""
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


@pytest.mark.parametrize("policy", [POLICY, StoredRetry(StoredRetry.dump(POLICY))], ids=["declared", "stored"])
@pytest.mark.parametrize(
    ("error", "attempt", "reason"),
    [
        (ValueError("x"), 1, None),
        (ValueError("x"), 2, None),
        (ValueError("x"), 3, "attempts used up"),
        (ValueError("x"), 9, "attempts used up"),
        (JobTimeout("x"), 1, None),
        (StoreUnavailable("x"), 1, None),
        (KeyError("x"), 1, "given up"),
        (SystemExit(1), 1, "given up"),
        (KeyboardInterrupt(), 1, "given up"),
        (Fail("x"), 1, "failed by its handler"),
        (Fail("x"), 3, "failed by its handler"),
        (PayloadError("x"), 1, "payload"),
        (PayloadTooLarge("x"), 3, "payload"),
    ],
)
def test_an_error_is_retried_or_ends_the_job(
    policy: Any, error: BaseException, attempt: int, reason: str | None
) -> None:
    """Attempts, the policy, and what can never succeed decide, in this order; None means another attempt."""
    outcome = classify_error(error, FAILURE, attempt, policy)

    if reason is None:
        assert outcome == Retrying(5_000, "attempts", FAILURE, error)
    else:
        assert outcome == Failed(reason, FAILURE, error=error)


def test_retry_after_asks_for_its_own_wait() -> None:
    """It uses up an attempt, so the last one fails; a policy that gives up on it is not asked."""
    error = RetryAfter(30)

    assert classify_error(error, FAILURE, 1, Retry(3, Constant(5))) == Retrying(30_000, "attempts", FAILURE, error)
    assert isinstance(classify_error(error, FAILURE, 1, Retry(3, give_up_on=(Exception,))), Retrying)
    assert classify_error(error, FAILURE, 3, Retry(3)) == Failed("attempts used up", FAILURE, error=error)


@pytest.mark.parametrize("answer", [RuntimeError("no"), -1, None, float("nan"), "3", 1e300])
def test_a_broken_backoff_fails_the_job_with_its_own_error(answer: Any) -> None:
    """The dead letter tells what is wrong with the backoff; the worker goes on."""
    error = ValueError("x")
    outcome = classify_error(error, FAILURE, 1, Retry(3, Broken(answer)))

    assert isinstance(outcome, Failed)
    assert (outcome.reason, outcome.error) == ("backoff", error)
    assert outcome.failure != FAILURE


@pytest.mark.parametrize("attempt", [1, 2, 50, 10_000])
def test_waits_are_whole_bounded_milliseconds(attempt: int) -> None:
    """Full jitter stays under its maximum at every attempt."""
    outcome = classify_error(ValueError("x"), FAILURE, attempt, Retry(100_000, Exponential(1, 60)))

    assert isinstance(outcome, Retrying)
    assert isinstance(outcome.delay, int)
    assert 0 <= outcome.delay <= 60_000
