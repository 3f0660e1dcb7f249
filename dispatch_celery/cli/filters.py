"""The options that lists share, and what the services make of them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import reduce
from typing import Any, TypeVar

import click

from dispatch_celery.cli.moments import moment
from dispatch_celery.dlq.model import DeadLetterOrigin
from dispatch_celery.scope import Scope

__all__ = [
    "asked_for",
    "dead_letter_filters",
    "dead_letters_asked_for",
    "given",
    "job_filters",
    "paging",
    "run_filters",
    "scope_of",
    "tenant",
    "within",
]

F = TypeVar("F", bound=Callable[..., Any])

_ERROR = "the error's type or message"
_PAGING = (
    click.option("--limit", type=click.IntRange(1, 1_000), default=50, show_default=True, help="Records on a page."),
    click.option("--cursor", help="Where to go on: what the page before printed."),
)


def _all(options: tuple[Callable[[F], F], ...], command: F) -> F:
    return reduce(lambda found, option: option(found), reversed(options), command)


def _what(of: str, error: str) -> tuple[Callable[[F], F], ...]:
    return (
        click.option("--name", help=f"The {of}'s name."),
        click.option("--queue", help="The queue."),
        click.option("--scope-app", help="The tenant's application; with --scope-org, a tenant is matched as a whole."),
        click.option("--scope-org", help="The tenant's organisation."),
        click.option("--error", help=f"Text in {error}, in any case."),
    )


def _times(what: str) -> tuple[Callable[[F], F], ...]:
    return (
        click.option(
            "--after", type=moment, help=f"{what} at or after: ISO 8601 (UTC), or how long ago (15m, 2h, 3d)."
        ),
        click.option("--before", type=moment, help=f"{what} at or before, likewise."),
    )


def paging(command: F) -> F:
    """Add ``--limit`` and ``--cursor``."""
    return _all(_PAGING, command)


def tenant(command: F) -> F:
    """Add ``--scope-app`` and ``--scope-org``, which say for whom something is done."""
    app = click.option("--scope-app", help="The tenant's application.")
    return _all((app, click.option("--scope-org", help="The tenant's organisation.")), command)


def job_filters(command: F) -> F:
    """Add what chooses jobs."""
    return _all((*_what("job", _ERROR), *_times("Enqueued")), command)


def run_filters(command: F) -> F:
    """Add what chooses runs."""
    error = f"{_ERROR}, or in why it is parked or was cancelled"
    return _all((*_what("workflow", error), *_times("Created")), command)


def within(what: str) -> Callable[[F], F]:
    """Add ``--after`` and ``--before``, for what has a moment."""
    return lambda command: _all(_times(what), command)


def dead_letter_filters(command: F) -> F:
    """Add what chooses dead letters."""
    kind = click.option("--kind", type=click.Choice(["job", "message"]), help="Failed jobs, or raw messages.")
    origin = click.option(
        "--origin", type=click.Choice([str(origin) for origin in DeadLetterOrigin]), help="How it came about."
    )
    fingerprint = click.option("--fingerprint", help="What `groups` shows of one cause.")
    error_class = click.option("--error-class", help="The error's class, whole or its last word.")
    text = click.option("--text", help="Text in error, traceback, reason or notes, in any case.")
    reason = click.option("--reason", help="The whole reason, such as 'attempts used up'.")
    replayed = click.option("--replayed/--not-replayed", default=None, help="Whether it was replayed.")
    own = (kind, origin, fingerprint, error_class, text, reason, replayed)
    return _all((*own, *_what("job", _ERROR), *_times("Died")), command)


def dead_letters_asked_for(
    *,
    scope_app: str | None,
    scope_org: str | None,
    after: datetime | None,
    before: datetime | None,
    **others: Any,
) -> dict[str, Any]:
    """Return the filters of dead letters that were given, as their service names them."""
    return given(scope=scope_of(scope_app, scope_org), died_after=after, died_before=before, **others)


def scope_of(app: str | None, org: str | None) -> Scope | None:
    """Return the tenant that was asked for; None where none was."""
    return None if app is None and org is None else Scope(app_id=app or "", org_id=org or "")


def asked_for(
    *,
    scope_app: str | None,
    scope_org: str | None,
    after: datetime | None,
    before: datetime | None,
    **others: Any,
) -> dict[str, Any]:
    """Return the filters of a list of jobs or runs that were given, as the services name them."""
    return given(scope=scope_of(scope_app, scope_org), created_after=after, created_before=before, **others)


def given(**filters: Any) -> dict[str, Any]:
    """Return the filters that were given: a service takes a missing one for any."""
    return {name: value for name, value in filters.items() if value is not None}
