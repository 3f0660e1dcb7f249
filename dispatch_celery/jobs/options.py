"""What one enqueue may ask for beside its arguments, checked where it is given."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from dispatch_celery.clock import Duration, to_ms
from dispatch_celery.errors import ConfigurationError
from dispatch_celery.jobs.unique import Unique
from dispatch_celery.retry import MAX_DELAY, Constant, Exponential, Linear, Retry

__all__ = ["JobOptions", "StoredRetry", "check_duration", "check_priority", "check_queue"]

_KINDS: Final = {"constant": Constant, "linear": Linear, "exponential": Exponential}


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOptions:
    """Options of one enqueue; None means what the job declares."""

    delay: Duration | None = None
    run_at: datetime | None = None
    expires: Duration | datetime | None = None
    queue: str | None = None
    priority: int | None = None
    idempotency_key: str | None = None
    retry: Retry | None = None
    timeout: Duration | None = None
    unique: Unique | None = None
    headers: dict[str, Any] = field(default_factory=dict)
    detached: bool = False
    """Of a child run: whether it goes on when its parent is cancelled or fails."""

    def __post_init__(self) -> None:
        if self.delay is not None and self.run_at is not None:
            raise ConfigurationError("give delay or run_at, not both")
        self._check_times()
        if self.queue is not None:
            check_queue(self.queue)
        if self.priority is not None:
            check_priority(self.priority)
        if self.retry is not None and not isinstance(self.retry, Retry):
            raise ConfigurationError(f"retry must be a Retry, not {self.retry!r}")
        if self.retry is not None:
            StoredRetry.dump(self.retry)  # what cannot be stored is refused where it is given
        if self.unique is not None and not isinstance(self.unique, Unique):
            raise ConfigurationError(f"unique must be a Unique, not {self.unique!r}")
        if self.unique is not None and self.idempotency_key is not None:
            raise ConfigurationError("give unique or idempotency_key, not both: each says which job is the same")
        if not isinstance(self.headers, dict):
            raise ConfigurationError(f"headers must be a dict, not {self.headers!r}")
        key = self.idempotency_key
        if key is not None and (not isinstance(key, str) or not 1 <= len(key) <= 500 or not _is_text(key)):
            raise ConfigurationError("idempotency_key must be text of 1 to 500 characters, without lone surrogates")

    def _check_times(self) -> None:
        check_duration("delay", self.delay)
        check_duration("timeout", self.timeout)
        if self.run_at is not None and not isinstance(self.run_at, datetime):
            raise ConfigurationError(f"run_at must be a datetime with a time zone, not {self.run_at!r}")
        if not isinstance(self.expires, datetime):
            check_duration("expires", self.expires)
        for name in ("run_at", "expires"):
            _check_moment(name, getattr(self, name))

    @property
    def is_empty(self) -> bool:
        """Whether nothing is asked for but, perhaps, a queue or a priority."""
        return not (
            self.headers
            or self.delay is not None
            or self.run_at is not None
            or self.expires is not None
            or self.idempotency_key is not None
            or self.retry is not None
            or self.timeout is not None
            or self.unique is not None
        )

    @property
    def delay_ms(self) -> int | None:
        """The delay in milliseconds."""
        return None if self.delay is None else to_ms(self.delay)

    @property
    def run_at_ms(self) -> int | None:
        """The due time in milliseconds since 1970."""
        return None if self.run_at is None else int(self.run_at.timestamp() * 1000)

    @property
    def expires_ms(self) -> int | None:
        """Milliseconds until the job is not worth starting any more."""
        if self.expires is None:
            return None
        if isinstance(self.expires, datetime):
            return max(0, to_ms(self.expires - datetime.now(UTC)))
        return to_ms(self.expires)


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_moment(name: str, value: object) -> None:
    if not isinstance(value, datetime):
        return
    if value.tzinfo is None:
        raise ConfigurationError(f"{name}={value!r} has no time zone: use datetime.now(UTC) + timedelta(...)")
    if value.timestamp() - datetime.now(UTC).timestamp() > MAX_DELAY:
        raise ConfigurationError(f"{name}={value.isoformat()} is more than ten years away")


def check_duration(name: str, value: Duration | None) -> None:
    """Refuse what is no duration up to ten years; a timeout must be more than nothing."""
    if value is None:
        return
    try:
        milliseconds = to_ms(value)
    except ValueError:
        raise ConfigurationError(f"{name} must be seconds or a timedelta, not {value!r}") from None
    if not 0 <= milliseconds <= MAX_DELAY * 1000:
        raise ConfigurationError(f"{name} must be between 0 and ten years, not {value!r}")
    if name == "timeout" and milliseconds == 0:
        raise ConfigurationError("timeout must be more than 0 seconds: leave it out for no limit")


def check_queue(queue: str) -> None:
    """Refuse what no broker can use as a queue's name."""
    if not isinstance(queue, str) or not 1 <= len(queue) <= 200 or not queue.isprintable() or " " in queue:
        raise ConfigurationError(f"queue must be 1 to 200 printable characters without spaces, not {queue!r}")


def check_priority(priority: int) -> None:
    """Refuse a priority outside 0 to 9."""
    if isinstance(priority, bool) or not isinstance(priority, int) or not 0 <= priority <= 9:
        raise ConfigurationError(f"priority must be an integer from 0 to 9, higher first, not {priority!r}")


class StoredRetry:
    """A retry policy given at enqueue, as it travels: classes by name, matched along an error's bases, not imported."""

    @staticmethod
    def dump(policy: Retry) -> dict[str, Any]:
        """Return a policy as plain data.

        Raises:
            ConfigurationError: its backoff is the user's own class, which only a declaration can hold.
        """
        kind = next((name for name, known in _KINDS.items() if type(policy.backoff) is known), None)
        if kind is None:
            raise ConfigurationError(
                f"options(retry=...) cannot store the backoff {policy.backoff!r}: use Constant, Linear or"
                " Exponential here, or declare the policy on the job"
            )
        return {
            "max_attempts": policy.max_attempts,
            "backoff": {"kind": kind, **vars(policy.backoff)},
            "retry_on": [_name(error) for error in policy.retry_on],
            "give_up_on": [_name(error) for error in policy.give_up_on],
        }

    def __init__(self, data: dict[str, Any]) -> None:
        fields = dict(data["backoff"])
        self.max_attempts: int = data["max_attempts"]
        self._policy = Retry(data["max_attempts"], _KINDS[fields.pop("kind")](**fields))
        self._retry_on = frozenset(data["retry_on"])
        self._give_up_on = frozenset(data["give_up_on"])

    def gives_up(self, error: BaseException) -> bool:
        """Return whether this error ends the job whatever attempts are left."""
        names = {_name(base) for base in type(error).__mro__}
        return self._policy.gives_up(error) or bool(names & self._give_up_on) or not names & self._retry_on

    def delay(self, attempt: int) -> float:
        """Return seconds until the next attempt."""
        return self._policy.delay(attempt)


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
