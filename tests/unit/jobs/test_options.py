"""Options of one enqueue are checked where they are given, and a policy travels as plain data."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dispatch_celery.errors import ConfigurationError, PayloadError
from dispatch_celery.jobs.options import JobOptions, StoredRetry
from dispatch_celery.retry import Constant, Exponential, Linear, Retry

SOON = datetime(2027, 1, 15, 8, 0, 0, 500_000, tzinfo=UTC)
NAIVE = datetime(2027, 1, 15)  # noqa: DTZ001 - the point of the tests
FAR = datetime(9999, 1, 1, tzinfo=UTC)


class Mine:
    """A backoff of a user's own."""

    def delay(self, attempt: int, /) -> float:
        """Return the attempt."""
        return attempt


class Special(ValueError):
    """A kind of ValueError."""


def stored(policy: Retry) -> StoredRetry:
    """Return a policy as it is after its travel through JSON."""
    return StoredRetry(json.loads(json.dumps(StoredRetry.dump(policy))))


def test_nothing_is_asked_for_by_default() -> None:
    """None means what the job declares."""
    options = JobOptions()

    assert (options.delay_ms, options.run_at_ms, options.expires_ms) == (None, None, None)


@pytest.mark.parametrize(("delay", "milliseconds"), [(0, 0), (1.5, 1_500), (timedelta(days=1), 86_400_000)])
def test_durations_become_milliseconds(delay: Any, milliseconds: int) -> None:
    """Seconds and timedeltas mean the same."""
    assert JobOptions(delay=delay).delay_ms == milliseconds
    assert JobOptions(expires=delay).expires_ms == milliseconds


def test_moments_become_milliseconds() -> None:
    """A moment in any zone is one number; an end that has passed is now."""
    assert JobOptions(run_at=SOON).run_at_ms == 1_800_000_000_500
    assert JobOptions(expires=datetime(2020, 1, 1, tzinfo=UTC)).expires_ms == 0


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"delay": 1, "run_at": SOON}, "give delay or run_at, not both"),
        ({"delay": -1}, "delay must be between 0 and ten years"),
        ({"delay": 11 * 365 * 86_400}, "delay must be between 0 and ten years"),
        ({"delay": float("nan")}, "delay must be seconds or a timedelta"),
        ({"delay": float("inf")}, "delay must be seconds or a timedelta"),
        ({"delay": "soon"}, "delay must be seconds or a timedelta"),
        ({"delay": SOON}, "delay must be seconds or a timedelta"),
        ({"timeout": -1}, "timeout must be between 0 and ten years"),
        ({"timeout": "x"}, "timeout must be seconds or a timedelta"),
        ({"expires": "x"}, "expires must be seconds or a timedelta"),
        ({"expires": -1}, "expires must be between 0 and ten years"),
        ({"run_at": NAIVE}, "run_at=.* has no time zone"),
        ({"expires": NAIVE}, "expires=.* has no time zone"),
        ({"queue": ""}, "queue must be 1 to 200 printable characters"),
        ({"queue": "a b"}, "queue must be 1 to 200 printable characters"),
        ({"queue": "a\n"}, "queue must be 1 to 200 printable characters"),
        ({"queue": "\ud800"}, "queue must be 1 to 200 printable characters"),
        ({"queue": "x" * 201}, "queue must be 1 to 200 printable characters"),
        ({"queue": 3}, "queue must be 1 to 200 printable characters"),
        ({"priority": -1}, "priority must be an integer from 0 to 9"),
        ({"priority": 10}, "priority must be an integer from 0 to 9"),
        ({"priority": True}, "priority must be an integer from 0 to 9"),
        ({"priority": 1.0}, "priority must be an integer from 0 to 9"),
        ({"idempotency_key": ""}, "idempotency_key must be text of 1 to 500 characters"),
        ({"idempotency_key": "x" * 501}, "idempotency_key must be text of 1 to 500 characters"),
        ({"idempotency_key": 3}, "idempotency_key must be text of 1 to 500 characters"),
    ],
)
def test_an_option_that_cannot_work_is_refused(options: dict[str, Any], why: str) -> None:
    """The error names the option and what it takes."""
    with pytest.raises(ConfigurationError, match=why):
        JobOptions(**options)


@pytest.mark.parametrize(
    "options",
    [
        {"run_at": "2027-01-15T08:00:00Z"},
        {"run_at": 1_800_000_000},
        {"run_at": FAR},
        {"expires": FAR},
        {"retry": 3},
        {"headers": 3},
        {"delay": "3"},
        {"delay": True},
        {"idempotency_key": "\ud800"},
    ],
    ids=lambda options: "-".join(f"{name} {value!r}"[:30] for name, value in options.items()),
)
def test_an_option_that_breaks_later_is_refused_at_once(options: dict[str, Any]) -> None:
    """What no script can store, or no clock reach, is refused where it is given."""
    with pytest.raises(ConfigurationError):
        JobOptions(**options)


def test_an_immense_delay_is_refused_in_our_words() -> None:
    """A number no float can hold is one of the mistakes of the tree."""
    with pytest.raises(ConfigurationError, match="delay"):
        JobOptions(delay=10**400)


@pytest.mark.parametrize(
    ("backoff", "delays"),
    [
        (Constant(timedelta(seconds=3)), [3, 3, 3]),
        (Linear(2, 5), [2, 4, 5]),
        (Exponential(1, 3, jitter=False), [1, 2, 3]),
    ],
)
def test_a_policy_travels(backoff: Any, delays: list[float]) -> None:
    """Attempts and delays are the same on the other side."""
    policy = stored(Retry(4, backoff))

    assert policy.max_attempts == 4
    assert [policy.delay(attempt) for attempt in (1, 2, 3)] == delays


def test_jitter_travels() -> None:
    """A jittered policy stays one."""
    policy = stored(Retry(4, Exponential(8, 8)))

    assert len({policy.delay(1) for _ in range(20)}) > 1


@pytest.mark.parametrize(
    "error", [ValueError(), Special(), UnicodeError(), KeyError(), PayloadError("x"), SystemExit()]
)
def test_a_stored_policy_gives_up_as_the_original(error: BaseException) -> None:
    """Classes are matched by name along an error's bases, never imported."""
    policy = Retry(4, retry_on=(ValueError, PayloadError), give_up_on=(UnicodeError,))

    assert stored(policy).gives_up(error) is policy.gives_up(error)


def test_a_backoff_of_the_users_own_cannot_be_stored() -> None:
    """Only a declaration can hold code; the error says what to do."""
    with pytest.raises(ConfigurationError, match=r"cannot store the backoff .*declare the policy on the job"):
        StoredRetry.dump(Retry(4, Mine()))
