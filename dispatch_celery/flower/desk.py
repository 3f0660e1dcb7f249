"""What pages read from and verbs act on: one app's ``Dispatch``, and what surrounds its records."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

import click

from dispatch_celery.app import Dispatch
from dispatch_celery.cli.insight import Insight
from dispatch_celery.cli.masking import Masking
from dispatch_celery.cli.payloads import masking_of
from dispatch_celery.cli.session import app_option
from dispatch_celery.errors import ConfigurationError

__all__ = ["Desk", "desk_of", "dispatch_of"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Desk:
    """Everything a page may ask. Safe for threads."""

    dispatch: Dispatch
    insight: Insight
    masking: Masking
    command: str
    """How the command line of this app begins, for what people are advised to type."""

    def now(self) -> datetime:
        """Return the state server's time, by which everything it says is told."""
        return self.insight.now()


def dispatch_of(app: Any) -> Dispatch | None:
    """Return the ``Dispatch`` of a Celery app; None where it has none."""
    found = getattr(app, "dispatch", None)
    return found if isinstance(found, Dispatch) else None


def desk_of(app: Any) -> Desk:
    """Return the desk of a Celery app, always the same.

    Raises:
        ConfigurationError: the app has no ``Dispatch``, or its settings do not fit.
    """
    dispatch = dispatch_of(app)
    if dispatch is None:
        raise ConfigurationError("this Celery app has no Dispatch: make one beside it with `dispatch = Dispatch(app)`")
    return _made(dispatch)


@lru_cache(maxsize=4)
def _made(dispatch: Dispatch) -> Desk:
    """Return a new desk. Only the loop asks, and a process of Flower has one app."""
    return Desk(dispatch=dispatch, insight=Insight(dispatch), masking=masking_of(dispatch), command=_command())


def _command() -> str:
    context = click.get_current_context(silent=True)
    app = app_option(context) if context is not None else ""
    return f"celery -A {app or 'app'} dispatch"
