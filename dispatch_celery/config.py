"""All settings in one frozen, validated object, read once from ``app.conf.dispatch_*`` and ``DISPATCH_*``.

The environment wins. An unknown ``app.conf.dispatch_*`` is refused with the nearest known name; an unknown
``DISPATCH_*`` is only warned of, because platforms inject such names (Kubernetes sets ``<SERVICE>_PORT``).
Durations are seconds (or ``timedelta``) where they are set and integer milliseconds here.
"""

from __future__ import annotations

import difflib
import logging
import os
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from dispatch_celery.clock import to_ms
from dispatch_celery.errors import ConfigurationError
from dispatch_celery.retry import Retry

__all__ = ["Milliseconds", "Settings", "load_settings", "redact_url"]

logger = logging.getLogger(__name__)

PREFIX: Final = "dispatch_"
_LONGEST: Final = 10 * 365 * 86_400_000
_ENVIRONMENT_ONLY: Final = frozenset({"dispatch_test_servers"})


def _milliseconds(value: Any) -> Any:
    if isinstance(value, str):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float | timedelta):
        raise ValueError("a duration is seconds as a number, or a timedelta")  # noqa: TRY004 - pydantic reports ValueError
    milliseconds = to_ms(value)
    if milliseconds > _LONGEST:
        raise ValueError("a duration is at most ten years")
    return milliseconds


def _names(value: Any) -> Any:
    return tuple(name.strip() for name in value.split(",") if name.strip()) if isinstance(value, str) else value


Milliseconds = Annotated[int, BeforeValidator(_milliseconds)]


class Settings(BaseModel):
    """Every setting. ``lease`` is set as ``app.conf.dispatch_lease`` or ``DISPATCH_LEASE``, and so on."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    redis_url: str | None = Field(
        None, description="Where the state lives; by default the broker's URL when that is Redis."
    )
    namespace: str = Field(
        "dispatch", pattern=r"^[A-Za-z0-9._-]{1,64}$", description="Keeps two apps on one server apart."
    )
    default_retry: Retry = Field(Retry(), description="The retry policy of jobs that declare none.")
    default_step_retry: Retry = Field(Retry(), description="The retry policy of workflow steps that declare none.")
    max_payload: int = Field(
        1_048_576, ge=1_024, le=64 * 1_048_576, description="Largest arguments or result, in bytes."
    )

    lease: Milliseconds = Field(8_000, ge=200, description="How long a silent worker keeps what it holds.")
    renew_every: Milliseconds = Field(2_000, ge=50, description="How often a worker renews its lease.")
    leader_lease: Milliseconds = Field(5_000, ge=200, description="How long a silent leader stays the leader.")
    liveness_hint: bool = Field(
        True, description="Ask the server which workers are connected, to notice a dead one at once."
    )
    liveness_every: Milliseconds = Field(500, ge=50, description="How often that question is asked while work runs.")
    max_crashes: int = Field(5, ge=1, description="Deaths of its own process after which a job is dead-lettered.")
    max_lost_workers: int = Field(
        20, ge=1, description="Lost workers a job may have shared before it is dead-lettered."
    )
    unknown_grace: Milliseconds = Field(
        600_000, ge=0, description="How long a job waits for a worker that knows its name."
    )
    cancel_grace: Milliseconds = Field(
        5_000, ge=0, description="How long a cancelled or timed-out job may take to stop."
    )
    shutdown_grace: Milliseconds = Field(
        25_000, ge=0, description="How long running jobs may go on after SIGTERM before they are released."
    )
    max_promises: int = Field(
        10_000, ge=10, le=100_000, description="Durable calls a run may make before it must begin anew."
    )
    max_journal: int = Field(
        64 * 1_048_576, ge=65_536, description="Bytes of outcomes a run may have recorded before it must begin anew."
    )
    cron: bool = Field(True, description="Let the workers' leader fire cron entries; without, only `celery beat` does.")
    cron_grace: Milliseconds = Field(
        60_000, ge=1_000, description="How late a cron slot may be fired before its entry's misfire policy decides."
    )
    cron_orphan_grace: Milliseconds = Field(
        600_000, ge=180_000, description="How long a cron entry from code fires on when no live process declares it."
    )
    max_snoozes: int = Field(1_000, ge=1, description="Snoozes of one job after which it fails.")

    retain_completed: Milliseconds = Field(86_400_000, ge=0, description="How long a completed job is kept.")
    retain_cancelled: Milliseconds = Field(86_400_000, ge=0, description="How long a cancelled job is kept.")
    retain_failed: Milliseconds = Field(30 * 86_400_000, ge=0, description="How long a dead letter is kept.")
    max_dead_letters: int = Field(
        1_000_000, ge=1, description="How many dead letters are kept; the leader deletes the oldest beyond it."
    )
    dead_letter_threshold: int = Field(
        0, ge=0, description="Above how many dead letters an alert is told, once until they are fewer; 0 tells none."
    )
    retain_events: Milliseconds = Field(7 * 86_400_000, ge=1, description="How long an event can be found.")
    max_events: int = Field(100_000, ge=1, description="How many events a topic holds; more are refused.")
    max_inbox: int = Field(
        10_000, ge=1, description="How many events one run is sent under one name; more are refused."
    )
    retain_key: Milliseconds = Field(86_400_000, ge=0, description="The least time an idempotency key is kept.")

    transport: bool = Field(True, description="Install the hardened Redis transport for this process.")
    journal: int = Field(0, ge=0, le=10_000_000, description="Entries of the transition stream to keep; 0 writes none.")
    connect_timeout: Milliseconds = Field(2_000, ge=10, description="Time to reach the state server.")
    command_timeout: Milliseconds = Field(5_000, ge=10, description="Time for one answer of the state server.")
    masked_fields: Annotated[tuple[str, ...], BeforeValidator(_names)] = Field(
        (), description="Further names of fields whose values pages mask: a list, or text with commas."
    )
    allow_eviction: bool = Field(False, description="Start workers although the server may evict records. Loses jobs.")

    def model_post_init(self, _context: Any, /) -> None:
        """Refuse a lease that one lost renewal would end."""
        if self.lease < 2 * self.renew_every:
            raise ConfigurationError(
                f"dispatch_lease ({self.lease / 1000:g} s) must be at least twice dispatch_renew_every"
                f" ({self.renew_every / 1000:g} s), or one late renewal hands running jobs to another worker"
            )


def load_settings(conf: Mapping[str, Any], environment: Mapping[str, str] | None = None) -> Settings:
    """Return the settings found in a Celery configuration and the environment.

    Raises:
        ConfigurationError: a value does not fit, or ``conf`` has an unknown ``dispatch_*`` name.
    """
    known = {PREFIX + name for name in Settings.model_fields}
    values: dict[str, Any] = {}
    for name in sorted(key for key in conf if isinstance(key, str) and key.startswith(PREFIX)):
        if name not in known:
            raise ConfigurationError(f"unknown setting app.conf.{name}{_did_you_mean(name, known)}")
        values[name.removeprefix(PREFIX)] = conf[name]
    for variable, text in sorted((os.environ if environment is None else environment).items()):
        name = variable.lower()
        if not variable.startswith(PREFIX.upper()) or name in _ENVIRONMENT_ONLY:
            continue
        if name not in known:
            logger.warning(
                "ignoring the unknown environment variable %s%s",
                variable,
                _did_you_mean(name, known, upper=True),
            )
            continue
        values[name.removeprefix(PREFIX)] = text
    try:
        return Settings(**values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        name = ".".join(str(part) for part in first["loc"])
        # The value is left out: it may be a secret that ended up in the wrong place.
        raise ConfigurationError(f"{PREFIX}{name} (or {PREFIX.upper()}{name.upper()}): {first['msg']}") from None


def _did_you_mean(name: str, known: set[str], *, upper: bool = False) -> str:
    names = sorted(setting.removeprefix(PREFIX) for setting in known)
    near = difflib.get_close_matches(name.removeprefix(PREFIX), names, n=1, cutoff=0.6)
    if not near:
        return "; the settings are listed in docs/settings.md"
    found = PREFIX + near[0]
    return f"; did you mean {found.upper() if upper else found}?"


def redact_url(url: str) -> str:
    """Return a URL without the password in it, for logs and errors."""
    url = re.sub(r"(?i)([?&](?:password|sentinel_password|ssl_password)=)[^&#]*", r"\1***", url)
    scheme, separator, rest = url.partition("://")
    if not separator or "@" not in rest:
        return url
    credentials, _, host = rest.rpartition("@")
    user, colon, _ = credentials.partition(":")
    return f"{scheme}://{user}{':***' if colon else ''}@{host}"
